"""How the kernels are compiled, and how their machine code is kept for the next start.

`@kernel` compiles a function that other kernels call; `@parallel_kernel` compiles a shell whose `prange` loops run on
all threads. Few and thin shells, plain bodies: a shell of a hundred lines takes ten times as long to compile.

A kernel is compiled once for each combination of types that it is called with, so its callers should agree on them. To
Numba, the number that `prange` counts is unsigned, and every constant has a type of its own, in a tuple too: hence
`np.intp(worker)` where large kernels are called. (Where a constant makes the inner loops quicker, it stays one.)

Numba keeps compiled code on disk, and takes it for fresh as long as the *file of the function itself* is unchanged. But
a kernel contains the code of the kernels that it calls, from other files. So the stamp that Numba compares is replaced
here by a digest of every file in this folder, and of the width of the vector registers.
"""

import functools
import hashlib
import uuid
from pathlib import Path

import numba
import numpy as np

from repvgg_np.kernels.simd import VECTOR_BYTES


@functools.cache
def kernels_digest():
    """Return a digest of all that a compiled kernel depends on: the source files of this folder and the lane count."""
    digest = hashlib.sha256(f"{VECTOR_BYTES} bytes in a register\n".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _keep(dispatcher):
    """Let Numba keep the machine code of `dispatcher`, for as long as no kernel file changes."""
    if numba.config.DISABLE_JIT:
        return dispatcher  # a plain Python function: nothing to keep
    dispatcher.enable_caching()
    file = dispatcher._cache._cache_file
    file._source_stamp = (file._source_stamp, kernels_digest())
    # Two processes that compile at once would number their files alike, and one would find the other's code under
    # its own name: names of our own make a collision impossible.
    own = uuid.uuid4().hex[:12]
    file._data_name_pattern = file._data_name_pattern.replace(".{number", f".{own}.{{number")
    return dispatcher


def is_kept(dispatcher, dtype):
    """Return whether machine code for arrays of that dtype was kept by an earlier start.

    Parameters
    ----------
    dispatcher : function
        A kernel, as `kernel` or `parallel_kernel` made it.
    dtype : dtype

    Returns
    -------
    bool
        True too where nothing needs to be compiled.
    """
    if numba.config.DISABLE_JIT:
        return True
    wanted = numba.from_dtype(np.dtype(dtype))
    index = dispatcher._cache._cache_file._load_index()  # by the types of the arguments, the processor and the bytecode
    return any(getattr(argument, "dtype", None) == wanted for arguments, *_ in index for argument in arguments)


def kernel(function):
    """Compile a function on arrays that kernels call: it runs on the thread of its caller.

    Its code is put in the place of each call. A call would hand over every array as seven numbers: of the innermost
    loops' fifty arguments, most would go through memory, and take as long as a hundred multiply-adds.
    """
    return _keep(numba.njit(error_model="numpy", forceinline=True)(function))


def parallel_kernel(function):
    """Compile a function whose `prange` loops share their iterations among the threads."""
    return _keep(numba.njit(parallel=True, error_model="numpy")(function))


def set_num_threads(threads):
    """Choose how many threads the kernels use. The results have the same bits for any number.

    Parameters
    ----------
    threads : int
        From 1 to the number of processors (or `NUMBA_NUM_THREADS`).

    Raises
    ------
    ValueError
        If there are not that many.
    """
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= threads <= most:
        raise ValueError(f"threads must be from 1 to {most} on this machine, got {threads}")
    numba.set_num_threads(threads)


def get_num_threads():
    """Return how many threads the kernels use."""
    return numba.get_num_threads()
