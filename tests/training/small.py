"""A network, data and settings so small that a whole run takes a fraction of a second."""

import numpy as np

from repvgg_np.data import Dataset
from repvgg_np.models import RepVGG, RepVGGConfig
from repvgg_np.training import TIMING_COLUMNS, Settings, load_checkpoint, read_history

CLASSES = ("red", "green", "blue")
# Two blocks on 8x8 pixels, the second with an identity branch.
CONFIG = RepVGGConfig((1, 1), (4, 4), (4, 1), {}, 32, len(CLASSES))

# Every source of randomness and every branch of the loop at once.
SETTINGS = Settings(
    epochs=2,
    batch_size=8,
    learning_rate=0.05,
    schedule="one_cycle",
    nesterov=True,
    label_smoothing=0.1,
    mixup=0.4,
    flip="alternating",
    rand_augment=1,
    cutout=6,
    whiten=True,
    average=0.9,
)
TRAIN_SIZE, STEPS = 36, 4  # 36 pictures are four batches of 8; the last four are left out
TOTAL_STEPS = STEPS * SETTINGS.epochs


def small_model(seed=0, config=CONFIG, dtype=np.float32):
    return RepVGG(config, rng=np.random.default_rng(seed), dtype=dtype)


def small_set(size, seed, name="colours", classes=CLASSES):
    """Noise, in which the channel of the picture's class is brighter than the others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), size)
    images = rng.integers(0, 150, (size, 3, 32, 32))
    images[np.arange(size), labels] += 60
    return Dataset(images.astype(np.uint8), labels, classes, name)


def small_sets():
    return small_set(TRAIN_SIZE, seed=1), small_set(20, seed=2)


def remains(folder):
    """All that a run leaves behind and that must not depend on how it came about: bits, and the history untimed."""
    checkpoint = load_checkpoint(folder / "checkpoint.npz")
    position = checkpoint.position
    bits = {f"average {name}": array.tobytes() for name, array in checkpoint.average.items()}
    bits |= {f"model {name}": array.tobytes() for name, array in checkpoint.state.items()}
    bits |= {f"momentum {name}": array.tobytes() for name, array in checkpoint.momentum.items()}
    sums = (position.epoch, position.step, position.images, position.loss_sum.hex(), position.correct.hex())
    return bits, sums, untimed(checkpoint.history), untimed(read_history(folder / "history.csv"))


def untimed(rows):
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


def count_steps(model, at_step):
    """Call `at_step(k)` in the middle of the k-th training step, counted from 0: after forward, before backward."""
    forward, done = model.forward, iter(range(10**9))

    def counting(x):
        logits = forward(x)
        if model.training:
            at_step(next(done))
        return logits

    model.forward = counting
    return model
