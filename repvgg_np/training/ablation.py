"""The paper's ablation (tables 6 and 7), trained again: every kind of block, every seed, then one table.

A run is one row of the table with one seed. It has a folder of its own with an ordinary checkpoint, so whatever is
stopped goes on where it was. Runs are independent of one another, and go to any `concurrent.futures` executor: threads,
processes, or a cluster's. Only the process that calls `ablate` writes the results.
"""

import dataclasses
import sys
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from pathlib import Path

from tqdm import tqdm

from repvgg_np.analysis import TABLE_6, TABLE_7
from repvgg_np.blocks import find_variant
from repvgg_np.models import find_model
from repvgg_np.training.ablation_results import Results
from repvgg_np.training.ablation_run import DataSource, Run, run_one
from repvgg_np.training.settings import Settings

ROWS = {
    "branches": tuple(row.variant for row in TABLE_6),
    "variants": tuple(row.variant for row in TABLE_7),
    "beyond": ("trivial-1x1", "dbb", "mobileone"),
}


def find_rows(names):
    """Return the kinds of blocks that names stand for, each once, in order.

    Parameters
    ----------
    names : sequence of str
        Kinds of blocks, and the names of `ROWS`.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there is none, or one is unknown.
    """
    rows = [row for name in names for row in ROWS.get(name, (name,))]
    if not rows:
        raise ValueError("rows must name at least one kind of block, got none")
    for row in rows:
        find_variant(row)
    return list(dict.fromkeys(rows))


def ablate(
    folder,
    rows=("branches", "variants"),
    seeds=(0,),
    model="RepVGG-A0-CIFAR",
    settings=None,
    data=None,
    executor=None,
    at_once=None,
    progress=True,
):
    """Train rows of the ablation tables, each with every seed; what is there already is not trained again.

    Parameters
    ----------
    folder : str or os.PathLike
        Gets ``results.csv``, and a folder ``ROW/seed-SEED`` for each run. Executors on other machines need to see it
        under the same name.
    rows : sequence of str
        Kinds of blocks, or "branches" (table 6), "variants" (table 7) and "beyond".
    seeds : sequence of int
        Of the weights, the order of the pictures and the augmentation.
    model : str
    settings : Settings, optional
        The seed in it is not used.
    data : DataSource, optional
    executor : concurrent.futures.Executor, optional
        Runs the runs; without it they run here, one after the other. In each process of it, one runs at a time.
    at_once : int, optional
        How many runs are given to the executor at a time; without it, all.
    progress : bool
        Whether to show on stderr how far it is.

    Returns
    -------
    list of dict
        Keyed by `ablation_results.COLUMNS`, row by row: see `summarise` and `table`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the folder holds another ablation; if a worker died. If a run failed, after
        all others are done, with the reason of the first.
    KeyboardInterrupt
        On Ctrl-C. What was begun is saved, and the same call goes on.
    """
    rows, name = find_rows(rows), find_model(model)
    settings, data = settings or Settings(), data or DataSource()
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once must be at least 1, got {at_once}")
    if not seeds:
        raise ValueError("seeds must be at least one, got none")
    folder = Path(folder)
    runs = []
    for seed in dict.fromkeys(seeds):
        for row in rows:
            own = dataclasses.replace(settings, seed=seed)
            # An absolute path, because a process elsewhere may have another current folder.
            runs.append(Run(row, name, own, data, str((folder / row / f"seed-{seed}").resolve())))
    facts = {"model": name, "settings": {**settings.as_dict(), "seed": None}, "data": [data.name, data.limit]}
    results = Results(folder, facts)
    waiting = [run for run in runs if not results.has(run.row, run.settings.seed)]
    bar = tqdm(
        desc="ablation",
        total=len(runs),
        initial=len(runs) - len(waiting),
        unit="run",
        disable=None if progress else True,
    )
    failures = []
    try:
        with bar:
            for run, outcome in _outcomes(waiting, executor, at_once, progress):
                label = f"{run.row}, seed {run.settings.seed}"
                if isinstance(outcome, Exception):
                    failures.append((f"{label}: {str(outcome) or type(outcome).__name__}", outcome))
                    line = f"{label}: failed: {outcome}"
                else:
                    results.add(outcome)
                    line = f"{label}: {outcome['test_accuracy']:.2%} of the test pictures correct"
                bar.update()
                if progress:
                    tqdm.write(line, file=sys.stderr)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the ablation was interrupted, and is saved in {folder}: to go on, do the same again"
        ) from None
    if failures:
        first, cause = failures[0]
        raise ValueError(f"{len(failures)} of {len(runs)} runs failed: {first}") from cause
    return results.of(rows, seeds)


def _outcomes(waiting, executor, at_once, progress):
    """Yield each run with its numbers or the exception that ended it, in the order in which they end."""
    if executor is None:
        for run in waiting:
            if progress:
                tqdm.write(f"{run.row}, seed {run.settings.seed}:", file=sys.stderr)
            try:
                yield run, run_one(run, progress)
            except ValueError as error:
                yield run, error
        return
    waiting, running = list(waiting), {}
    try:
        while waiting or running:
            while waiting and (at_once is None or len(running) < at_once):
                run = waiting.pop(0)
                running[executor.submit(run_one, run)] = run
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run, error = running.pop(future), future.exception()
                if error is not None and (isinstance(error, BrokenExecutor) or not isinstance(error, Exception)):
                    raise error  # the executor has broken down; or KeyboardInterrupt
                yield run, error or future.result()
    except BrokenExecutor as error:
        raise ValueError(
            f"a worker ended unexpectedly, perhaps for want of memory ({error}); what is done is saved: do the same "
            "again, with fewer workers"
        ) from error
    finally:
        for future in running:  # none is left unless this ends early
            future.cancel()
