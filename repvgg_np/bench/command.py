"""The options of `repvgg-np bench`, and what it prints."""

import json
import sys

from repvgg_np.bench import table
from repvgg_np.bench.inference import bench_inference
from repvgg_np.bench.layers import bench_layers
from repvgg_np.bench.machine import describe_machine, machine_line
from repvgg_np.bench.training import bench_training


def add_kinds(parser, common):
    """Add a sub-command for each kind of measurement.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of `repvgg-np bench`.
    common : callable
        Adds the options that every command of the package has, and returns the parser.
    """
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="kind")

    def kind(name, measure, text, batch=(1,), repeats=15):
        sub = common(kinds.add_parser(name, help=text, description=text + "."))
        sub.set_defaults(run=run, measure=measure)
        if batch is not None:
            shown = " ".join(map(str, batch))
            sub.add_argument(
                "--batch", type=int, nargs="+", default=batch, help=f"pictures in a batch (default: {shown})"
            )
            sub.add_argument("--size", type=int, help="height and width of the picture")
            sub.add_argument("--seed", type=int, default=0, help="draws weights and pictures (default: %(default)s)")
        sub.add_argument(
            "--repeats", type=int, default=repeats, help="rounds of the interleaved run (default: %(default)s)"
        )
        sub.add_argument("--figure", metavar="FILE", help="draw the result (PNG)")
        return sub

    def peers(sub):
        sub.add_argument("--peers", nargs="*", metavar="NAME", help="which, by name (default: all that are installed)")

    def model(sub, default="RepVGG-A0"):
        sub.add_argument("--model", nargs="+", default=[default], help=f"their names (default: {default})")

    inference = kind("inference", _inference, "a network before and after fusion, and the peers' fused one")
    model(inference), peers(inference)
    training = kind("training", _training, "a training step of a three-branch network", (128,))
    training.add_argument("--model", nargs="+", help="their names (default: RepVGG-A0-CIFAR)")
    for part, text in (("widths", "channels"), ("depths", "blocks"), ("strides", "first stride")):
        training.add_argument(
            f"--{part}", type=int, nargs="+", metavar="N", help=f"{text} of each stage, not a --model"
        )
    peers(training)
    layers = kind("layers", _layers, "each different convolution of a network by itself")
    model(layers), peers(layers)


def run(options):
    """Measure what the options ask for, print it, and draw it.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    int
        The exit code.
    """
    machine = describe_machine()
    lines = [machine_line(machine)]  # first, but not before anything else went well

    def say(text):
        lines.append(text)
        while lines and not options.json:
            print(lines.pop(0), flush=True)

    runs = options.measure(options, say)
    result = {"kind": options.kind, "machine": machine, "command": sys.argv[1:], "runs": runs}
    if options.json:
        print(json.dumps(result))
    return 0


def _inference(options, say):
    """Time every model with every batch."""
    return _each(options, say, bench_inference, table.run_text)


def _training(options, say):
    """Time the training step of every model, or of the network of the given shape, with every batch."""
    shape = {name: getattr(options, name) for name in ("widths", "depths", "strides")}
    shaped = any(part is not None for part in shape.values())
    if shaped:
        if options.model:
            raise ValueError("a network is given by --model or by --widths, --depths and --strides, not by both")
        options.model = [None]
    options.model = options.model or ["RepVGG-A0-CIFAR"]

    def measure(name, batch, size, repeats, seed, peers):
        return bench_training(name, batch, size, repeats, seed, peers, shape if shaped else None)

    return _each(options, say, measure, table.run_text)


def _layers(options, say):
    """Time the layers of every model with every batch."""
    return _each(options, say, bench_layers, table.layers_text)


def _each(options, say, measure, text):
    """Measure every model with every batch; say each result as it comes."""
    runs = []
    for name in options.model:
        for batch in options.batch:
            runs.append(measure(name, batch, options.size, options.repeats, options.seed, options.peers))
            say(text(runs[-1]))
    return runs
