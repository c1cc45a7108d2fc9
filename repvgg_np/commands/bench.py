"""`repvgg-np bench`: this package beside its peers."""

import json

from repvgg_np.bench import figures, table
from repvgg_np.bench.gemm import bench_gemm
from repvgg_np.bench.inference import bench_inference
from repvgg_np.bench.layers import bench_layers
from repvgg_np.bench.machine import describe_machine, machine_line, memory_bandwidth
from repvgg_np.bench.memory import TASKS, bench_memory
from repvgg_np.bench.scaling import AXES, bench_scaling
from repvgg_np.bench.training import bench_training
from repvgg_np.commands.options import add_common, draw_figure
from repvgg_np.kernels import get_num_threads

TEXT = "time this package beside PyTorch, ONNX Runtime and OpenVINO, where they are installed"


def add_options(parser):
    """Add a sub-command for each kind of measurement."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="kind")

    def kind(name, measure, text, repeats=15, peers=True):
        sub = add_common(kinds.add_parser(name, help=text, description=text + "."))
        sub.set_defaults(run=run, measure=measure)
        if repeats is not None:
            sub.add_argument("--repeats", type=int, default=repeats, help="rounds (default: %(default)s)")
        if peers:
            text = "which peers, by name; none: only ours (default: all that are installed)"
            sub.add_argument("--peers", nargs="*", metavar="NAME", help=text)
        sub.add_argument("--seed", type=int, default=0, help="draws weights and pictures (default: %(default)s)")
        sub.add_argument("--figure", metavar="FILE", help="draw the result (PNG)")
        return sub

    def networks(sub, model, batch, default=None):
        shown = default or model
        sub.add_argument("--model", nargs="+", default=model and [model], help=f"their names (default: {shown})")
        sub.add_argument("--batch", type=int, nargs="+", default=[batch], help=f"pictures (default: {batch})")
        sub.add_argument("--size", type=int, help="height and width of the picture")

    networks(
        kind("inference", _inference, "a network before and after fusion, and the peers' fused one"), "RepVGG-A0", 1
    )
    training = kind("training", _training, "a training step of a three-branch network")
    networks(training, None, 128, "RepVGG-A0-CIFAR")
    for part, text in (("widths", "channels"), ("depths", "blocks"), ("strides", "first stride")):
        help_text = f"{text} of each stage, instead of --model"
        training.add_argument(f"--{part}", type=int, nargs="+", metavar="N", help=help_text)
    networks(kind("layers", _layers, "each different convolution of a network by itself"), "RepVGG-A0", 1)
    gemm = kind("gemm", _gemm, "the micro-kernel of every convolution, against the processor's peak", peers=False)
    depths = [64, 128, 192, 256, 384, 512]
    gemm.add_argument("--depths", type=int, nargs="+", default=depths, metavar="K", help="(default: 64 to 512)")
    memory = kind("memory", _memory, "the memory that inference and a training step need", repeats=None)
    networks(memory, "RepVGG-A0-CIFAR", 128)
    memory.add_argument("--task", nargs="+", choices=TASKS, default=TASKS, help="(default: both)")
    scaling = kind("scaling", _scaling, "how the time grows with batch, size, width and threads", repeats=7)
    scaling.add_argument("--model", default="RepVGG-A0", help="its name (default: %(default)s)")
    scaling.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES), help="along which (default: all)")
    for axis in ("batch", "size", "width"):
        shown = " ".join(map(str, AXES[axis]))
        scaling.add_argument(f"--{axis}", type=int, nargs="+", default=AXES[axis], help=f"(default: {shown})")


def run(options):
    """Measure what the options ask for, print it, and draw it."""
    machine = describe_machine()
    lines = [machine_line(machine)]  # first, but not before anything else went well

    def say(text):
        lines.append(text)
        while lines and not options.json:
            print(lines.pop(0), flush=True)

    runs, draw = options.measure(options, say)
    if options.json:
        print(json.dumps({"kind": options.kind, "machine": machine, "runs": runs}))
    if options.figure:
        draw_figure(options, draw, runs)
    return 0


def _inference(options, say):
    """Time every model with every batch."""
    return _each(options, say, bench_inference, table.run_text), figures.ratio_figure


def _training(options, say):
    """Time the training step of every model, or of the network of the given shape, with every batch."""
    shape = {name: getattr(options, name) for name in ("widths", "depths", "strides")}
    if any(part is not None for part in shape.values()):
        if options.model:
            raise ValueError("a network is given by --model or by --widths, --depths and --strides, not by both")
        options.model = [None]
    else:
        shape, options.model = None, options.model or ["RepVGG-A0-CIFAR"]

    def measure(name, batch, size, repeats, seed, peers):
        return bench_training(name, batch, size, repeats, seed, peers, shape)

    return _each(options, say, measure, table.run_text), figures.ratio_figure


def _layers(options, say):
    """Time the layers of every model with every batch."""

    def draw(path, runs, title):
        figures.roofline_figure(path, runs, memory_bandwidth(get_num_threads()), title)

    return _each(options, say, bench_layers, table.layers_text), draw


def _each(options, say, measure, text):
    """Measure every model with every batch; say each result as it comes."""
    runs = []
    for name in options.model:
        for batch in options.batch:
            runs.append(measure(name, batch, options.size, options.repeats, options.seed, options.peers))
            say(text(runs[-1]))
    return runs


def _gemm(options, say):
    """Time the micro-kernel."""
    result = bench_gemm(options.depths, options.repeats, options.seed)
    say(table.gemm_text(result))
    return [result], lambda path, runs, title: figures.gemm_figure(path, runs[0], title)


def _memory(options, say):
    """Measure the memory of every model with every batch."""
    runs = []
    for name in options.model:
        for batch in options.batch:
            runs.append(bench_memory(name, batch, options.size, options.seed, options.peers, options.task))
            say(table.memory_text(runs[-1]))
    return runs, figures.memory_figure


def _scaling(options, say):
    """Time along the axes that are asked for."""
    values = {axis: getattr(options, axis, None) for axis in options.axis}
    if "threads" in values:  # --threads is the most, as everywhere
        values["threads"] = range(1, get_num_threads() + 1)
    if get_num_threads() == 1 and len(values) > 1:
        values.pop("threads", None)  # a single point is no axis
    result = bench_scaling(options.model, values, options.repeats, options.seed, options.peers)
    say(table.scaling_text(result))
    return [result], lambda path, runs, title: figures.scaling_figure(path, runs[0], title)
