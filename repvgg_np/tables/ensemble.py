"""The implicit ensemble: how many paths a network has, and what is left when branches or blocks are deleted."""

import numpy as np
from tqdm import tqdm

from repvgg_np.analysis import delete, draw_order, path_lengths
from repvgg_np.analysis.ensemble import KINDS
from repvgg_np.bench.contest import check_positive
from repvgg_np.kernels import warm_up
from repvgg_np.tables.text import columns
from repvgg_np.training import evaluate


def deletions(networks, draws=5, seed=0, progress=True):
    """Delete more and more of trained networks, in random orders, and count the test pictures that stay right.

    Parameters
    ----------
    networks : dict of str to (Network, Dataset, mean, std)
        By a name: a network in training form, test pictures, their normalisation.
    draws : int
        Random orders for each network.
    seed : int
        Draws them.
    progress : bool
        Whether to show a bar on stderr.

    Returns
    -------
    dict
        "networks": for each by its name "paths" (how many) and "lengths" (how many of each number of convolutions),
        "accuracy" (of the whole network, from 0 to 1), "pictures", and for "branches" and "blocks" a list of the
        accuracies of each draw, one for each number of deletions from 0; None where there is nothing to delete.

    Raises
    ------
    ValueError
        If `draws` is below 1, or a network has nothing to delete at all.
    """
    check_positive(draws=draws)
    warm_up(training=False, progress=progress)
    found = {}
    for name, (model, dataset, mean, std) in networks.items():
        lengths = path_lengths(model)
        orders, reason = {}, None
        for kind in KINDS:
            try:
                rngs = (np.random.default_rng([seed, draw]) for draw in range(draws))
                orders[kind] = [draw_order(model, kind, rng) for rng in rngs]
            except ValueError as error:
                orders[kind], reason = None, error
        if not any(orders.values()):
            raise ValueError(f"{name}: {reason}")
        whole = evaluate(model, dataset, mean, std, progress=False).accuracy
        row = {"paths": sum(lengths), "lengths": lengths, "accuracy": whole, "pictures": len(dataset)}
        steps = sum(len(order) for some in orders.values() for order in some or ())
        with tqdm(total=steps, leave=False, disable=None if progress else True) as bar:
            for kind, some in orders.items():
                bar.set_description(f"{name} without {kind}")
                row[kind] = some and [_falling(whole, model, order, dataset, mean, std, bar) for order in some]
        found[name] = row
    return {"table": "ensemble", "draws": draws, "networks": found}


def _falling(whole, model, order, dataset, mean, std, bar):
    """Return the accuracy after none, one, two, ... of the deletions."""
    accuracies, gone = [whole], []
    for those in order:
        gone += those
        accuracies.append(evaluate(delete(model, gone), dataset, mean, std, progress=False).accuracy)
        bar.update()
    return accuracies


def text(result):
    """Write the result of `deletions`: for each network a table of accuracies by number of deletions."""
    lines = []
    for name, row in result["networks"].items():
        lengths = row["lengths"]
        shown = [length for length, ways in enumerate(lengths) if ways]
        mean = sum(length * ways for length, ways in enumerate(lengths)) / row["paths"]
        lines.append(
            f"{name}: {row['paths']:,} paths through {shown[0]} to {shown[-1]} convolutions, {mean:.1f} on average"
        )
        for kind in KINDS:
            if row[kind] is None:
                lines.append(f"no {kind} to delete")
                continue
            longest = max(map(len, row[kind]))
            cells = []
            for deleted in range(longest):
                values = [curve[deleted] for curve in row[kind] if deleted < len(curve)]
                cells.append([str(deleted), *(f"{value:.2%}" for value in (np.mean(values), min(values), max(values)))])
            lines += columns([f"deleted {kind}", "accuracy", "lowest", "highest"], cells)
    lines.append(
        f"means over {result['draws']} random orders; a block's identity stays, and every block keeps a branch"
    )
    return "\n".join(lines)
