"""The recipe in PyTorch, for whole trainings side by side, is our recipe."""

import dataclasses

import numpy as np
import pytest

from repvgg_np.training import train as our_train
from tests.peers.torch_twin import train as torch_train
from tests.training.small import SETTINGS, small_model, small_sets

pytestmark = pytest.mark.peers

EVERYTHING = dataclasses.replace(
    SETTINGS, first_size=24, bias_rate=4, branch_gammas=(1, 0.5, 0.25), logit_scale=0.25, weight_decay=0.01
)
# In float64, eight steps magnify a rounding of 1e-16 by some thousands; a rule that is another moves a loss by 1e-4.
TOLERANCE = 1e-9


def losses(rows):
    return np.array([[row["train_loss"], row["test_loss"]] for row in rows])


def ours(folder, settings):
    return losses(our_train(small_model(dtype=np.float64), *small_sets(), settings, folder, progress=False).history)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_both_trainings_have_the_same_losses_in_every_epoch(optimizer, tmp_path):
    settings = dataclasses.replace(EVERYTHING, optimizer=optimizer, decay="all")
    rows = torch_train(small_model(dtype=np.float64), *small_sets(), settings)
    found = ours(tmp_path / "same", settings)
    np.testing.assert_allclose(losses(rows), found, rtol=TOLERANCE)
    for i, change in enumerate(({"weight_decay": 0.011}, {"bias_rate": 4.4}, {"logit_scale": 0.26}, {"average": 0.1})):
        other = ours(tmp_path / str(i), dataclasses.replace(settings, **change))
        assert np.abs(other / found - 1).max() > 1e4 * TOLERANCE, change
