import dataclasses

import numpy as np
import pytest

from repvgg_np.layers import Parameter
from repvgg_np.models.initialise import find_classifier, scale_classifier
from repvgg_np.training import SGD, Settings, cross_entropy, make_optimizer

from .small import small_model

SETTINGS = Settings(learning_rate=0.125, nesterov=True, weight_decay=2.0**-6, decay="all", label_smoothing=0.125)


@pytest.mark.parametrize("scale", [0.125, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_logit_scale_is_a_classifier_whose_logits_are_multiplied(scale, optimizer, rng):
    """With a power of two each product is exact: the same bits, weights and logits, after each of three steps."""
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    plain, scaled = small_model(), small_model()
    scale_classifier(scaled, scale)
    optimizers = [
        make_optimizer(plain, settings),
        make_optimizer(scaled, dataclasses.replace(settings, logit_scale=scale)),
    ]
    multiply = np.float32(scale)
    for _ in range(3):
        x, y = rng.standard_normal((6, 3, 32, 32)).astype(np.float32), rng.integers(0, 3, 6)
        logits = multiply * plain(x)
        assert logits.tobytes() == scaled(x).tobytes()
        _, grad_logits = cross_entropy(logits, y, 0.125)
        plain.backward(multiply * grad_logits)
        scaled.backward(grad_logits)
        for each in optimizers:
            each.step()
    states = [net.state_dict() for net in (plain, scaled)]
    for name, array in states[0].items():
        expected = multiply * array if name.startswith("linear.") else array
        assert expected.tobytes() == states[1][name].tobytes(), name


def test_the_betas_of_batch_norms_and_nothing_else_have_the_bias_rate():
    models = [small_model(dtype=np.float64) for _ in range(2)]
    for model, rate in zip(models, (1.0, 16.0), strict=True):
        for _, parameter in model.named_parameters():
            parameter.data[...], parameter.grad = 1, np.ones_like(parameter.data)
        settings = dataclasses.replace(SETTINGS, momentum=0, nesterov=False, bias_rate=rate)
        make_optimizer(model, settings).step()
    moved = [{name: 1 - parameter.data.ravel()[0] for name, parameter in model.named_parameters()} for model in models]
    betas = {name for name in moved[0] if name.endswith(".bias") and not name.startswith("linear")}
    for name, before in moved[0].items():
        # The gradient's part is multiplied, the decay's is not.
        assert moved[1][name] == (before + 15 * 0.125 if name in betas else before), name
    assert len(betas) == 5  # of three branches and of two


def test_rates_for_what_is_no_parameter_and_rates_that_are_none_are_refused():
    named = {"a": Parameter(np.ones(1))}
    for rates, message in (({"b": 2.0}, "got 2.0 for b"), ({"a": 0}, "got 0 for a"), ({"a": np.nan}, "got nan for a")):
        with pytest.raises(ValueError, match=f"rates must be numbers of more than 0 for parameters, {message}"):
            SGD(named.items(), 0.1, rates=rates)


def test_the_classifier_is_the_last_matrix_and_a_network_without_one_is_refused():
    model = small_model()
    assert find_classifier(model) == ("linear", model.linear)
    with pytest.raises(ValueError, match="logit_scale is for networks that end in a matrix, got a body"):
        body = model.stages[0]
        body.name = "a body"
        find_classifier(body)
