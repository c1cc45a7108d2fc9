"""What layers promise beyond their gradients: modes, state, and that nothing stale is ever computed with."""

import copy

import numpy as np
import pytest
from hypothesis import given

from repvgg_np import reference
from repvgg_np.layers import BatchNorm2d, Conv2d, Layer, Linear, ReLU, Sequential
from tests import strategies


@given(strategies.activations(least_pixels=2))
def test_training_and_inference_mode_of_batch_norm_differ_in_their_statistics_alone(x):
    layer = BatchNorm2d(x.shape[1], dtype=np.float64)
    out = layer(x)
    mean, var = reference.batch_statistics(x)
    one, zero = np.ones(x.shape[1]), np.zeros(x.shape[1])
    noise = 1e-12 * (np.abs(x).max() + 1) / np.sqrt(var.min() + layer.eps)
    np.testing.assert_allclose(out, reference.batch_norm(x, one, zero, mean, var, layer.eps), rtol=0, atol=noise)
    expected = reference.batch_norm(x, one, zero, layer.running_mean, layer.running_var, layer.eps)
    np.testing.assert_allclose(layer.eval()(x), expected, rtol=0, atol=noise)


def test_running_statistics_move_a_tenth_of_the_way_to_the_batch_and_the_variance_is_unbiased():
    x = np.array([[[[1.0, 3.0]]]])
    layer = BatchNorm2d(1, dtype=np.float64)
    layer(x)
    np.testing.assert_allclose(layer.running_mean, [0.9 * 0 + 0.1 * 2], rtol=1e-15)
    np.testing.assert_allclose(layer.running_var, [0.9 * 1 + 0.1 * 2], rtol=1e-15)  # biased 1, unbiased 2
    assert layer.num_batches_tracked == 1
    layer.eval()(x)
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize(("shape", "pixels"), [((1, 2, 1, 1), 1), ((0, 2, 3, 4), 0), ((5, 2, 0, 4), 0)])
def test_one_pixel_or_none_has_no_batch_statistics(shape, pixels):
    with pytest.raises(ValueError, match=f"x must have more than one pixel in each channel .* got {pixels}"):
        BatchNorm2d(2)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 2, 1), (1, 3, 1, 2)])
def test_two_pixels_have(shape):
    BatchNorm2d(3)(np.zeros(shape, np.float32))


def test_a_layer_refuses_another_dtype_or_channel_count():
    with pytest.raises(ValueError, match="x must be float32 like the other arrays, got float64"):
        BatchNorm2d(2)(np.zeros((2, 2, 2, 2)))
    with pytest.raises(ValueError, match="x must have 2 channels, got 3"):
        BatchNorm2d(2)(np.zeros((2, 3, 2, 2), np.float32))
    with pytest.raises(ValueError, match="groups must divide 4 and 6 channels, got 4"):
        Conv2d(4, 6, 3, groups=4, rng=None)


@pytest.mark.parametrize("make", [lambda rng: Conv2d(2, 3, 1, rng=rng), lambda rng: Linear(2, 3, rng=rng)])
def test_inference_never_computes_with_a_kernel_of_the_past(make, rng):
    # In inference mode the transformed kernel is remembered; every way of changing the numbers must be noticed.
    layer = make(rng).eval()
    x = np.ones((1, 2, 2, 2) if isinstance(layer, Conv2d) else (1, 2), np.float32)
    early_view = None
    for change in (
        "nothing",
        "through a view",
        "in place",
        "by assignment",
        "through a view from before",
        "by loading",
    ):
        weight = layer.weight
        if change == "through a view":
            early_view = weight.data.reshape(-1)
            early_view[0] += 1
        elif change == "in place":
            weight.data[...] *= 2
        elif change == "by assignment":
            weight.data = weight.data + 1
            early_view = weight.data.reshape(-1)
            layer(x)
        elif change == "through a view from before":
            early_view[-1] -= 3
        elif change == "by loading":
            state = layer.state_dict()
            state["weight"] = state["weight"] + 1
            layer.load_state_dict(state)
        fresh = copy.deepcopy(layer)
        np.testing.assert_array_equal(layer(x), fresh(x), err_msg=change)


def test_the_remembered_kernel_is_made_once_while_nobody_touches_it(rng):
    layer = Conv2d(2, 3, 1, rng=rng).eval()
    made = []

    def prepare(data):
        made.append(data.copy())
        return data

    for _ in range(3):
        layer.weight.prepared("key", prepare)
    assert len(made) == 1
    layer.weight.data[0] = 5
    for _ in range(3):
        layer.weight.prepared("key", prepare)
    assert len(made) == 2 and made[1].ravel()[0] == 5


def test_state_goes_round_and_is_a_copy(rng):
    chain = Sequential(Conv2d(2, 3, 3, rng=rng), BatchNorm2d(3), ReLU())
    state = chain.state_dict()
    assert list(state) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
    ]  # fmt: skip
    assert [name for name, _ in chain.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert chain.count_parameters() == 2 * 3 * 9 + 3 + 3 + 3
    for array in state.values():
        array += 1
    chain.load_state_dict(state)
    for name, array in chain.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    state["0.weight"][...] = 7
    assert not (chain.state_dict()["0.weight"] == 7).any()
    assert len(chain) == 3 and isinstance(chain[2], ReLU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("weight"), "state does not belong to this network: it lacks weight"),
        (lambda s: s.update(extra=np.ones(1)), "it has unknown extra"),
        (lambda s: s.update(bias=np.ones(4, np.float32)), r"state\['bias'\] must have the shape \(3,\), got \(4,\)"),
        (lambda s: s.update(bias=np.ones(3)), r"state\['bias'\] must be float32, got float64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message, rng):
    layer = Conv2d(2, 3, 1, rng=rng)
    before, state = layer.state_dict(), layer.state_dict()
    state["weight"] = state["weight"] + 1
    change(state)
    with pytest.raises(ValueError, match=message):
        layer.load_state_dict(state)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_old_files_without_batch_counters_load():
    layer = BatchNorm2d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    layer.load_state_dict(state)


@pytest.mark.parametrize("value", [np.zeros((3, 3), np.float32), np.zeros((2, 3, 1, 1)), [1.0]])
def test_a_parameter_refuses_data_of_another_shape_or_dtype(value, rng):
    parameter = Conv2d(3, 2, 1, rng=rng).weight
    with pytest.raises(ValueError, match=r"data must be an array of shape \(2, 3, 1, 1\) and dtype float32, got"):
        parameter.data = value


def test_a_bare_layer_has_no_passes():
    with pytest.raises(NotImplementedError):
        Layer().forward(None)
    with pytest.raises(NotImplementedError):
        Layer().backward(None)


def test_a_layer_without_branches_fuses_to_a_copy(rng):
    layer = Conv2d(2, 3, 1, rng=rng)
    twin = layer.fused()
    twin.weight.data[...] = 0
    assert layer.weight.data.any()
