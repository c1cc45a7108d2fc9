"""Layers: each different convolution of a network by itself, and how near to the processor's peak it comes."""

from repvgg_np.bench.agreement import convolution_tolerance
from repvgg_np.bench.contest import OURS, Contestant, check_positive, run_contest
from repvgg_np.bench.inference import agreeing
from repvgg_np.bench.peers import build, check_peers
from repvgg_np.bench.plain import PlainConvolution, PlainNetwork, make_model, make_pair, random_pictures
from repvgg_np.kernels import choose_algorithm, warm_up
from repvgg_np.models import RepVGG


def distinct_layers(fused, size):
    """List the different convolutions of a network.

    Parameters
    ----------
    fused : RepVGG
        In inference form.
    size : int
        Height and width of the picture.

    Returns
    -------
    list of (FusedRepVGGBlock, int, int)
        The first block of each kind, the size of its input, and how many blocks are of that kind.
    """
    kinds = {}
    for _, block in fused.blocks():
        kind = (block.in_channels, block.out_channels, block.stride, block.groups, size)
        first, _, count = kinds.get(kind, (block, size, 0))
        kinds[kind] = (first, size, count + 1)
        size = (size - 1) // block.stride + 1
    return list(kinds.values())


def bench_layers(name, batch, size=None, repeats=15, seed=0, peers=None):
    """Time each different convolution layer of a network (with its bias and ReLU), ours and every peer's.

    Parameters
    ----------
    name : str
        A model's name.
    batch : int
        Pictures in a batch.
    size : int, optional
        Height and width of the picture that the whole network gets.
    repeats : int
        Rounds of each layer's interleaved run.
    seed : int
        Draws weights and pictures.
    peers : sequence of str, optional
        Which peers; without it all that are installed.

    Returns
    -------
    dict
        "model", "batch", "size" and "layers": for each what `run_contest` returns, with "layer" (channels, stride,
        groups), "layer_size", "count" (how many the network has), "algorithm" (of ours), "flops" (of the direct
        algorithm, a multiply-add counted as two), "bytes" (input, kernel and output, read or written once),
        "left_out". "gflops" is effective: those FLOPs divided by the time, though Winograd's algorithm needs fewer.

    Raises
    ------
    ValueError
        If an argument is out of range, the network is no RepVGG, or the outputs of ours are wrong.
    """
    check_positive(batch=batch, repeats=repeats)
    names = check_peers(peers)
    model = make_model(name, seed=seed)
    if not isinstance(model, RepVGG):
        raise ValueError(f"model must be a RepVGG to be timed layer by layer, got {model.name}")
    _, fused = make_pair(model)
    size = fused.config.input_size if size is None else size
    check_positive(size=size)
    warm_up(training=False)
    layers = []
    for block, layer_size, count in distinct_layers(fused, size):
        facts = describe_layer(block, layer_size, batch)
        result = _contest(block, layer_size, batch, repeats, seed, names, facts)
        layers.append(facts | {"count": count} | result)
    _share_the_peak(layers)
    return {"model": fused.name, "batch": batch, "size": size, "layers": layers}


def _share_the_peak(layers):
    """Let all layers be compared with the highest of the peaks that were measured among them: it is a limit."""
    peak = max(layer["peak_gflops"] for layer in layers)
    for layer in layers:
        layer["peak_gflops"] = peak
        for row in layer["contestants"].values():
            row["percent_of_peak"] = 100 * row["gflops"] / peak


def describe_layer(block, size, batch):
    """Say what a layer is and what it costs.

    Parameters
    ----------
    block : FusedRepVGGBlock
    size, batch : int

    Returns
    -------
    dict
    """
    weight = block.reparam.weight.peek()
    out_size = (size - 1) // block.stride + 1
    outputs = batch * out_size * out_size * block.out_channels
    groups = f", groups {block.groups}" if block.groups > 1 else ""
    return {
        "layer": f"{block.in_channels}->{block.out_channels}, stride {block.stride}{groups}",
        "layer_size": size,
        "algorithm": choose_algorithm(
            (batch, block.in_channels, size, size), weight.shape, (block.stride, block.stride), (1, 1), block.groups
        ),
        "flops": 2 * outputs * weight[0].size,
        "bytes": 4 * (batch * size * size * block.in_channels + weight.size + outputs),
    }


def _contest(block, size, batch, repeats, seed, names, facts):
    """Time one layer."""
    x = random_pictures(batch, block.in_channels, size, seed)
    weight, bias = block.reparam.weight.peek(), block.reparam.bias.peek()
    network, left_out = PlainNetwork([PlainConvolution(weight, bias, block.stride, block.groups)], None), {}
    tolerance = convolution_tolerance(x, weight, bias, block.stride, block.groups)
    contestants = [Contestant(OURS, lambda: block(x), facts["algorithm"], ours=True)]
    built = build(names, lambda peer, threads: peer.inference(network, x, threads), left_out)
    contestants += [Contestant(name, run, note) for name, (note, run) in built.items()]
    contestants = agreeing(contestants, block(x), tolerance, left_out)
    title = f"{facts['layer']} at {size}x{size}"
    return {"left_out": left_out} | run_contest(contestants, repeats, facts["flops"], title)
