import numpy as np
import pytest

from repvgg_np.data import Dataset, hold_out

from .refusal import refused

DATASET = Dataset(
    np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32)).astype(np.uint8),
    np.array([0, 1, 0, 1, 1, 0, 1]),
    ("cat", "dog"),
    "pets",
)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_every_picture_is_either_trained_on_or_held_out_and_the_last_ones_are(count):
    rest, held_out = hold_out(DATASET, count)
    assert (len(rest), len(held_out)) == (7 - count, count)
    for what in ("images", "labels"):
        both = np.concatenate([getattr(part, what) for part in (rest, held_out)])
        assert np.array_equal(both, getattr(DATASET, what))
    assert rest.classes == held_out.classes == DATASET.classes
    assert rest.name == "pets" and held_out.name == "pets (held out of the training set)"
    assert np.shares_memory(held_out.images, DATASET.images)


def test_what_leaves_no_picture_to_train_on_or_none_to_evaluate_with_is_refused():
    with refused("holdout must be less than the 7 training pictures", "got 7"):
        hold_out(DATASET, 7)
    with refused("holdout must be at least 1", "got 0"):
        hold_out(DATASET, 0)
    with refused("holdout must be an integer", "got 1.5"):
        hold_out(DATASET, 1.5)
