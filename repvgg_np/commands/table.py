"""`repvgg-np table`: a table of the paper, made again."""

from pathlib import Path

from repvgg_np.bench.machine import describe_machine, machine_line
from repvgg_np.bench.table import busy_lines
from repvgg_np.commands.options import add_common, add_data, draw_figure, load_with_test_set, print_numbers
from repvgg_np.tables import (
    ablation_figure,
    ablations,
    architecture,
    choices,
    depthwise,
    ensemble,
    figures,
    kernels,
    memory,
    network_figure,
    networks,
    recipes,
    recipes_figure,
)

TEXT = "make a table of the paper again, beside what it prints; without a name, list them"
TITLES = {
    "1": "3x3 kernels beside 1x1, 5x5 and 7x7: time and effective FLOP/s",
    "2": "the five stages of RepVGG-A and -B",
    "3": "the layers and multipliers of A0 to B3",
    "4": "ImageNet networks of simple training: counts and speed beside the paper's, and the order compared",
    "5": "ImageNet networks of strong training: the same",
    "6": "without the identity, the 1x1, or both: parameters, speed before and after fusion, accuracy on CIFAR-10",
    "7": "other blocks: the same",
    "cost": "every network: FLOPs, bytes read and written, memory, operators in a block, speed",
    "depthwise": "MobileNet's depthwise layers beside dense 3x3 layers that take the same time",
    "memory": "the memory of activations in plain, residual, dense and inception blocks (figure 3)",
    "ensemble": "the paths through a trained network, and its accuracy without some branches or blocks",
    "recipes": "the presets on CIFAR-10: accuracy of several seeds, and time, beside PyTorch's and published ones",
    "choices": "a draft of the preset coffee, shortened, with one choice changed at a time: accuracy of several seeds",
}


def add_options(parser):
    """Add a sub-command for each table; without any, they are listed."""
    parser.set_defaults(run=_list, threads=None, json=False)
    tables = parser.add_subparsers(dest="table", metavar="table")

    def table(name, make, text, draw=None):
        sub = add_common(tables.add_parser(name, help=TITLES[name], description=TITLES[name] + "."))
        sub.set_defaults(run=run, make=make, text=text, draw=draw, figure_of_speed=True)
        if draw:
            sub.add_argument("--figure", metavar="FILE", help="draw the result (PNG)")
        return sub

    def speed(sub, batch, size=None):
        sub.add_argument("--batch", type=int, default=batch, help="pictures (default: %(default)s)")
        shown = size or "what each network is made for"
        sub.add_argument("--size", type=int, default=size, help=f"height and width of the picture (default: {shown})")
        sub.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
        sub.add_argument("--no-speed", action="store_true", help="only count")

    first = table("1", _kernels, kernels.text, figures.kernels_figure)
    speed(first, 4, 56)
    first.add_argument("--channels", type=int, default=256, help="in and out (default: %(default)s)")
    table("2", lambda options: architecture.stages(), architecture.text)
    table("3", lambda options: architecture.members(), architecture.text)
    for name in networks.TABLES:
        speed(table(name, _published, networks.text, network_figure.networks_figure), 8)
    for name in ablations.TABLES:
        sub = table(name, _ablation, ablations.text, ablation_figure.ablation_figure)
        sub.set_defaults(figure_of_speed=False)
        sub.add_argument("--model", default="RepVGG-B0", help="whose speed (default: %(default)s)")
        results = "results.csv of `repvgg-np ablate`, for accuracies (default: those of CIFAR-10 in the package)"
        sub.add_argument("--results", metavar="FILE", help=results)
        speed(sub, 8)
    cost = table("cost", _cost, networks.text, network_figure.networks_figure)
    cost.add_argument("--model", nargs="+", metavar="NAME", help="which networks (default: all for ImageNet)")
    speed(cost, 8)
    speed(table("depthwise", _depthwise, depthwise.text, figures.depthwise_figure), 1)
    blocks = table("memory", lambda options: memory.block_memory(options.batch), memory.text, figures.memory_figure)
    blocks.add_argument("--batch", type=int, default=32, help="pictures (default: %(default)s)")
    deleted = table("ensemble", _ensemble, ensemble.text, figures.ensemble_figure)
    deleted.add_argument("--weights", nargs="+", required=True, metavar="FILE", help="trained networks (.npz)")
    deleted.add_argument("--draws", type=int, default=5, help="random orders (default: %(default)s)")
    deleted.add_argument("--seed", type=int, default=0, help="draws them (default: %(default)s)")
    add_data(deleted, None)
    table("recipes", lambda options: recipes.recipes(), recipes.text, recipes_figure.recipes_figure)
    table("choices", lambda options: choices.choices(), choices.text, recipes_figure.choices_figure)


def _list(options):
    """Print what tables there are."""
    for name, title in TITLES.items():
        print(f"{name:<10} {title}")
    print("Table 8 (semantic segmentation, PSPNet on Cityscapes) has no counterpart here.")
    return 0


def run(options):
    """Make the table that the options ask for, print it, and draw it."""
    if getattr(options, "no_speed", False) and options.figure and options.figure_of_speed:
        raise ValueError("--figure draws speed, so it cannot go with --no-speed")
    result, machine = options.make(options), describe_machine()
    timed = "slowdown" in result
    lines = [machine_line(machine), options.text(result), *busy_lines(result["slowdown"])] if timed else []
    print_numbers(options, result | {"machine": machine}, "\n".join(lines or [options.text(result)]))
    if options.draw and options.figure:
        draw_figure(options, options.draw, result, result.get("trained_on"))
    return 0


def _kernels(options):
    """Make table 1."""
    return kernels.kernel_sizes(options.channels, options.batch, options.size, options.rounds, not options.no_speed)


def _published(options):
    """Make table 4 or 5."""
    shape = (options.batch, options.size, options.rounds, not options.no_speed)
    return networks.published_networks(options.table, *shape)


def _cost(options):
    """Make the table of costs."""
    return networks.all_networks(options.model, options.batch, options.size, options.rounds, not options.no_speed)


def _depthwise(options):
    """Make the table of depthwise layers and their dense equals."""
    return depthwise.equal_time(options.batch, options.size, options.rounds, not options.no_speed)


def _ablation(options):
    """Make table 6 or 7."""
    shape = (options.batch, options.size, options.rounds, not options.no_speed)
    return ablations.ablation(options.table, options.model, *shape, options.results)


def _ensemble(options):
    """Delete branches from the networks of some files."""
    files = dict.fromkeys(options.weights)
    names = {file: Path(file).stem if len({Path(f).stem for f in files}) == len(files) else file for file in files}
    loaded = {names[file]: load_with_test_set(options, file) for file in files}
    return ensemble.deletions(loaded, options.draws, options.seed)
