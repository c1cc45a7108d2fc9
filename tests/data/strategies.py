"""Hypothesis strategies of this room."""

import numpy as np
from hypothesis import strategies as st

from repvgg_np.data import Dataset

seeds = st.integers(0, 2**32 - 1)
splits = st.sampled_from(["train", "test"])


@st.composite
def images(draw, max_count=6, channels=3, max_side=12):
    """Draw uint8 arrays (N, channels, H, W) of random pixels."""
    shape = (
        draw(st.integers(1, max_count)),
        channels,
        draw(st.integers(1, max_side)),
        draw(st.integers(1, max_side)),
    )
    return np.random.default_rng(draw(seeds)).integers(0, 256, shape, dtype=np.uint8)


@st.composite
def numbered_datasets(draw, max_count=20):
    """Draw data sets of random pictures in which the label of a picture is its index."""
    count = draw(st.integers(1, max_count))
    pixels = np.random.default_rng(draw(seeds)).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return Dataset(pixels, np.arange(count), tuple(f"picture {index}" for index in range(count)), "numbered")


@st.composite
def channel_statistics(draw):
    """Draw a mean and a standard deviation for each of three channels."""
    mean = draw(st.tuples(*[st.floats(0, 1, width=32)] * 3))
    std = draw(st.tuples(*[st.floats(2**-10, 1, width=32)] * 3))
    return np.array(mean, dtype=np.float32), np.array(std, dtype=np.float32)
