"""Hypothesis strategies for the training room."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from repvgg_np.training import COLUMNS
from repvgg_np.training.history import EVALUATION_COLUMNS

shapes = st.tuples(st.integers(1, 5), st.integers(1, 6))


def whole_logits(dtype, shape=shapes, limit=40):
    """Logits that are whole numbers, on which addition and subtraction are exact."""
    return hnp.arrays(dtype, shape, elements=st.integers(-limit, limit).map(float))


def logits(dtype, shape=shapes, limit=40):
    width = np.dtype(dtype).itemsize * 8
    return hnp.arrays(dtype, shape, elements=st.floats(-limit, limit, width=width))


@st.composite
def logits_and_labels(draw, dtype=np.float64):
    z = draw(logits(dtype))
    labels = draw(hnp.arrays(np.int64, len(z), elements=st.integers(0, z.shape[1] - 1)))
    return z, labels


smoothings = st.floats(0, 1, exclude_max=True)

# Whole numbers for parameters and gradients: with dyadic rates, a few steps of descent are exact in floating point.
whole_rows = hnp.arrays(np.float64, 3, elements=st.integers(-8, 8).map(float))


@st.composite
def rises_and_totals(draw):
    """Steps of warm-up, whole or not, and steps in all."""
    total = draw(st.integers(1, 400))
    return draw(st.floats(0, total, exclude_max=True, allow_subnormal=False)), total


peaks = st.floats(1e-6, 10)

history_values = st.floats(allow_nan=False) | st.just(float("inf"))
history_columns = {
    name: history_values | st.none() if name in EVALUATION_COLUMNS else history_values for name in COLUMNS[1:]
}
history_rows = st.lists(st.fixed_dictionaries(history_columns), max_size=4).map(
    lambda rows: [{"epoch": i, **row} for i, row in enumerate(rows, start=1)]
)
