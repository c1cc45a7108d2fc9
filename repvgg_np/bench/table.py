"""Results as text: one line for each contestant."""


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
    return lines + left_out_lines(result)


def left_out_lines(result):
    """Write who does not take part, and why."""
    return [f"without {name}: {reason}" for name, reason in result.get("left_out", {}).items()]


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
    left_out = dict(pair for layer in result["layers"] for pair in layer["left_out"].items())
    return "\n".join(lines + left_out_lines({"left_out": left_out}))


def _cell(row):
    """Write one contestant's result for one layer."""
    return f"{milliseconds(row['median'])} ({row['gflops']:.0f}, {row['percent_of_peak']:.0f}%)"
