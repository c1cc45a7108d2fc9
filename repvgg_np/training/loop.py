"""The training loop: forward, loss, backward, step, and never a step lost.

Around the lines that train there are three promises. A run that was stopped at any moment and is resumed has the same
bits as one that was never stopped. Ctrl-C stops between two steps. A run whose loss is no number any more stops by
itself, with its last good checkpoint as it was.
"""

import contextlib
import dataclasses
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from repvgg_np.data import batches, mean_and_std
from repvgg_np.kernels import warm_up
from repvgg_np.layers import reseed
from repvgg_np.training.averaging import WeightAverage
from repvgg_np.training.evaluate import check_classes, evaluate
from repvgg_np.training.facts import describe_run
from repvgg_np.training.first_weights import change_first_weights
from repvgg_np.training.interrupt import DeferredInterrupt
from repvgg_np.training.loss import cross_entropy
from repvgg_np.training.mixup import mixup
from repvgg_np.training.optimizer import make_optimizer
from repvgg_np.training.saver import Saver
from repvgg_np.training.schedule import make_schedule
from repvgg_np.training.settings import Settings

# The data's own random streams have the numbers 1 and 2: see data/batches.py.
MIXUP_STREAM, DROPOUT_STREAM = 3, 4


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingResult:
    """What came of a run.

    Attributes
    ----------
    history : list of dict
        One row per epoch: see `history.COLUMNS`.
    mean, std : ndarray (3,) float32
        With which the network wants its pictures normalised.
    """

    history: list
    mean: np.ndarray
    std: np.ndarray

    @property
    def last_accuracy(self):
        """The test accuracy after the last epoch: that of the trained network."""
        return self.history[-1]["test_accuracy"]

    @property
    def best_accuracy(self):
        """The highest test accuracy of all evaluations. To publish it is to choose by the test set."""
        return max(row["test_accuracy"] for row in self.history if row["test_accuracy"] is not None)

    @property
    def images_per_second(self):
        """How fast the training steps were: the median over the epochs."""
        return statistics.median(row["images_per_second"] for row in self.history)


def train(
    model, train_set, test_set, settings, folder, resume=False, progress=True, checkpoint_seconds=60,
    recipe="", after_epoch=None, judged="test",
):  # fmt: skip
    """Train a network, and evaluate it after each epoch, or after each so many.

    The folder gets ``history.csv`` and ``checkpoint.npz``: at the beginning, after each epoch, whenever
    `checkpoint_seconds` have passed, and on Ctrl-C. The training set's own mean and deviation normalise both sets.

    Parameters
    ----------
    model : RepVGG
        With its first weights; is trained in place, and is in inference mode afterwards. Its `notes` get what belongs
        to the weights: "classes", "mean", "std", "dataset", "epochs" and "test_accuracy".
    train_set, test_set : Dataset
    settings : Settings
    folder : str or os.PathLike
        Is made if it does not exist.
    resume : bool
        Go on from the checkpoint in the folder; where there is none yet, begin. Without it, a folder that holds a
        checkpoint is refused.
    progress : bool
        Whether to write a line per epoch to stderr, and to show a bar if that is a terminal.
    checkpoint_seconds : float
        At least 0.
    recipe : str
        What else to write to stderr, with `progress`, when all is checked and the training begins.
    after_epoch : callable, optional
        Is called with the history's rows after each epoch, when all is saved: to draw the curve, for instance.
    judged : str
        What the lines call `test_set`.

    Returns
    -------
    TrainingResult

    Raises
    ------
    TrainingInterrupted
        A KeyboardInterrupt: Ctrl-C was pressed, and the checkpoint is up to date. A second Ctrl-C raises a plain
        KeyboardInterrupt at once.
    TrainingDiverged
        A ValueError: the loss or the weights are not finite any more.
    ValueError
        If an argument is out of range, the checkpoint belongs to another run, or a file cannot be read or written.
    """
    if not isinstance(settings, Settings):
        raise ValueError(f"settings must be a Settings, got {type(settings).__name__}")
    if not checkpoint_seconds >= 0:
        raise ValueError(f"checkpoint_seconds must be a number of at least 0, got {checkpoint_seconds}")
    check_classes(model, train_set)
    if train_set.classes != test_set.classes:
        raise ValueError(f"test_set must have the classes of train_set, {train_set.classes}, got {test_set.classes}")
    # A last, smaller batch is left out: of a single picture, it has no batch statistics worth the name.
    drop_last = len(train_set) >= settings.batch_size
    steps = len(train_set) // settings.batch_size if drop_last else 1
    mean, std = mean_and_std(train_set)
    schedule = make_schedule(settings, steps)
    optimizer = make_optimizer(model, settings)
    facts = describe_run(model, train_set, test_set, mean, std)
    change_first_weights(model, train_set, mean, std, settings)
    average = WeightAverage(model, settings.average) if settings.average else None
    saver = Saver(Path(folder), model, optimizer, settings, facts, steps, checkpoint_seconds, average)
    position, history = saver.start(resume)
    for line in (recipe, resume and f"starting {position.describe(steps)}") if progress else ():
        if line:
            tqdm.write(line, file=sys.stderr)
    if position.epoch < settings.epochs:
        warm_up(training=True, dtype=model.dtype, progress=progress and sys.stderr.isatty())

    first_step = True  # of this process
    # What overflows is noticed and reported below; NumPy need not warn of it too.
    with DeferredInterrupt() as interrupt, np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        while position.epoch < settings.epochs:
            epoch, title = position.epoch, f"epoch {position.epoch + 1}/{settings.epochs}"
            model.train()
            with _bar(title, position, steps, progress) as bar:
                started = time.perf_counter()
                for x, y in batches(
                    train_set,
                    settings.batch_size,
                    mean=mean,
                    std=std,
                    seed=settings.seed,
                    epoch=epoch,
                    augment=settings.augmentation,
                    start=position.step,
                    drop_last=drop_last,
                    size=settings.size(epoch),
                ):
                    x, targets = x.astype(model.dtype, copy=False), y
                    if settings.mixup:
                        rng = np.random.default_rng([settings.seed, epoch, MIXUP_STREAM, position.step])
                        x, targets = mixup(x, y, model.num_classes, settings.mixup, rng)

                    reseed(model, [settings.seed, epoch, DROPOUT_STREAM, position.step])
                    logits = model(x)
                    loss, grad_logits = cross_entropy(logits, targets, settings.label_smoothing)
                    if not math.isfinite(loss):
                        raise saver.diverged(f"loss is {loss}", position)
                    model.backward(grad_logits, input_gradient=False)
                    optimizer.step(schedule(epoch * steps + position.step))
                    if average is not None:
                        average.update(epoch * steps + position.step)

                    seconds = time.perf_counter() - started
                    position.count_step(len(y), loss, _count_correct(logits, targets), seconds, timed=not first_step)
                    first_step = False
                    _show(bar, position)
                    stop = interrupt.requested  # asked once: Ctrl-C between two questions would go unsaved
                    if stop or saver.is_due():
                        saver.save(position, history.rows)
                    if stop:
                        raise saver.interrupted(position)
                    started = time.perf_counter()

            test = None
            if settings.evaluates(epoch):
                try:
                    # An evaluation changes nothing: no need to wait for its end.
                    with average.applied() if average else contextlib.nullcontext(), interrupt.at_once():
                        test = evaluate(model, test_set, mean, std, progress=progress)
                except KeyboardInterrupt:
                    saver.save(position, history.rows)
                    raise saver.interrupted(position) from None
            position.seconds += time.perf_counter() - started
            history.append(_row(position, test, schedule(epoch * steps + steps - 1)))
            position = position.next_epoch()
            saver.save(position, history.rows)
            if progress:
                tqdm.write(f"{title}: {_line(history.rows[-1], judged)}", file=sys.stderr)
            if after_epoch is not None:
                after_epoch(history.rows)
            if interrupt.requested:
                raise saver.interrupted(position)

    if average is not None:
        average.apply()
    model.eval()
    model.notes.update({name: facts[name] for name in ("classes", "mean", "std")})
    last = history.rows[-1]
    model.notes.update(dataset=train_set.name, epochs=last["epoch"], test_accuracy=last["test_accuracy"])
    return TrainingResult(history.rows, mean, std)


def _count_correct(logits, targets):
    """Return how many predictions are right; of a blended target, the share of the predicted class counts."""
    predictions = logits.argmax(axis=1)
    if targets.ndim == 1:
        return float((predictions == targets).sum())
    return float(targets[np.arange(len(targets)), predictions].sum(dtype=np.float64))


def _row(position, test, learning_rate):
    """Return an epoch's row of the history; `test` is None without an evaluation."""
    return {
        "epoch": position.epoch + 1,
        "train_loss": position.loss,
        "train_accuracy": position.accuracy,
        "test_loss": None if test is None else test.loss,
        "test_accuracy": None if test is None else test.accuracy,
        "learning_rate": learning_rate,
        "images_per_second": round(position.images_per_second, 1),
        "seconds": round(position.seconds, 3),
    }


def _bar(title, position, steps, progress):
    """Return the bar of an epoch; where stderr is no terminal it is silent."""
    disable = None if progress else True
    return tqdm(desc=title, total=steps, initial=position.step, unit="step", leave=False, disable=disable)


def _show(bar, position):
    """Move the bar by a step."""
    speed = f"{position.images_per_second:.0f} images/s"
    bar.set_postfix_str(f"loss {position.loss:.4f}, accuracy {position.accuracy:.1%}, {speed}", refresh=False)
    bar.update()


def _line(row, judged):
    """Say in one line how an epoch went."""
    evaluated = row["test_accuracy"] is not None
    test = f"{judged} loss {row['test_loss']:.4f}, accuracy {row['test_accuracy']:.1%}; " if evaluated else ""
    return (
        f"training loss {row['train_loss']:.4f}, accuracy {row['train_accuracy']:.1%}; {test}"
        f"{row['images_per_second']:.0f} images/s, {row['seconds']:.1f} s"
    )
