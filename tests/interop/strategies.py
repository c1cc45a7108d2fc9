"""Hypothesis strategies of this room: named arrays and what goes with them."""

import math

import numpy as np
from hypothesis import strategies as st

from repvgg_np.interop.files import NUMERIC_DTYPES
from repvgg_np.interop.npz import METADATA_NAME

REAL_DTYPES = [dtype for dtype in NUMERIC_DTYPES if not dtype.startswith("c")]

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)

# Any text that UTF-8 can hold; zip members cannot have NUL in their names. One name is the file's own.
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).filter(lambda n: n != METADATA_NAME)


@st.composite
def arrays(draw, dtypes=NUMERIC_DTYPES):
    """An array of any bits (NaNs with payloads, subnormals, infinities), in any byte and memory order."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(shapes)
    size = math.prod(shape) * dtype.itemsize
    raw = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    array = (raw & 1 if dtype.kind == "b" else raw).view(dtype).reshape(shape)
    if draw(st.booleans()):
        array = array.astype(dtype.newbyteorder())
    return np.asfortranarray(array) if draw(st.booleans()) and array.ndim else array


def named_arrays(dtypes=NUMERIC_DTYPES):
    """A dict of arrays whose names may be any text."""
    return st.dictionaries(names, arrays(dtypes), max_size=5)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(max_size=10), json_values, max_size=4)


@st.composite
def official_state_names(draw):
    """Names of the parameters of some RepVGG, in the official scheme, training or inference form."""
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    branch = ["conv.weight", *(f"bn.{name}" for name in norm)]
    blocks = ["stage0"]
    for stage, depth in enumerate(draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)), start=1):
        blocks += [f"stage{stage}.{block}" for block in range(depth)]
    result = []
    for block in blocks:
        if draw(st.booleans()):
            result += [f"{block}.rbr_reparam.weight", f"{block}.rbr_reparam.bias"]
            continue
        result += [f"{block}.{name}.{leaf}" for name in ("rbr_dense", "rbr_1x1") for leaf in branch]
        if draw(st.booleans()):
            result += [f"{block}.rbr_identity.{leaf}" for leaf in norm]
    return [*result, "linear.weight", "linear.bias"]
