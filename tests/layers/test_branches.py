"""What branches, pooling and noise promise beyond their gradients: shapes, names, folding, refusals."""

import numpy as np
import pytest

from repvgg_np import reference
from repvgg_np.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    ChannelSlice,
    Concatenate,
    Conv2d,
    Dropout,
    Flatten,
    FoldedConv2d,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    SiLU,
    SqueezeExcite,
    StochasticDepth,
    reseed,
)
from repvgg_np.layers.average_pool import _AverageWindows
from repvgg_np.layers.noise import _RandomLayer


def conv(in_channels, out_channels, size, rng, **options):
    return Conv2d(in_channels, out_channels, size, padding=size // 2, rng=rng, dtype=np.float64, **options)


def norm(channels, rng):
    layer = BatchNorm2d(channels, dtype=np.float64)
    layer.gamma.data[...], layer.beta.data[...] = rng.normal(size=channels), rng.normal(size=channels)
    layer.running_mean[...], layer.running_var[...] = rng.normal(size=channels), rng.uniform(0.5, 2, channels)
    return layer


def graph(rng):
    """A little of everything that has a shape."""
    bottleneck = Sequential(conv1=conv(6, 4, 1, rng), bn1=norm(4, rng), relu=ReLU(), conv2=conv(4, 6, 3, rng))
    return Sequential(
        stem=Sequential(conv(3, 6, 3, rng, stride=2), norm(6, rng), ReLU()),
        pool=MaxPool2d(3, 2, 1),
        residual=Residual(bottleneck, relu=True),
        projected=Residual(
            Sequential(norm=norm(6, rng)), Sequential(proj=Sequential(conv(6, 6, 1, rng), norm(6, rng)))
        ),
        side_by_side=Concatenate(Sequential(), ChannelSlice(2, 5), wide=Sequential(conv(6, 3, 5, rng), norm(3, rng))),
        shuffle=ChannelShuffle(4),
        gate=SqueezeExcite(12, 2, rng=rng, dtype=np.float64),
        silu=SiLU(),
        average=AvgPool2d(3, 2, 1),
        noise=Sequential(Dropout(0.5), StochasticDepth(0.5)),
        adaptive=AdaptiveAvgPool2d(2),
        flat=Flatten(),
        linear=Linear(48, 5, rng=rng, dtype=np.float64),
    )


def test_a_traced_shape_is_the_shape_that_comes_out_layer_by_layer(rng):
    model = graph(rng).eval()
    x = rng.normal(size=(2, 3, 21, 18))
    shape, steps = model.trace(x.shape[1:])
    assert shape == model(x).shape[1:] == (5,)
    seen = {}

    def watch(layer):
        forward = layer.forward

        def watched(x, **options):
            out = forward(x, **options)
            seen[layer] = (x.shape[1:], out.shape[1:])
            return out

        layer.forward = watched

    for _, layer, _, _ in steps:
        watch(layer)
    model(x)
    compared = []
    for name, layer, *shapes in steps:
        # The step of a residual or a concatenation is the meeting of its branches, and what squeeze-and-excite
        # averages becomes a picture of one pixel. A ReLU behind a convolution is computed with it.
        meeting = isinstance(layer, (Residual, Concatenate, GlobalAvgPool))
        if not meeting and layer in seen:
            assert seen[layer] == tuple(shapes), name
            compared.append(name)
    assert {"stem.0", "residual.conv2", "side_by_side", "side_by_side.wide.0", "gate.fc2", "linear"} <= set(compared)


def test_global_pooling_and_a_bare_layer_trace_their_shape():
    assert GlobalAvgPool().trace((3, 5, 4))[0] == (3,)
    assert Layer().trace((3, 5, 4), "name")[0] == (3, 5, 4)


def test_names_of_parts_of_branches_are_those_of_the_whole(rng):
    names = [name.rsplit(".", 1)[0] for name in graph(rng).state_dict() if name.endswith("weight")]
    assert names == [
        "stem.0", "stem.1", "residual.conv1", "residual.bn1", "residual.conv2", "projected.norm", "projected.proj.0",
        "projected.proj.1", "side_by_side.wide.0", "side_by_side.wide.1", "gate.fc1", "gate.fc2", "linear",
    ]  # fmt: skip


def test_a_fused_graph_computes_the_same_with_a_bias_in_the_place_of_each_norm_behind_a_convolution(rng):
    model = graph(rng).eval()
    x = rng.normal(size=(2, 3, 21, 18))
    fused = model.fused()
    folded = [name for name, layer in fused.named_layers() if isinstance(layer, FoldedConv2d)]
    assert folded == ["stem.0", "residual.conv1", "projected.proj.0", "side_by_side.wide.0"]
    norms = [name for name, layer in fused.named_layers() if isinstance(layer, BatchNorm2d)]
    assert norms == ["projected.norm"]  # it stands behind no convolution
    assert not fused.training
    # Each layer's bound is verify.py's business; here, that nothing was lost: float64 is off by far less than this.
    np.testing.assert_allclose(fused(x), model(x), rtol=1e-10, atol=1e-12)
    again = fused.fused()
    assert again(x).tobytes() == fused(x).tobytes()


def test_a_convolution_with_a_bias_folds_too(rng):
    chain = Sequential(conv(2, 3, 3, rng), norm(3, rng)).eval()
    assert chain[0].bias is not None
    x = rng.normal(size=(2, 2, 4, 4))
    fused = chain.fused()
    assert list(fused.state_dict()) == ["0.weight", "0.bias"]
    np.testing.assert_allclose(fused(x), chain(x), rtol=1e-12, atol=1e-13)


def test_a_relu_behind_a_convolution_is_applied_once_in_either_mode(rng):
    chain = Sequential(conv(2, 3, 3, rng), ReLU(), conv(3, 2, 1, rng))
    x = rng.normal(size=(2, 2, 4, 4))
    trained = chain(x)
    np.testing.assert_array_equal(chain.eval()(x), trained)
    hidden = reference.relu(chain[0](x))
    np.testing.assert_array_equal(trained, chain[2](hidden))


@pytest.mark.parametrize("layer", [Dropout(0.3), StochasticDepth(0.3)])
def test_noise_keeps_the_mean_and_vanishes_in_inference(layer):
    x = np.ones((20_000, 1, 1, 1), np.float32)
    out = layer.train()(x)
    assert out.dtype == np.float32 and set(np.unique(out)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    # The share that is kept has a deviation of sqrt(0.3 * 0.7 / 20000) = 0.0032; seven of them
    assert abs((out > 0).mean() - 0.7) < 0.023
    assert layer.eval()(x) is x


def test_stochastic_depth_drops_whole_pictures():
    out = StochasticDepth(0.5)(np.ones((50, 2, 3, 3)))
    assert all(len(np.unique(picture)) == 1 for picture in out) and len(np.unique(out)) == 2


def test_the_same_seed_drops_the_same_bits_and_another_seed_others():
    model = Sequential(Dropout(0.5), Sequential(Dropout(0.5)))
    x = np.ones((4, 100), np.float32)
    outs = []
    for seed in ([1, 2], [1, 2], [1, 3]):
        reseed(model, seed)
        outs.append(model(x).tobytes())
    assert outs[0] == outs[1] != outs[2]
    reseed(model, [1])
    first, second = model[0](x), model[1](x)
    assert first.tobytes() != second.tobytes()  # each layer has a stream of its own


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxPool2d(0), "kernel_size must be an integer, or a pair of them, of at least 1, got 0"),
        (lambda: MaxPool2d(3, padding=2), r"padding must be at most half of the kernel size \(3, 3\), got \(2, 2\)"),
        (lambda: AvgPool2d(2, padding=(0, 2)), r"padding must be at most half of the kernel size \(2, 2\), got"),
        (lambda: Dropout(1), "probability must be from 0 to below 1, got 1"),
        (lambda: StochasticDepth(-0.1), "probability must be from 0 to below 1, got -0.1"),
        (lambda: Concatenate(), "branches must not be empty"),
        (lambda: ChannelShuffle(3)(np.ones((1, 4, 2, 2))), "x must have a multiple of 3 channels, got 4"),
        (lambda: ChannelSlice(1, 5)(np.ones((1, 4, 2, 2))), "x must have at least 5 channels, got 4"),
        (lambda: MaxPool2d(3)(np.ones((1, 4, 2, 2))), "x must be at least as large as the 3x3 window, got 2x2"),
        (lambda: AvgPool2d(3)(np.ones((1, 4, 2, 5))), "x must be at least as large as the 3x3 window, got 2x5"),
        (lambda: Residual(ChannelSlice(0, 1))(np.ones((1, 2, 1, 1))), "main and shortcut must have outputs of one"),
        (lambda: Concatenate(AvgPool2d(2), Sequential())(np.ones((1, 2, 2, 2))), "branches must have outputs of one"),
        (lambda: SiLU()(np.ones(3)), r"x must have the shape \(N, C, H, W\), got \(3,\)"),
        (lambda: SiLU()("x"), "x must be a NumPy array"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_only_half_a_layer_says_so():
    with pytest.raises(NotImplementedError):
        _AverageWindows()(np.ones((1, 1, 1, 1)))
    with pytest.raises(NotImplementedError):
        _RandomLayer(0.5)(np.ones((1, 1)))
