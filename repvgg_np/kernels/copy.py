"""Copying short runs of numbers in whole registers.

A patch is made of many short pieces (three pixels of 48 channels, say). Copied number by number they cost more than the
multiplications that follow. Here a piece is copied register by register, the last one included: up to a register too
much is written behind the piece. The callers fill their buffers from the front to the back, so that the next piece
overwrites what was too much, and keep a register of room at the end.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, load, store, zeros


@kernel
def copy_run(source, start, target, place, count):
    """Copy `source[start:start + count]` to `target[place:]`; up to a register of garbage may follow it there."""
    lanes = VECTOR_BYTES // source.itemsize
    if start + (count + lanes - 1) // lanes * lanes <= source.size:
        for i in range(0, count, lanes):
            store(target, place + i, load(source, start + i))
    else:  # at the very end of the source, where a whole register would reach outside
        copy_exactly(source, start, target, place, count)


@kernel
def copy_exactly(source, start, target, place, count):
    """Copy `source[start:start + count]` to `target[place:place + count]`, and touch nothing else."""
    lanes = VECTOR_BYTES // source.itemsize
    if count < lanes:
        for i in range(count):
            target[place + i] = source[start + i]
    else:
        for i in range(0, count - lanes, lanes):
            store(target, place + i, load(source, start + i))
        last = count - lanes  # the last register overlaps the one before it where the lanes don't divide the count
        store(target, place + last, load(source, start + last))


@kernel
def clear_run(target, place, count):
    """Set `target[place:place + count]` to zero; up to a register of zeros may follow it there."""
    lanes = VECTOR_BYTES // target.itemsize
    for i in range(0, count, lanes):
        store(target, place + i, zeros(target))


@kernel
def copy_rows(source, start, stride, target, place, rows, count):
    """Copy `rows` runs of `count` numbers, `stride` apart in the source, to where they lie back to back in the target.

    Nothing behind the last of them is touched: each run's garbage is overwritten by the next ones, and the last runs,
    whose garbage would reach further, are copied exactly.
    """
    lanes = VECTOR_BYTES // source.itemsize
    garbage_stays_inside = rows - (count + lanes - 1) // lanes * lanes // count
    for row in range(rows):
        if row < garbage_stays_inside:
            copy_run(source, start + row * stride, target, place + row * count, count)
        else:
            copy_exactly(source, start + row * stride, target, place + row * count, count)
