"""Tables 2 and 3: the stages of RepVGG, and its members; read off the networks and compared with what is printed."""

from repvgg_np.analysis import network_cost
from repvgg_np.analysis.published import TABLE_2, TABLE_3
from repvgg_np.models import CONFIGS, create_model
from repvgg_np.tables.text import columns


def stages():
    """Read table 2 off the networks.

    Returns
    -------
    dict
        "rows": for each stage "stage", "output" (height and width for 224x224), "layers" of RepVGG-A and -B, "width"
        (as the paper writes it), "paper" (output and layers), "agrees".
    """
    rows = []
    nets = {letter: create_model(f"RepVGG-{letter}1", seed=None, form="inference") for letter in "AB"}
    costs = {letter: {cost.name: cost for cost in network_cost(net)} for letter, net in nets.items()}
    for number, (output, layers_a, layers_b, base) in enumerate(TABLE_2):
        sizes = {
            c.out_shape[1] for own in costs.values() for name, c in own.items() if name.startswith(f"stage{number}")
        }
        layers = [net.config.depths[number] for net in nets.values()]
        width = "min(64, 64a)" if number == 0 else f"{base}{'b' if number == 4 else 'a'}"
        row = {"stage": number + 1, "output": sizes.pop(), "layers": layers, "width": width}
        row["paper"] = {"output": output, "layers": [layers_a, layers_b]}
        rows.append(row | {"agrees": not sizes and [row["output"], layers] == [output, [layers_a, layers_b]]})
    return {"table": "2", "rows": rows}


def members():
    """Read table 3 off the networks.

    Returns
    -------
    dict
        "rows": for each network "model", "layers" and "widths" of its stages, "a" and "b" (the multipliers, from the
        widths), "paper" (layers, a, b), "agrees".
    """
    rows = []
    for name, (layers, a, b) in TABLE_3.items():
        config = CONFIGS[name]
        row = {"model": name, "layers": list(config.depths), "widths": list(config.widths)}
        row |= {"a": config.widths[1] / TABLE_2[1][3], "b": config.widths[4] / TABLE_2[4][3]}
        row["paper"] = {"layers": list(layers), "a": a, "b": b}
        widths = [min(64, int(64 * a)), *(int(base * a) for *_, base in TABLE_2[1:4]), int(TABLE_2[4][3] * b)]
        rows.append(row | {"agrees": row["layers"] == list(layers) and row["widths"] == widths})
    return {"table": "3", "rows": rows}


def text(result):
    """Write the result of `stages` or `members`."""
    cells = []
    if result["table"] == "2":
        head = ["stage", "output", "RepVGG-A", "RepVGG-B", "as in the paper"]
        for row in result["rows"]:
            layers = [f"{count} x {row['width']}" for count in row["layers"]]
            cells.append([str(row["stage"]), f"{row['output']}x{row['output']}", *layers])
    else:
        head = ["network", "layers of each stage", "a", "b", "widths", "as in the paper"]
        for row in result["rows"]:
            layers, widths = (", ".join(map(str, row[key])) for key in ("layers", "widths"))
            cells.append([row["model"], layers, f"{row['a']:g}", f"{row['b']:g}", widths])
    for line, row in zip(cells, result["rows"], strict=True):
        line.append("yes" if row["agrees"] else "no")
    lines = columns(head, cells)
    if result["table"] == "3":
        lines.append("g2 and g4: every second layer from the third to the 21st (A) or 27th (B) has 2 or 4 groups")
    return "\n".join(lines)
