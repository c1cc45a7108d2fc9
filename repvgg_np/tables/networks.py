"""Tables 4 and 5, the ImageNet networks; and what every network here costs: FLOPs are not speed."""

from repvgg_np.analysis import disagreements, memory_steps, network_cost, operators_per_block, spearman
from repvgg_np.analysis.published import NOTES, TABLE_4, TABLE_5
from repvgg_np.bench.networks import time_networks
from repvgg_np.models import CONFIGS, create_model, find_model
from repvgg_np.tables.text import Footnotes, columns, number, order_lines, speed

TABLES = {"4": TABLE_4, "5": TABLE_5}
SHOWN_PAIRS = 6
COSTS = ("flops", "winograd_multiplications", "memory_access")
PAPER_BATCH, ITEM_BYTES = 128, 4  # float32


def published_networks(table, batch=8, size=None, rounds=5, measure=True):
    """Count and time the networks of table 4 or 5, in inference form.

    Parameters
    ----------
    table : {"4", "5"}
    batch : int
        Pictures in a batch.
    size : int, optional
        Height and width of the pictures; without it, those of the paper.
    rounds : int
        Of the interleaved run.
    measure : bool
        Whether to time them, or only to count.

    Returns
    -------
    dict
        "rows": for each network "text", "model", the counts of `count`, "printed" (parameters, FLOPs and Wino MULs,
        written as the paper writes them), "paper" (the same as it prints them), "paper_top_1",
        "paper_images_per_second", "note". If they were timed, also "images_per_second" and "quartiles" (seconds of a
        batch); and "speed", from `compare_speed`, "batch", "rounds", "slowdown".

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    rows = []
    for published in TABLES[table]:
        row = {"text": published.text, **count(published.model, size)}
        row["printed"] = as_printed(row)
        row["paper"] = {"parameters": published.parameters, "flops": published.flops, "winograd": published.winograd}
        row |= {"paper_top_1": published.top_1, "paper_images_per_second": published.images_per_second}
        rows.append(row | {"note": NOTES.get(published.text)})
    result = {"table": table, "rows": rows}
    return result | add_speed(rows, batch, size, rounds, f"table {table}") if measure else result


def all_networks(models=None, batch=8, size=None, rounds=5, measure=True):
    """Count and time networks, in inference form: those of the paper, and those that its introduction speaks of.

    Parameters
    ----------
    models : sequence of str, optional
        Their names; without it all ImageNet networks.
    batch, size, rounds, measure
        As above.

    Returns
    -------
    dict
        As above, without what the paper prints.

    Raises
    ------
    ValueError
        If a number is out of range, or a name is unknown.
    """
    names = [name for name, config in CONFIGS.items() if config.input_size >= 224] if models is None else models
    rows = [{"text": name, **count(name, size)} for name in dict.fromkeys(map(find_model, names))]
    result = {"table": "cost", "rows": rows}
    return result | add_speed(rows, batch, size, rounds, "networks") if measure else result


def count(name, size=None):
    """Count what a network costs for one picture, in inference form.

    Parameters
    ----------
    name : str
    size : int, optional

    Returns
    -------
    dict
        "model", "parameters", "flops" (multiply-adds), "winograd_multiplications", "memory_access" (bytes read and
        written), "peak_activations" (bytes in memory at once), "operators_per_block".
    """
    model = create_model(name, seed=None, form="inference")
    costs = network_cost(model, size)
    side = model.config.input_size if size is None else size
    row = {"model": name, "parameters": model.count_parameters()}
    row |= {key: sum(getattr(cost, key) for cost in costs) for key in COSTS}
    row["peak_activations"] = model.dtype.itemsize * max(step.alive for step in memory_steps(model, (3, side, side)))
    return row | {"operators_per_block": operators_per_block(model)}


def as_printed(row):
    """Write counts as the paper does: millions of parameters cut off, thousand millions of FLOPs rounded."""
    return {
        "parameters": f"{row['parameters'] // 10_000 / 100:.2f}",
        "flops": f"{row['flops'] / 1e9:.1f}",
        "winograd": f"{row['winograd_multiplications'] / 1e9:.1f}",
    }


def add_speed(rows, batch, size, rounds, title):
    """Time the networks of some rows, and write the speed into each; return what belongs to all."""
    makers = {row["text"]: _maker(row["model"]) for row in rows}
    timed = time_networks(makers, batch, size, rounds, title=title)
    for row in rows:
        mine = timed["networks"][row["text"]]
        row |= {"images_per_second": mine["images_per_second"], "quartiles": mine["quartiles"]}
        row["gflops"] = 2e-9 * row["flops"] * row["images_per_second"]  # a multiply-add is two operations
    return {"speed": compare_speed(rows, batch), **{key: timed[key] for key in ("batch", "rounds", "slowdown")}}


def _maker(name):
    """Return what makes a network of zeros in inference form."""
    return lambda: create_model(name, seed=None, form="inference")


def compare_speed(rows, batch):
    """Compare orders: by speed here, by the paper's speed, by each count.

    Parameters
    ----------
    rows : list of dict
    batch : int
        With which they were timed: parameters are read once for a batch.

    Returns
    -------
    dict
        "spearman": the rank correlation of the speed here with "paper" (where there is one), and with the inverse of
        each count; "paper_spearman": of the paper's speed with those; "disagreements" with the paper; "more_flops":
        pairs `[network, other, ratio]` of which the first has so many times the FLOPs of the other, and is faster.
    """
    if len(rows) < 2:
        return {"spearman": {}, "more_flops": []}
    names, here = [row["text"] for row in rows], [row["images_per_second"] for row in rows]
    result = {"spearman": _few_and_fast(rows, here, batch)}
    if "paper_images_per_second" in rows[0]:
        paper = [row["paper_images_per_second"] for row in rows]
        result["paper_spearman"] = _few_and_fast(rows, paper, PAPER_BATCH)
        result["spearman"] = {"paper": spearman(here, paper), **result["spearman"]}
        result["disagreements"] = disagreements(names, paper, here)
    pairs = [
        [a["text"], b["text"], a["flops"] / b["flops"]]
        for a in rows
        for b in rows
        if a["flops"] > b["flops"] and a["images_per_second"] > b["images_per_second"]
    ]
    result["more_flops"] = sorted(pairs, key=lambda pair: -pair[2])
    return result


def _few_and_fast(rows, speeds, batch):
    """Correlate speeds with the inverse of each count, for one picture of a batch."""
    found = {}
    for key in COSTS:
        counts = [row[key] for row in rows]
        if key == "memory_access":
            shared = [ITEM_BYTES * row["parameters"] * (1 - 1 / batch) for row in rows]
            counts = [count - saved for count, saved in zip(counts, shared, strict=True)]
        found[key] = spearman(speeds, [-count for count in counts])
    return found


def text(result):
    """Write the result of `published_networks` or `all_networks`."""
    rows, notes = result["rows"], Footnotes()
    timed, published = "speed" in result, "paper" in result["rows"][0]
    head = ["network", "params/M", "FLOPs/G", "Wino/G", "access/MiB", "operators"]
    head += ["peak/MiB"] if not published else []
    head += ["images/s", "GFLOP/s"] if timed else []
    head += ["paper: top-1", "images/s"] if published else []
    lines = []
    for row in rows:
        mark = notes.mark(row.get("note"))
        cells = [row["text"] + (f" {mark}" if mark else ""), *_counts(row)]
        cells += [f"{row['memory_access'] / 2**20:.1f}", str(row["operators_per_block"])]
        cells += [f"{row['peak_activations'] / 2**20:.1f}"] if not published else []
        cells += [speed(row["images_per_second"]), number(row["gflops"], 0)] if timed else []
        cells += [f"{row['paper_top_1']:.2f}", number(row["paper_images_per_second"], 0)] if published else []
        lines.append(cells)
    lines = columns(head, lines)
    lines.append("access: read and written for one picture, parameters included; operators: those of a block")
    if published:
        lines.append("in brackets: what the paper prints, where counting gives something else")
    return "\n".join([*lines, *notes.lines(), *(_speed_lines(result) if timed else [])])


def _counts(row):
    """Write parameters, FLOPs and Wino MULs, each with the paper's in brackets where that differs."""
    printed = row.get("printed") or as_printed(row)
    paper = row.get("paper", printed)
    return [mine if mine == paper[key] else f"{mine} ({paper[key]})" for key, mine in printed.items()]


def _speed_lines(result):
    """Say what the order by speed has to do with other orders."""
    found = result["speed"]
    lines = [f"batch {result['batch']}, medians of {result['rounds']} interleaved rounds"]
    names = {"flops": "FLOPs", "winograd_multiplications": "Wino MULs", "memory_access": "bytes for a batch"}
    if "paper" in found["spearman"]:
        lines.append(f"Spearman's rank correlation with the paper's speeds: {found['spearman']['paper']:.2f}")
        lines += order_lines(found["disagreements"], "here, though not in the paper,")
    for key, name in names.items():
        if key in found["spearman"]:
            line = f"fewer {name}, more speed: rank correlation {found['spearman'][key]:.2f} here"
            lines.append(
                line + (f", {found['paper_spearman'][key]:.2f} in the paper" if "paper_spearman" in found else "")
            )
    for one, other, ratio in found["more_flops"][:SHOWN_PAIRS]:
        lines.append(f"FLOPs are not speed: {one} has {ratio:.1f} times the FLOPs of {other}, and is faster")
    return lines
