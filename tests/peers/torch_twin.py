"""A preset in PyTorch: the same network, first weights, pictures and rules, for accuracy and time side by side.

    python -m tests.peers.torch_twin --preset coffee --data-dir PATH --seeds 3 --ours

Batches come from the package's own pipeline, so both see the same pictures in the same order. Everything else is
PyTorch's, in its best memory format on a CPU, `channels_last`; what it does not have (the average of the weights, Muon
in the precision of the weights) is written out here. A test holds the two against each other.
"""

import argparse
import dataclasses
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from repvgg_np.data import batches, load_dataset, mean_and_std
from repvgg_np.models import create_model
from repvgg_np.training import DECAYS, change_first_weights, find_preset, make_schedule, mixup, read_history
from repvgg_np.training.loop import MIXUP_STREAM

if __name__ == "__main__" and importlib.util.find_spec("torch") is None:
    print("torch_twin: error: PyTorch is not installed: pip install torch", file=sys.stderr)
    sys.exit(2)

from tests.peers.twin import make_twin, torch  # without PyTorch it would skip a test, and there is none


class TorchMuon:
    """Muon for kernels, as `repvgg_np/training/muon.py` defines it, with the iteration step by step."""

    def __init__(self, kernels, momentum, nesterov):
        self.kernels, self.momentum, self.nesterov = kernels, momentum, nesterov
        self.velocities = [torch.zeros_like(kernel) for kernel in kernels]

    @torch.no_grad()
    def step(self, rate):
        for kernel, velocity in zip(self.kernels, self.velocities, strict=True):
            velocity.mul_(self.momentum).add_(kernel.grad)
            direction = kernel.grad + self.momentum * velocity if self.nesterov else velocity
            update = orthogonalised(direction.reshape(len(kernel), -1)).reshape(kernel.shape)
            before = kernel.norm()
            kernel.sub_(update * (rate * before / math.sqrt(len(kernel))))
            kernel.mul_(before / kernel.norm())


def orthogonalised(matrix):
    """Five steps of the quintic Newton-Schulz iteration."""
    x = matrix / matrix.norm()
    x = x if x.shape[0] <= x.shape[1] else x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def make_optimizers(net, settings):
    """Return PyTorch's SGD, whose groups have a multiple each, and Muon for what is left (or None)."""
    norms = {f"{name}.bias" for name, layer in net.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    groups, kernels = {}, []
    for name, parameter in net.named_parameters():
        if settings.optimizer == "muon" and parameter.ndim == 4:
            kernels.append(parameter)
            continue
        rate = settings.bias_rate if name in norms else 1.0
        rate *= settings.logit_scale**2 if name.startswith("linear.") else 1.0
        decay = settings.weight_decay / rate if DECAYS[settings.decay](name, parameter) else 0.0
        group = {"params": [], "rate": rate, "weight_decay": decay}
        groups.setdefault((rate, decay), group)["params"].append(parameter)
    sgd = torch.optim.SGD(list(groups.values()), lr=1, momentum=settings.momentum, nesterov=settings.nesterov)
    return sgd, TorchMuon(kernels, settings.momentum, settings.nesterov) if kernels else None


class Average:
    """The running average of everything in the state dict, as `repvgg_np/training/averaging.py` defines it."""

    def __init__(self, net, decay):
        self.net, self.decay = net, decay
        self.state = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def update(self, step):
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, now in self.net.state_dict().items():
            if now.is_floating_point():
                self.state[name].lerp_(now, 1 - kept)
            else:
                self.state[name].copy_(now)

    def swap(self):
        """Exchange the network's own numbers and the averaged ones."""
        own = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}
        self.net.load_state_dict(self.state)
        self.state = own


def as_tensor(x, dtype):
    """Hand over a batch without a copy: its memory has the channels last already."""
    return torch.from_numpy(x.astype(dtype, copy=False))


@torch.no_grad()
def evaluate(net, dataset, mean, std, dtype):
    """Return loss and accuracy."""
    net.eval()
    loss = correct = 0.0
    for x, y in batches(dataset, 256, mean=mean, std=std):
        logits, labels = net(as_tensor(x, dtype)), torch.from_numpy(y)
        loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        correct += float((logits.argmax(dim=1) == labels).sum())
    return loss / len(dataset), correct / len(dataset)


def train(model, train_set, test_set, settings, say=lambda line: None):
    """Train PyTorch's twin of a network of ours, which is left as it is but for its first weights.

    Returns a row for each epoch: "train_loss", "test_loss", "test_accuracy" and "seconds". `say` is told each of them.
    """
    mean, std = mean_and_std(train_set)
    change_first_weights(model, train_set, mean, std, settings)
    net = make_twin(model).to(memory_format=torch.channels_last)
    sgd, muon = make_optimizers(net, settings)
    average = Average(net, settings.average) if settings.average else None
    steps = max(1, len(train_set) // settings.batch_size)
    schedule, rows = make_schedule(settings, steps), []
    for epoch in range(settings.epochs):
        started, losses = time.perf_counter(), []
        net.train()
        options = {"mean": mean, "std": std, "seed": settings.seed, "epoch": epoch, "size": settings.size(epoch)}
        options |= {"augment": settings.augmentation, "drop_last": len(train_set) >= settings.batch_size}
        for number, (x, y) in enumerate(batches(train_set, settings.batch_size, **options)):
            targets = y
            if settings.mixup:
                rng = np.random.default_rng([settings.seed, epoch, MIXUP_STREAM, number])
                x = x.astype(model.dtype, copy=False)
                x, targets = mixup(x, y, model.num_classes, settings.mixup, rng)
            logits = net(as_tensor(x, model.dtype))
            loss = torch.nn.functional.cross_entropy(
                logits, torch.from_numpy(targets), label_smoothing=settings.label_smoothing
            )
            sgd.zero_grad()
            net.zero_grad()
            loss.backward()
            rate = schedule(epoch * steps + number)
            for group in sgd.param_groups:
                group["lr"] = rate * group["rate"]
            sgd.step()
            if muon is not None:
                muon.step(settings.muon_rate * rate / settings.learning_rate)
            if average is not None:
                average.update(epoch * steps + number)
            losses.append(loss.item())
        test_loss = test_accuracy = None
        if settings.evaluates(epoch):
            if average is not None:
                average.swap()
            test_loss, test_accuracy = evaluate(net, test_set, mean, std, model.dtype)
            if average is not None:
                average.swap()
        row = {"train_loss": statistics.fmean(losses), "test_loss": test_loss, "test_accuracy": test_accuracy}
        rows.append(row | {"seconds": time.perf_counter() - started})
        say(f"epoch {epoch + 1}/{settings.epochs} in PyTorch: {rows[-1]}")
    return rows


def run_torch(options, seed):
    """Train PyTorch's twin with one seed; return accuracy and seconds."""
    preset = find_preset(options.preset)
    settings = dataclasses.replace(preset.settings, seed=seed)
    sets = [load_dataset(options.data, split, options.data_dir) for split in ("train", "test")]
    sets = [dataset if options.limit is None else dataset.subset(options.limit) for dataset in sets]
    model = create_model(preset.model, len(sets[0].classes), seed)
    torch.set_num_threads(options.threads)
    rows = train(model, *sets, settings, lambda line: print(line, file=sys.stderr))
    return rows[-1]["test_accuracy"], sum(row["seconds"] for row in rows)


def run_ours(options, seed):
    """Train ours with one seed, by the command line; return accuracy and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            "repvgg_np",
            "train",
            "--preset",
            options.preset,
            "--seed",
            str(seed),
            "--json",
        ]
        command += ["--data", options.data, "--threads", str(options.threads), "--out", str(run)]
        for name in ("data_dir", "limit"):
            value = getattr(options, name)
            command += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(out)["test_accuracy"], sum(row["seconds"] for row in read_history(run / "history.csv"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many, from 0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N pictures of each set")
    parser.add_argument("--ours", action="store_true", help="train ours with each seed too, in turns")
    options = parser.parse_args()
    runs = {"PyTorch": run_torch} | ({"ours": run_ours} if options.ours else {})
    results = {name: [] for name in runs}
    print("seconds are those of all epochs, evaluations included; compiling and starting are not")
    for seed in range(options.seeds):
        for name, run in runs.items():
            try:
                accuracy, seconds = run(options, seed)
            except ValueError as error:
                parser.exit(2, f"{parser.prog}: error: {error}\n")
            except subprocess.CalledProcessError as error:
                parser.exit(error.returncode)  # it has said why
            results[name].append((accuracy, seconds))
            print(f"seed {seed}  {name:<8} {accuracy:7.2%}  {seconds:8.1f} s", flush=True)
    for name, pairs in results.items():
        accuracies, seconds = zip(*pairs, strict=True)
        spread = f" ± {statistics.stdev(accuracies):.2%}" if len(pairs) > 1 else ""
        print(f"mean    {name:<8} {statistics.fmean(accuracies):7.2%}{spread}  {statistics.fmean(seconds):8.1f} s")


if __name__ == "__main__":
    main()
