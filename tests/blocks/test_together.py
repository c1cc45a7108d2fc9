"""A training block computed together is the block computed layer by layer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.blocks import RepVGGBlock
from repvgg_np.kernels import branches, convolution
from repvgg_np.layers import Sequential
from repvgg_np.layers import convolution as layer
from repvgg_np.rounding import gamma
from tests import strategies
from tests.blocks.test_repvgg_block import randomise
from tests.gradients import assert_gradients
from tests.threads import each_thread_count


def both_ways(shape, dtype, rng):
    """Return two blocks with the same numbers: one is computed together, one layer by layer."""
    together = randomise(RepVGGBlock(*shape, rng=rng, dtype=dtype), rng)
    layered = RepVGGBlock(*shape, rng=None, dtype=dtype)
    layered.load_state_dict(together.state_dict())
    layered.layered = True
    return together, layered


def norms_of(block):
    return [block.dense.bn, block.pointwise.bn, *([block.identity] if block.identity is not None else [])]


def bounds(block, x, grad_out, ways):
    """Bound how far each result of a block may lie from the exact one, to first order, with a wide margin.

    Each number goes through fewer than n = M + K + 300 roundings: sums over the M pixels, or over the K numbers of a
    kernel, and for each of the steps before and after them a few, for which 300 leaves room. They are relative to the
    sum over absolute values on the way, to which the sizes below add what cancels in batch norm: |y| + |mean| instead
    of |y - mean|.
    """
    stride, groups = (block.stride,) * 2, block.groups
    parts, statistics, out_size = [], [], 0
    for kernel, norm in block.convolutions():
        padding = (kernel.shape[2] // 2,) * 2
        y = reference.conv2d(x, kernel, None, stride, padding, groups)
        size = reference.conv2d(np.abs(x), np.abs(kernel), None, stride, padding, groups)
        std = np.sqrt(y.var(axis=(0, 2, 3)) + norm.eps)[:, None, None]
        scale = np.abs(norm.gamma.peek())[:, None, None] / std
        size = size + size.mean(axis=(0, 2, 3), keepdims=True)
        statistics.append(size)
        # What the deviation is off by, relative to itself: that of a sum of squares whose terms have cancelled.
        spread = 1 + (size**2).mean(axis=(0, 2, 3), keepdims=True) / std**2
        out_size = out_size + (scale * size + np.abs(norm.beta.peek())[:, None, None]) * spread
        parts.append((kernel, padding, scale, size / std, spread))
    g = np.abs(grad_out)
    n = x[:, 0].size + 9 * x.shape[1] + 300
    u = ways * gamma(n, x.dtype)
    grad_x, weights, gammas = 0, [], []
    for kernel, padding, scale, yhat, spread in parts:
        grad_gamma = (g * yhat).sum(axis=(0, 2, 3), keepdims=True) * spread
        pixels = g[:, 0].size
        grads = scale * spread * (g + g.mean(axis=(0, 2, 3), keepdims=True) + yhat * grad_gamma / pixels) * spread
        to_x, weight, _ = reference.conv2d_backward(grads, np.abs(x), np.abs(kernel), stride, padding, groups)
        grad_x = grad_x + to_x
        weights.append(u * weight)
        gammas.append(u * grad_gamma.ravel())
    # Blended into the running statistics with a weight of 1/10; the variance times M / (M - 1), at most 2.
    statistics = [(u * size.mean(axis=(0, 2, 3)), u * (size**2).mean(axis=(0, 2, 3))) for size in statistics]
    return u * out_size, u * grad_x, weights[:2], gammas, u * g.sum(axis=(0, 2, 3)), statistics


def direct(monkeypatch):
    """Leave Winograd out: its rounding is bounded elsewhere, and would hide what is compared here."""
    for module in (convolution, layer):
        monkeypatch.setattr(module, "choose_algorithm", lambda *arguments: "im2col")


shapes = st.sampled_from(
    [
        (1, 1, 1, 1),
        (5, 5, 1, 1),
        (5, 5, 2, 1),
        (12, 12, 1, 2),
        (3, 16, 2, 1),
        (17, 17, 1, 1),
        (4, 6, 1, 2),
        (2, 48, 1, 1),
    ]
)


@given(shapes, st.integers(1, 3), st.integers(2, 9), st.integers(1, 9), st.sampled_from([0, 3]), strategies.seeds)
def test_outputs_gradients_and_running_statistics_are_those_of_the_layers(shape, n, height, width, mean, seed):
    rng = np.random.default_rng(seed)
    n = n + 1 if shape[2] == 2 and height == 2 and width < 3 else n  # two pixels at least
    together, layered = both_ways(shape, np.float64, rng)
    x = rng.normal(mean, 1, (n, shape[0], height, width))
    with pytest.MonkeyPatch.context() as patch:
        direct(patch)
        out, expected = together(x), layered(x)
        grad_out = rng.normal(size=out.shape)
        # Where the sum is almost zero, rounding decides whether the gradient passes: both get the same decision.
        layered.relu._out = out.transpose(0, 2, 3, 1)
        grad_x, expected_x = together.backward(grad_out), layered.backward(grad_out)
    of_out, of_x, of_weights, of_gammas, of_beta, of_statistics = bounds(together, x, grad_out, 2)
    assert (np.abs(out - expected) <= of_out).all()
    assert (np.abs(grad_x - expected_x) <= of_x).all()
    for ours, theirs, bound in zip((together.dense, together.pointwise), (layered.dense, layered.pointwise), of_weights,
                                   strict=True):  # fmt: skip
        assert (np.abs(ours.conv.weight.grad - theirs.conv.weight.grad) <= bound).all()
    for ours, theirs, bound, (of_mean, of_var) in zip(
        norms_of(together), norms_of(layered), of_gammas, of_statistics, strict=True
    ):
        assert (np.abs(ours.gamma.grad - theirs.gamma.grad) <= bound).all()
        assert (np.abs(ours.beta.grad - theirs.beta.grad) <= of_beta).all()
        assert (np.abs(ours.running_mean - theirs.running_mean) <= of_mean).all()
        assert (np.abs(ours.running_var - theirs.running_var) <= of_var).all()
        assert ours.num_batches_tracked == theirs.num_batches_tracked == 1


@pytest.mark.parametrize("shape", [(5, 5, 1, 1), (16, 16, 1, 1), (4, 8, 2, 2)])
def test_in_float32_outputs_and_gradients_are_float32_and_within_the_bound(shape, rng, monkeypatch):
    direct(monkeypatch)
    together, layered = both_ways(shape, np.float32, rng)
    x = rng.normal(size=(3, shape[0], 9, 10)).astype(np.float32)
    out, expected = together(x), layered(x)
    grad_out = rng.normal(size=out.shape).astype(np.float32)
    layered.relu._out = out.transpose(0, 2, 3, 1)
    grad_x, expected_x = together.backward(grad_out), layered.backward(grad_out)
    of_out, of_x, of_weights, of_gammas, of_beta, _ = bounds(together, x, grad_out, 2)
    assert out.dtype == grad_x.dtype == np.float32
    assert (np.abs(out - expected) <= of_out).all() and (np.abs(grad_x - expected_x) <= of_x).all()
    theirs = dict(layered.named_parameters())
    for name, parameter in together.named_parameters():
        assert parameter.grad.dtype == np.float32 and parameter.grad.shape == parameter.data.shape
        branch = ["rbr_dense", "rbr_1x1", "rbr_identity"].index(name.split(".")[0])
        if name.endswith("conv.weight"):
            bound = of_weights[branch]
        else:
            bound = of_gammas[branch] if name.endswith("weight") else of_beta
        assert (np.abs(parameter.grad - theirs[name].grad) <= bound).all(), name


@pytest.mark.parametrize("shape", [(2, 2, 1, 1), (3, 3, 1, 3), (2, 3, 2, 1), (1, 1, 1, 1)])
def test_the_gradients_are_the_central_differences(shape, rng):
    block = randomise(RepVGGBlock(*shape, rng=rng, dtype=np.float64), rng)
    assert_gradients(block, rng.normal(size=(2, shape[0], 4, 3)), rng)
    assert block._together is not None


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("how", ["frozen", "in inference mode"])
def test_a_block_with_a_norm_that_takes_no_statistics_is_computed_layer_by_layer(index, how, rng):
    together, layered = both_ways((3, 3, 1, 1), np.float64, rng)
    x = rng.normal(size=(2, 3, 4, 4))
    for block in (together, layered):
        norm = norms_of(block)[index]
        if how == "frozen":
            norm.frozen = True
        else:
            norm.eval()
    np.testing.assert_array_equal(together(x), layered(x))
    assert together._together is None
    for name, array in together.state_dict().items():
        np.testing.assert_array_equal(array, layered.state_dict()[name])
    if how == "frozen":
        np.testing.assert_array_equal(together.backward(x), layered.backward(x))
        assert together.backward(x, input_gradient=False) is None
    else:
        with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
            together.backward(x)


@pytest.mark.parametrize("drop", ["eval", "forget"])
@pytest.mark.parametrize("before", [[True], [False], [True, False], [False, True]])
def test_backward_after_what_was_kept_was_dropped_is_refused(drop, before, rng):
    block = RepVGGBlock(2, 2, rng=rng)
    x = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
        block.backward(x)
    for block.layered in before:
        block(x)
    getattr(block, drop)()
    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
        block.backward(x)


def test_in_inference_mode_nothing_is_held(rng):
    block = RepVGGBlock(2, 2, rng=rng)
    x = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    block(x)
    block.eval()(x)
    parts = [part for _, part in block.named_layers()]
    kept = [getattr(part, name, None) for part in parts for name in ("_together", "_x", "_kept", "_out")]
    assert kept == [None] * len(kept)


def test_a_second_backward_pass_gives_the_same_bits(rng):
    block = RepVGGBlock(3, 3, rng=rng)
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    out = block(x)
    kept_x, kept_out = x.copy(), out.copy()
    results = []
    for _ in range(2):
        results.append([block.backward(x).tobytes(), *[p.grad.tobytes() for _, p in block.named_parameters()]])
    assert results[0] == results[1]
    np.testing.assert_array_equal(x, kept_x)
    np.testing.assert_array_equal(out, kept_out)


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_without_the_gradient_of_the_input_all_others_are_the_same(layered, stride, rng):
    block = RepVGGBlock(3, 3, stride, rng=rng)
    block.layered = layered
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    grad_out = np.ones_like(block(x))
    block.backward(grad_out)
    gradients = [p.grad.tobytes() for _, p in block.named_parameters()]
    assert block.backward(grad_out, input_gradient=False) is None
    assert [p.grad.tobytes() for _, p in block.named_parameters()] == gradients


def test_a_chain_and_a_fused_block_can_leave_out_the_gradient_of_the_input_too(rng):
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    chain = Sequential(RepVGGBlock(3, 3, rng=rng), RepVGGBlock(3, 3, rng=rng))
    for layers in (chain, chain.fused(), Sequential(chain)):
        layers.train()
        grad_out = np.ones_like(layers(x))
        assert layers.backward(grad_out).shape == x.shape
        gradients = [p.grad.tobytes() for _, p in layers.named_parameters()]
        assert layers.backward(grad_out, input_gradient=False) is None
        assert [p.grad.tobytes() for _, p in layers.named_parameters()] == gradients


@pytest.mark.parametrize("layered", [False, True])
def test_what_does_not_fit_is_refused_in_the_same_words(layered, rng):
    block = RepVGGBlock(2, 3, 2, rng=rng)
    block.layered = layered
    x = np.ones((1, 2, 2, 2), np.float32)
    before = block.state_dict()
    for wrong, message in (
        (x, "x must have more than one pixel in each channel for batch statistics, got 1"),
        (x.astype(float), "weight must be float64 like the other arrays, got float32"),
        (x[:, :1], "x must have 2 channels for this weight and groups=1, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            block(wrong)
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_gradient_of_another_shape_or_dtype_is_refused(rng):
    block = RepVGGBlock(2, 3, 2, rng=rng)
    block(np.ones((1, 2, 4, 4), np.float32))
    for wrong in ((1, 3, 2, 1), (2, 3, 2, 2), (1, 2, 2, 2)):
        with pytest.raises(ValueError, match=r"grad_out must have the output's shape \(1, 3, 2, 2\), got \("):
            block.backward(np.ones(wrong, np.float32))
    with pytest.raises(ValueError, match="grad_out must be float32 like the other arrays, got float64"):
        block.backward(np.ones((1, 3, 2, 2)))
    with pytest.raises(ValueError, match=r"grad_out must have the shape \(N, C_out, H_out, W_out\), got \(3, 2, 2\)"):
        block.backward(np.ones((3, 2, 2), np.float32))


def test_every_norm_is_asked_whether_it_can_take_its_branch(rng, monkeypatch):
    block = RepVGGBlock(2, 2, rng=rng)
    asked = []
    for norm in norms_of(block):
        monkeypatch.setattr(norm, "check", lambda y, norm=norm: asked.append(norm))
    block(np.ones((1, 2, 2, 2), np.float32))
    assert asked == norms_of(block)


def test_a_nan_in_a_picture_comes_through(rng):
    block = RepVGGBlock(3, 3, rng=rng)
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(block(x)).all()
    block.backward(np.ones_like(x))
    assert np.isnan(block.dense.conv.weight.grad).all()


def test_any_memory_order_of_input_and_gradient_gives_the_same(rng):
    results = []
    x, grad_out = rng.normal(size=(2, 2, 3, 5, 4)).astype(np.float32)
    block = RepVGGBlock(3, 3, rng=rng)
    for order in ("C", "F"):
        block(np.asarray(x, order=order))
        results.append(block.backward(np.asarray(grad_out, order=order)).tobytes())
    assert results[0] == results[1]


@pytest.mark.slow_without_jit
def test_the_number_of_threads_does_not_change_a_bit(rng):
    block = RepVGGBlock(12, 12, rng=rng)
    state = block.state_dict()
    x = rng.normal(size=(5, 12, 20, 21)).astype(np.float32)
    results = []
    for _ in each_thread_count():
        block.load_state_dict(state)
        out = block(x)
        gradients = [block.backward(x), *[p.grad for _, p in block.named_parameters()]]
        results.append([a.tobytes() for a in (out, *gradients, *block.state_dict().values())])
    assert results[0] == results[1]


@pytest.mark.parametrize("channels", [1, 5, 12, 16, 17, 48])
def test_a_chunk_of_a_single_pixel_counts_as_much_as_it_is_long(channels, rng, monkeypatch):
    direct(monkeypatch)
    pixels = branches.layout(channels, 8)[1] // channels
    together, layered = both_ways((channels, channels, 1, channels), np.float64, rng)
    x = rng.normal(size=(1, channels, 1, 2 * pixels + 1))
    x[..., -1] += 100  # so that it shows
    of_out, *_ = bounds(together, x, x, 2)
    assert (np.abs(together(x) - layered(x)) <= of_out).all()
