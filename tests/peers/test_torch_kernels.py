"""Convolution, batch norm and the loss are PyTorch's, output and gradients, within their rounding bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels import choose_algorithm, conv2d, conv2d_backward
from repvgg_np.layers import BatchNorm2d
from repvgg_np.rounding import convolution_bound, gamma
from repvgg_np.training.loss import cross_entropy
from tests import strategies
from tests.bounds import weight_gradient_bound
from tests.peers.tolerance import assert_same_results, sensitivities
from tests.peers.twin import as_array, load, torch

pytestmark = pytest.mark.peers


def torch_convolution(case):
    """Return PyTorch's output, and its gradients of input, kernel and bias."""
    x, weight, bias = (torch.from_numpy(a.copy()).requires_grad_() for a in (case.x, case.weight, case.bias))
    out = torch.nn.functional.conv2d(x, weight, bias, case.stride, case.padding, groups=case.groups)
    out.backward(torch.from_numpy(case.grad_out.copy()))
    return [as_array(tensor) for tensor in (out, x.grad, weight.grad, bias.grad)]


def turned_kernel(case):
    """The kernel of the transposed convolution: turned by 180 degrees, its channel axes exchanged in each group."""
    c_out, depth_in, k_h, k_w = case.weight.shape
    split = case.weight.reshape(case.groups, -1, depth_in, k_h, k_w)[..., ::-1, ::-1]
    return split.transpose(0, 2, 1, 3, 4).reshape(-1, c_out // case.groups, k_h, k_w)


def assert_pytorchs_convolution(case, dtype, algorithm):
    case = case.astype(dtype)
    theirs, magnitudes = torch_convolution(case), torch_convolution(case.absolute())
    out = conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm)
    ours = [out, *conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry, algorithm=algorithm)]
    c_out, _, k_h, k_w = case.weight.shape
    pixels = case.grad_out[:, 0].size
    # Each is a sum of products: how many, and two roundings more for a bias, and a product rounded before it is added.
    terms = [case.weight[0].size, c_out // case.groups * k_h * k_w, pixels, pixels]
    # The sums over absolute values were themselves rounded, in float64.
    bounds = [
        gamma(n + 2, dtype) * (1 + gamma(n + 2, np.float64)) * magnitude
        for n, magnitude in zip(terms, magnitudes, strict=True)
    ]
    of_ours = list(bounds)
    if algorithm == "auto" and choose_algorithm(case.x.shape, case.weight.shape, *case.geometry.values()) == "winograd":
        bias = np.abs(case.bias.astype(np.float64))[:, None, None]
        of_ours[0] = convolution_bound(case.x, case.weight, **case.geometry, algorithm="winograd", bias=bias)
        if case.stride == (1, 1):
            of_ours[2] = weight_gradient_bound(case.x, case.grad_out, case.padding, case.groups)
    border = (k_h - 1 - case.padding[0], k_w - 1 - case.padding[1])
    if algorithm == "auto" and case.stride == (1, 1) and min(border) >= 0:
        backward = (case.grad_out, turned_kernel(case))
        geometry = ((1, 1), border, case.groups)
        if choose_algorithm(*(array.shape for array in backward), *geometry) == "winograd":
            of_ours[1] = convolution_bound(*backward, *geometry, "winograd")
    for name, mine, other, bound, own in zip(
        ("out", "grad_x", "grad_weight", "grad_bias"), ours, theirs, bounds, of_ours, strict=True
    ):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype), name
        assert mine.dtype == dtype, name
        assert (np.abs(mine.astype(np.float64) - other) <= bound + own).all(), name


algorithms = st.sampled_from(["auto", "im2col"])


@given(strategies.convolutions(), strategies.dtypes, algorithms)
def test_any_convolution_and_its_gradients_are_pytorchs(case, dtype, algorithm):
    assert_pytorchs_convolution(case, dtype, algorithm)


@given(strategies.winograd_convolutions, strategies.dtypes, algorithms)
def test_a_3x3_convolution_and_its_gradients_are_pytorchs(case, dtype, algorithm):
    assert_pytorchs_convolution(case, dtype, algorithm)


@given(strategies.convolutions(depthwise=True), strategies.dtypes)
def test_a_depthwise_convolution_and_its_gradients_are_pytorchs(case, dtype):
    assert_pytorchs_convolution(case, dtype, "auto")


BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def torch_batch_norm(data, eps, momentum, mode):
    """Run PyTorch's layer forward and backward; "frozen" is its eval mode."""
    layer = torch.nn.BatchNorm2d(len(data["weight"]), eps, momentum).to(torch.from_numpy(data["x"]).dtype)
    load(layer, {name: data[name] for name in ("weight", "bias", *BUFFERS)}).train(mode == "training")
    x = torch.from_numpy(data["x"].copy()).requires_grad_()
    out = layer(x)
    out.backward(torch.from_numpy(data["grad_out"].copy()))
    gradients = {"grad_x": x.grad, "grad_gamma": layer.weight.grad, "grad_beta": layer.bias.grad}
    results = {"out": out, **gradients, **{name: getattr(layer, name) for name in BUFFERS}}
    return {name: as_array(tensor) for name, tensor in results.items()}


def our_batch_norm(data, eps, momentum, mode):
    layer = BatchNorm2d(len(data["weight"]), eps, momentum, dtype=data["x"].dtype)
    layer.load_state_dict({name: data[name] for name in ("weight", "bias", *BUFFERS)})
    layer.frozen = mode == "frozen"
    out = layer.train()(data["x"])
    grad_x = layer.backward(data["grad_out"])
    gradients = {"grad_x": grad_x, "grad_gamma": layer.gamma.grad, "grad_beta": layer.beta.grad}
    results = {"out": out, **gradients, **{name: layer.state_dict()[name] for name in BUFFERS}}
    if mode == "frozen":  # the same straight line for each channel, to the bit
        np.testing.assert_array_equal(layer.eval()(data["x"]), out)
    return results


def sizes_of_terms(data, eps, mode):
    """The largest numbers that are added up on the way, where they may cancel whatever the data.

    With two pixels, say, xhat is 1 and -1 for any data, and grad_x almost 0. What was rounded on the way remains.
    """
    axes = (0, 2, 3)
    x, grad = data["x"], np.abs(data["grad_out"])
    mean = x.mean(axis=axes, keepdims=True) if mode == "training" else data["running_mean"][:, None, None]
    var = x.var(axis=axes, keepdims=True) if mode == "training" else data["running_var"][:, None, None]
    std, weight = np.sqrt(var + eps), np.abs(data["weight"])[:, None, None]
    xhat = (np.abs(x) + np.abs(mean)) / std  # x and mean are subtracted, or their multiples
    product = (grad * np.abs(x - mean) / std).mean(axis=axes, keepdims=True)
    return {
        "out": (weight * xhat).max() + np.abs(data["bias"]).max(),
        "grad_x": (weight / std * (grad + grad.mean(axis=axes, keepdims=True) + xhat * product)).max(),
        "grad_gamma": (grad * xhat).sum(axis=axes).max(),
    }


@given(
    strategies.activations(least_pixels=2),
    strategies.dtypes,
    strategies.seeds,
    st.sampled_from([1e-5, 1e-3]),
    st.sampled_from([0.1, 0.3]),
    st.sampled_from(["training", "frozen"]),
)
def test_batch_norm_its_gradients_and_its_running_statistics_are_pytorchs(x, dtype, seed, eps, momentum, mode):
    rng = np.random.default_rng(seed)
    channels = x.shape[1]
    data = {
        "x": x,
        "grad_out": rng.normal(size=x.shape),
        "weight": rng.normal(size=channels),
        "bias": rng.normal(size=channels),
        "running_mean": rng.normal(size=channels),
        "running_var": rng.uniform(0.1, 3, channels),
        "num_batches_tracked": np.asarray(rng.integers(100)),
    }
    data = {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in data.items()}
    wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in data.items()}
    sensitivity = sensitivities(lambda moved: torch_batch_norm(moved, eps, momentum, mode), wide)
    for name, size in sizes_of_terms(wide, eps, mode).items():
        sensitivity[name] = max(sensitivity[name], size)
    ours, theirs = (run(data, eps, momentum, mode) for run in (our_batch_norm, torch_batch_norm))
    assert ours["out"].dtype == dtype
    # The longest sums run over the pixels of the batch; a dozen roundings more for scale and shift.
    assert_same_results(ours, theirs, sensitivity, x[:, 0].size + 12, dtype)


@given(
    st.integers(1, 9),
    st.integers(1, 40),
    strategies.dtypes,
    strategies.seeds,
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.1, 3, 50]),
    st.booleans(),
)
def test_the_loss_and_its_gradient_are_pytorchs(n, num_classes, dtype, seed, smoothing, size, mixed):
    rng = np.random.default_rng(seed)
    logits = (size * rng.normal(size=(n, num_classes))).astype(dtype)
    targets = rng.dirichlet(np.ones(num_classes), n).astype(dtype) if mixed else rng.integers(num_classes, size=n)
    theirs = torch.from_numpy(logits.copy()).requires_grad_()
    loss = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(targets), label_smoothing=smoothing)
    loss.backward()
    our_loss, our_grad = cross_entropy(logits, targets, smoothing)
    # log p = z - max - log(sum exp): rounded K + 8 times (exp and log are off by two units at most), relative to the
    # largest number on the way. The target distribution adds up to 1 within K + 4 roundings more.
    largest = float(np.ptp(logits, axis=1).max()) + np.log(num_classes) + 1
    log_error = 2 * gamma(num_classes + 8, dtype) * largest
    # The mean over the batch: N additions, in PyTorch in the dtype, and N K of products.
    mean_error = gamma(n + 2 * num_classes + 4, dtype) * largest
    assert isinstance(our_loss, float)
    assert abs(our_loss - loss.item()) <= log_error + 2 * mean_error
    assert (our_grad.shape, our_grad.dtype) == (logits.shape, dtype)
    grad_error = np.expm1(log_error) + 2 * gamma(num_classes + 8, dtype)
    np.testing.assert_allclose(our_grad, as_array(theirs.grad), rtol=0, atol=grad_error / n)
