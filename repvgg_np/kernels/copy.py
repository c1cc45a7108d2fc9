"""Copying short runs of numbers in whole registers: number by number they would cost more than the multiplications."""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, load, load_part, store, store_part, zeros


@kernel
def load_some(a, i, count):
    """Load a register of which `count` lanes exist; at the end of an array they may be fewer than it has."""
    return load(a, i) if count >= VECTOR_BYTES // a.itemsize else load_part(a, i, count)


@kernel
def store_some(a, i, v, count):
    """Store the `count` lanes that exist."""
    if count >= VECTOR_BYTES // a.itemsize:
        store(a, i, v)
    else:
        store_part(a, i, v, count)


@kernel
def copy_run(source, start, target, place, count):
    """Copy `source[start:start + count]` to `target[place:place + count]`."""
    lanes = VECTOR_BYTES // source.itemsize
    whole = count // lanes * lanes
    for i in range(0, whole, lanes):
        store(target, place + i, load(source, start + i))
    if whole < count:
        store_part(target, place + whole, load_part(source, start + whole, count - whole), count - whole)


@kernel
def add_run(source, start, target, place, count):
    """Add `source[start:start + count]` to `target[place:place + count]`."""
    lanes = VECTOR_BYTES // source.itemsize
    whole = count // lanes * lanes
    for i in range(0, whole, lanes):
        store(target, place + i, add(load(target, place + i), load(source, start + i)))
    if whole < count:
        left = count - whole
        total = add(load_part(target, place + whole, left), load_part(source, start + whole, left))
        store_part(target, place + whole, total, left)


@kernel
def clear_run(target, place, count):
    """Set `target[place:place + count]` to zero."""
    lanes = VECTOR_BYTES // target.itemsize
    zero = zeros(target)
    whole = count // lanes * lanes
    for i in range(0, whole, lanes):
        store(target, place + i, zero)
    if whole < count:
        store_part(target, place + whole, zero, count - whole)


@kernel
def copy_padded_rows(flat_x, n, size, top, rows, padding, picture):
    """Copy `rows` rows of picture n, from row `top` on, with zeros where they lie outside, to the front of `picture`.

    `size` is (H, W, C) of the pictures (N, H, W, C) whose memory `flat_x` is; `picture` is flat too and gets rows of
    W + 2 padding pixels.
    """
    height, width, channels = size
    row_length, border = (width + 2 * padding) * channels, padding * channels
    for i in range(rows):
        place = i * row_length
        if 0 <= top + i < height:
            clear_run(picture, place, border)
            copy_run(flat_x, (n * height + top + i) * width * channels, picture, place + border, width * channels)
            clear_run(picture, place + border + width * channels, border)
        else:
            clear_run(picture, place, row_length)
