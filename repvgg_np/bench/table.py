"""Results as text: one line for each contestant."""

BUSY = 1.1  # how much slower than at its best the processor may have been


def contest_lines(result):
    """Write the result of `run_contest` as lines.

    Parameters
    ----------
    result : dict

    Returns
    -------
    list of str
    """
    rows = result["contestants"]
    width = max(len(name) for name in rows)
    lines = []
    for name, row in rows.items():
        low, high = (milliseconds(seconds) for seconds in row["quartiles"])
        line = f"{name:<{width}}  {milliseconds(row['median']):>9} ms ({low} to {high})  {row['ratio']:>5.2f}x"
        if "gflops" in row:
            line += f"  {row['gflops']:>6.0f} GFLOP/s {row['percent_of_peak']:>4.0f}% of peak"
        if "images_per_second" in result:
            line += f"  {result['images_per_second'][name]:>7.0f} images/s"
        lines.append(line + (f"  [{row['note']}]" if row["note"] else ""))
    if result["fastest_peer"] is not None:
        verb = "ours is" if result["ratio_to_fastest_peer"] >= 1 else "ours is only"
        lines.append(
            f"{verb} {result['ratio_to_fastest_peer']:.2f} times as fast as the fastest peer, {result['fastest_peer']}"
        )
    return lines + busy_lines(result["slowdown"]) + left_out_lines(result)


def busy_lines(slowdown):
    """Warn of numbers from a machine that did something else at the same time."""
    if slowdown <= BUSY:
        return []
    return [f"the machine was busy: a loop of FMAs took {slowdown:.1f} times its shortest time, so measure again"]


def left_out_lines(result):
    """Write who does not take part, and why: those with the same reason in one line."""
    names = {}
    for name, reason in result.get("left_out", {}).items():
        names.setdefault(reason, []).append(name)
    return [f"without {', '.join(those)}: {reason}" for reason, those in names.items()]


def milliseconds(seconds):
    """Write a time in milliseconds, with three or four digits that say something."""
    value = 1e3 * seconds
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 4
    return f"{value:.{digits}f}"


def run_text(run):
    """Write the result of `bench_inference` or `bench_training`."""
    head = f"{run['model']}, batch {run['batch']}, {run['size']}x{run['size']}; peak {run['peak_gflops']:.0f} GFLOP/s"
    return "\n".join([head, *contest_lines(run)])


def layers_text(result):
    """Write the result of `bench_layers`: a line for each layer."""
    names = list(dict.fromkeys(name for layer in result["layers"] for name in layer["contestants"]))
    head = f"{'layer':<24} {'input':>7} {'by':<8}" + "".join(f" {name:>15}" for name in names)
    lines = [f"{result['model']}, batch {result['batch']}: milliseconds (effective GFLOP/s, percent of peak)", head]
    for layer in result["layers"]:
        side = f"{layer['layer_size']}x{layer['layer_size']}"
        line = f"{layer['layer']:<24} {side:>7} {layer['algorithm']:<8}"
        for name in names:
            row = layer["contestants"].get(name)
            line += f" {'-':>15}" if row is None else f" {_cell(row):>15}"
        ratio = layer["ratio_to_fastest_peer"]
        lines.append(line + ("" if ratio is None else f"  {ratio:.2f}x {layer['fastest_peer']}"))
    lines.append("the last column is the fastest peer's time divided by ours")
    lines += busy_lines(max(layer["slowdown"] for layer in result["layers"]))
    left_out = dict(pair for layer in result["layers"] for pair in layer["left_out"].items())
    return "\n".join(lines + left_out_lines({"left_out": left_out}))


def gemm_text(result):
    """Write the result of `bench_gemm`."""
    head = f"GEMM micro-kernel, {result['rows']} x K x {result['columns']}, one thread; "
    lines = [head + f"peak {result['peak_gflops']:.0f} GFLOP/s", f"{'K':>5} {'GFLOP/s':>8} {'of peak':>8}"]
    lines += [f"{r['depth']:>5} {r['gflops']:>8.1f} {r['percent_of_peak']:>7.1f}%" for r in result["depths"]]
    return "\n".join(lines + busy_lines(result["slowdown"]))


def memory_text(result):
    """Write the result of `bench_memory`."""
    lines = [f"{result['model']}, batch {result['batch']}: most memory beyond the network's numbers and the batch"]
    for task in ("inference", "training"):
        for name, row in result.get(task, {}).items():
            note = f"  [{row['note']}]" if row["note"] else ""
            lines.append(f"{task:<10} {name:<14} {row['bytes'] / 2**20:>9.1f} MiB  {row['ratio']:>5.2f}x{note}")
    return "\n".join(lines + left_out_lines(result))


def scaling_text(result):
    """Write the result of `bench_scaling`: a table for each axis."""
    lines = [f"{result['model']}, milliseconds"]
    for axis, found in result["axes"].items():
        points = found["points"]
        lines.append(f"{axis:<16}" + "".join(f" {point['value']:>9}" for point in points) + "   slope")
        for name in dict.fromkeys(name for point in points for name in point["contestants"]):
            rows = [point["contestants"].get(name) for point in points]
            cells = "".join(f" {'-' if row is None else milliseconds(row['median']):>9}" for row in rows)
            slope = f"  {found['slopes'][name]:>6.2f}" if name in found["slopes"] else ""
            lines.append(f"{name:<16}{cells}{slope}")
    points = [point for found in result["axes"].values() for point in found["points"]]
    lines += busy_lines(max(point["slowdown"] for point in points))
    left_out = dict(pair for point in points for pair in point["left_out"].items())
    return "\n".join(lines + left_out_lines({"left_out": left_out}))


def _cell(row):
    """Write one contestant's result for one layer."""
    return f"{milliseconds(row['median'])} ({row['gflops']:.0f}, {row['percent_of_peak']:.0f}%)"
