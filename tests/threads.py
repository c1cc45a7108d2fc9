"""The numbers of threads that the kernels are tried with."""

import numba

from repvgg_np.kernels import set_num_threads


def each_thread_count():
    """Go through them: one thread, then all that there are. Afterwards it is one again."""
    try:
        for count in (1, numba.config.NUMBA_NUM_THREADS):
            set_num_threads(count)
            yield count
    finally:
        set_num_threads(1)
