"""A network that drops at random drops the same after a resume as without, and something else at every step."""

import dataclasses
import signal

import numpy as np
import pytest

from repvgg_np.layers import Dropout
from repvgg_np.models import Baseline
from repvgg_np.training import TrainingInterrupted, train
from tests.models.small_networks import SMALL_NETWORKS

from .small import SETTINGS, count_steps, remains, small_sets

pytestmark = pytest.mark.slow_without_jit


def make_model():
    noise = {"dropout": 0.3, "stochastic_depth": 0.4}
    config = dataclasses.replace(SMALL_NETWORKS["EfficientNet"], **noise)
    return Baseline(config, rng=np.random.default_rng(0))


def run(folder, model, **options):
    settings = dataclasses.replace(SETTINGS, whiten=False)  # which is for RepVGG
    return train(model, *small_sets(), settings, folder, progress=False, checkpoint_seconds=1e9, **options)


def test_dropout_does_not_notice_an_interruption(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    masks = []

    def watch(model, press=None):
        dropout = next(layer for _, layer in model.named_layers() if isinstance(layer, Dropout))

        def at_step(step):
            masks.append(dropout._mask.tobytes())
            if step == press:
                signal.raise_signal(signal.SIGINT)

        return count_steps(model, at_step)

    try:
        run(tmp_path / "whole", watch(make_model()))
        whole = masks.copy()
        masks.clear()
        with pytest.raises(TrainingInterrupted):
            run(tmp_path / "parts", watch(make_model(), press=2))
        run(tmp_path / "parts", watch(make_model()), resume=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert masks == whole and len(set(whole)) == len(whole) == 8
    assert remains(tmp_path / "parts") == remains(tmp_path / "whole")
