"""`repvgg-np summary`: what networks consist of, and what they cost."""

from repvgg_np.analysis import network_cost
from repvgg_np.commands.options import print_numbers
from repvgg_np.models import create_model, list_models

TEXT = "print layers, shapes, parameters and FLOPs of a network"


def add_options(parser):
    """Add the options of `repvgg-np summary`."""
    parser.add_argument("model", nargs="?", help="its name; without it, one line for each network")
    parser.add_argument("--variant", help="kind of a RepVGG's blocks (default: repvgg)")
    parser.add_argument("--size", type=int, help="height and width of the picture")
    parser.add_argument("--classes", type=int, help="how many classes")
    parser.add_argument("--form", choices=("training", "inference"), default="inference", help="default: %(default)s")


def run(options):
    """Print what one network costs, or all of them."""
    print_numbers(options, *(_all_networks(options) if options.model is None else _one_network(options)))
    return 0


def _all_networks(options):
    """Count what every network costs; return the numbers, and a text with a line for each."""
    rows = []
    for name in list_models():
        forms = [create_model(name, options.classes, None, form=form) for form in ("training", "inference")]
        costs = network_cost(forms[1], options.size)
        rows.append(
            {
                "model": name,
                "training_parameters": forms[0].count_parameters(),
                "inference_parameters": forms[1].count_parameters(),
                "flops": sum(cost.flops for cost in costs),
                "winograd_multiplications": sum(cost.winograd_multiplications for cost in costs),
            }
        )
    head = f"{'model':<17} {'parameters, training':>20} {'inference':>12} {'FLOPs':>15} {'Wino MULs':>15}"
    lines = [
        f"{r['model']:<17} {r['training_parameters']:>20,} {r['inference_parameters']:>12,} {r['flops']:>15,} "
        f"{r['winograd_multiplications']:>15,}"
        for r in rows
    ]
    return rows, "\n".join([head, *lines])


def _one_network(options):
    """Count what each layer of a network costs; return the numbers, and a text with a line for each."""
    model = create_model(options.model, options.classes, None, form=options.form, variant=options.variant)
    costs = network_cost(model, options.size)
    total = {key: sum(getattr(c, key) for c in costs) for key in ("parameters", "flops", "winograd_multiplications")}
    numbers = {
        "model": model.name,
        "variant": getattr(model.config, "block", None),
        "form": model.form,
        **total,
        "layers": [vars(cost) for cost in costs],
    }
    kind = "" if options.variant is None else f" with {options.variant} blocks"
    width, first = max(len(cost.kind) for cost in costs), max(len(cost.name) for cost in costs)
    lines = [f"{'layer':<{first}} {'':<{width}} {'output':>16} {'parameters':>12} {'FLOPs':>15}"]
    for cost in costs:
        shape = "x".join(map(str, cost.out_shape))
        lines.append(f"{cost.name:<{first}} {cost.kind:<{width}} {shape:>16} {cost.parameters:>12,} {cost.flops:>15,}")
    lines.append(
        f"{model.name}{kind}, {model.form} form: {total['parameters']:,} parameters, "
        f"{total['flops']:,} FLOPs (multiply-adds), "
        f"{total['winograd_multiplications']:,} multiplications with Winograd F(2x2)"
    )
    return numbers, "\n".join(lines)
