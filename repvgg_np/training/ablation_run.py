"""One run of an ablation: a row of the table with one seed, wherever it is run."""

import contextlib
import dataclasses
import functools
import multiprocessing
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from repvgg_np.blocks import find_variant
from repvgg_np.data import load_dataset
from repvgg_np.fuse import fuse
from repvgg_np.kernels import get_num_threads, set_num_threads
from repvgg_np.models import create_model, save
from repvgg_np.training.evaluate import evaluate
from repvgg_np.training.loop import train
from repvgg_np.training.settings import Settings


@dataclasses.dataclass(frozen=True)
class DataSource:
    """Where a run, in whatever process or on whatever machine, finds its pictures.

    Attributes
    ----------
    name : str
        As for `load_dataset`.
    data_dir : str or None
    limit : int or None
        Only the first so many pictures of each set.
    """

    name: str = "synthetic"
    data_dir: str | None = None
    limit: int | None = None

    def load(self, split):
        """Return the data set of a split; the last two stay in memory."""
        return _load(self, split)


@functools.lru_cache(maxsize=2)
def _load(source, split):
    """Load one split."""
    dataset = load_dataset(source.name, split, source.data_dir)
    return dataset if source.limit is None else dataset.subset(source.limit)


@dataclasses.dataclass(frozen=True)
class Run:
    """One row with one seed, and all that its result depends on.

    Attributes
    ----------
    row : str
        The kind of block.
    model : str
    settings : Settings
        With the run's seed.
    data : DataSource
    folder : str
        Of this run alone.
    """

    row: str
    model: str
    settings: Settings
    data: DataSource
    folder: str


_ONE_AT_A_TIME = threading.Lock()  # the kernels share one pool of threads: two trainings in a process would collide
_busy = False


def run_one(run, progress=False):
    """Train one row with one seed, or go on with it; evaluate, fuse, evaluate again.

    Parameters
    ----------
    run : Run
    progress : bool

    Returns
    -------
    dict
        Keyed by `ablation_results.COLUMNS`; None where the row does not fold.

    Raises
    ------
    ValueError
        From `train`.
    """
    global _busy
    with _ONE_AT_A_TIME:
        _busy = True
        try:
            return _run_one(run, progress)
        finally:
            _busy = False


def _run_one(run, progress):
    """Do the work of `run_one`."""
    train_set, test_set = run.data.load("train"), run.data.load("test")
    model = create_model(run.model, len(train_set.classes), run.settings.seed, variant=run.row)
    result = train(model, train_set, test_set, run.settings, run.folder, resume=True, progress=progress)
    model.notes["settings"] = run.settings.as_dict()
    save(model, Path(run.folder) / "model.npz")
    before = evaluate(model, test_set, result.mean, result.std, progress=progress)
    numbers = {
        "row": run.row,
        "seed": run.settings.seed,
        "epochs": run.settings.epochs,
        "parameters": model.count_parameters(),
        "fused_parameters": None,
        "train_accuracy": result.history[-1]["train_accuracy"],
        "test_accuracy": before.accuracy,
        "fused_test_accuracy": None,
        "changed_predictions": None,
        "training_images_per_second": round(result.images_per_second, 1),
        "images_per_second": round(before.images_per_second, 1),
        "fused_images_per_second": None,
    }
    if find_variant(run.row).inference is not None:
        fused = fuse(model)
        after = evaluate(fused, test_set, result.mean, result.std, progress=progress)
        numbers["fused_parameters"] = fused.count_parameters()
        numbers["fused_test_accuracy"] = after.accuracy
        numbers["changed_predictions"] = int((before.predictions != after.predictions).sum())
        numbers["fused_images_per_second"] = round(after.images_per_second, 1)
    return numbers


@contextlib.contextmanager
def process_pool(workers, threads=None):
    """Open an executor of processes on this machine, which share its processors.

    Parameters
    ----------
    workers : int
        At least 1.
    threads : int, optional
        Of each process; without it, an equal share.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor

    Raises
    ------
    ValueError
        If there is no worker.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    threads = max(1, get_num_threads() // workers) if threads is None else threads
    # Fresh processes: one forked from a process whose kernels have run would inherit threads that don't exist.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(threads,)) as executor:
        yield executor


def _begin_worker(threads):
    """Prepare a process: its share of threads, and Ctrl-C, which stops a run and leaves an idle process alone."""

    def stop(number, frame):
        if _busy:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    set_num_threads(threads)
