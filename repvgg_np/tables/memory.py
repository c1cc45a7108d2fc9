"""Figure 3: the memory that activations take in plain, residual, dense and inception blocks, computed and measured."""

from repvgg_np.analysis import example_blocks, measure_peak, memory_steps
from repvgg_np.bench.contest import check_positive
from repvgg_np.tables.text import columns

BYTES = 4  # of a float32


def block_memory(batch=32):
    """Compute and measure the memory of activations in each of the example blocks.

    Parameters
    ----------
    batch : int
        Pictures; with few, the kernels' own working memory is a large part of what is measured.

    Returns
    -------
    dict
        "rows": for each block "text", "shape" of its input, "input", "held", "alive" and "measured" (bytes for the
        whole batch; the peaks), "steps" (for each operation its name, "held" and "alive", divided by the input).

    Raises
    ------
    ValueError
        If `batch` is below 1.
    """
    check_positive(batch=batch)
    rows = []
    for name, (block, shape) in example_blocks().items():
        steps = memory_steps(block, shape)
        unit = BYTES * batch
        row = {"text": name, "shape": list(shape), "input": unit * steps[0].held}
        row |= {key: unit * max(getattr(step, key) for step in steps) for key in ("held", "alive")}
        row["measured"] = measure_peak(block, shape, batch)
        parts = ({"name": s.name, "held": s.held / steps[0].held, "alive": s.alive / steps[0].held} for s in steps)
        rows.append(row | {"steps": list(parts)})
    return {"table": "memory", "batch": batch, "rows": rows}


def text(result):
    """Write the result of `block_memory`."""
    head = ["block", "input", "held", "alive", "alive/MiB", "measured/MiB", "measured/computed"]
    cells = []
    for row in result["rows"]:
        line = [row["text"], "x".join(map(str, row["shape"]))]
        line += [f"{row[key] / row['input']:.2f}x" for key in ("held", "alive")]
        line += [f"{row[key] / 2**20:.1f}" for key in ("alive", "measured")]
        cells.append([*line, f"{row['measured'] / row['alive']:.3f}"])
    return "\n".join(
        [
            *columns(head, cells),
            "held: kept from one operation to the next, the paper's figure 3 (plain 1x, residual 2x)",
            "alive: in memory while an operation runs, its output included; measured with Python's tracemalloc, "
            f"batch {result['batch']}",
        ]
    )
