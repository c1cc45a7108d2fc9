"""A run in a process of its own, to be killed. Usage: child.py FOLDER CHECKPOINT_SECONDS PAUSE

Prints a line at each training step, and exits with 130 if it was interrupted and has saved.
"""

import signal
import sys
import time
from pathlib import Path

from small import SETTINGS, count_steps, small_model, small_sets

from repvgg_np.kernels import set_num_threads
from repvgg_np.training import TrainingInterrupted, train


def main(folder, checkpoint_seconds, pause):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    set_num_threads(1)  # see tests/conftest.py

    def at_step(k):
        print("step", k, flush=True)
        time.sleep(float(pause))

    model = count_steps(small_model(), at_step)
    try:
        train(
            model,
            *small_sets(),
            SETTINGS,
            Path(folder),
            resume=True,
            progress=False,
            checkpoint_seconds=float(checkpoint_seconds),
        )
    except TrainingInterrupted as interruption:
        print(interruption, flush=True)
        sys.exit(130)


main(*sys.argv[1:])
