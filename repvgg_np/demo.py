"""The main job on the built-in pictures: train, evaluate, fuse, verify, time, and draw what happened."""

from pathlib import Path

import numpy as np

from repvgg_np import plots
from repvgg_np.bench import time_side_by_side
from repvgg_np.data import load_dataset, normalise
from repvgg_np.fuse import fuse
from repvgg_np.kernels import warm_up
from repvgg_np.models import create_model, save
from repvgg_np.ties import explain_changes
from repvgg_np.training import CHECKPOINT_FILE, Settings, evaluate, train
from repvgg_np.verify import verify_fusion

MODEL = "RepVGG-tiny"
TIMED_PICTURES = 64


def demo(folder, epochs=5, seed=0, say=print, progress=True):
    """Run the main job.

    Parameters
    ----------
    folder : str or os.PathLike
        Where the models, the history and the figure go.
    epochs : int
        How long to train.
    seed : int
    say : callable
        Is given each line that a person should read.
    progress : bool
        Whether to show bars on stderr.

    Returns
    -------
    dict
        "ok" (are the two forms equal within rounding?), "accuracy", "fused_accuracy",
        "images_per_second", "milliseconds" for one picture before and after, "speedup", "max_error", "bound", "files".

    Raises
    ------
    ValueError
        If an argument is out of range, or the folder cannot be written to.
    """
    folder = Path(folder)
    settings = Settings(epochs=epochs, seed=seed, batch_size=64, learning_rate=0.1, warmup_epochs=epochs / 5)
    say("1. Ten classes of shapes and textures, drawn by code: 10,000 pictures to learn from, 2,000 to be tested on.")
    train_set, test_set = load_dataset("synthetic", "train"), load_dataset("synthetic", "test")
    model = create_model(MODEL, len(train_set.classes), seed)
    say(f"2. {MODEL}: {model.count_parameters():,} parameters in blocks of three branches. Compiling the kernels.")
    warm_up(training=True, progress=progress)
    say(f"3. Training for {epochs} epochs.")
    # A demo that was stopped goes on where it was; one that has ended leaves nothing to go on from.
    result = train(model, train_set, test_set, settings, folder, resume=True, progress=progress)
    (folder / CHECKPOINT_FILE).unlink()
    before = evaluate(model, test_set, result.mean, result.std, progress=False)
    say(
        f"   {before.accuracy:.2%} of the test pictures are classified correctly; "
        f"it learned from {result.images_per_second:.0f} images/s."
    )

    fused = fuse(model)
    after = evaluate(fused, test_set, result.mean, result.std, progress=False)
    changed = int((before.predictions != after.predictions).sum())
    say(
        f"4. Fused: {fused.count_parameters():,} parameters, one 3x3 convolution for each block, "
        f"{after.accuracy:.2%} correct."
    )
    say(f"   Predictions that changed: {changed} of {len(test_set)}.")
    x = normalise(test_set.images, result.mean, result.std)
    changes = explain_changes(model, x, before.predictions, after.predictions)
    for change in changes:
        say(f"   {change}")

    report = verify_fusion(model, x[:256], fused)
    say("5. Each block before and after, with what rounding can explain:")
    for line in str(report).splitlines():
        say(f"   {line}")

    pictures = np.ascontiguousarray(x[:TIMED_PICTURES].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    seconds = time_side_by_side({"three branches": lambda: model(pictures), "fused": lambda: fused(pictures)}, 31, 0)
    times = {name: [1e3 * s / len(pictures) for s in values] for name, values in seconds.items()}
    medians = {name: float(np.median(values)) for name, values in times.items()}
    speedup = medians["three branches"] / medians["fused"]
    say(
        f"6. One picture takes {medians['three branches']:.3f} ms before, {medians['fused']:.3f} ms after: "
        f"{speedup:.2f} times faster."
    )

    files = {name: str(folder / name) for name in ("model.npz", "fused.npz", "demo.png")}
    save(model, files["model.npz"])
    save(fused, files["fused.npz"])
    name, branches = _block_to_draw(model)
    title = f"{MODEL} on ten classes of drawn shapes: {after.accuracy:.1%} of the test pictures correct"
    plots.demo_figure(files["demo.png"], result.history, name, branches, times, title)
    say(f"7. Wrote {files['model.npz']}, {files['fused.npz']} and the figure {files['demo.png']}.")
    return {
        "ok": report.ok and all(change.ok for change in changes),
        "accuracy": before.accuracy,
        "fused_accuracy": after.accuracy,
        "changed_predictions": changed,
        "images_per_second": result.images_per_second,
        "milliseconds": medians,
        "speedup": speedup,
        "max_error": report.max_error,
        "bound": report.bound,
        "files": files,
    }


def _block_to_draw(model):
    """Return the name of the first block with an identity branch, and each branch folded with its batch norm."""
    return next((name, block.branches()) for name, block in model.blocks() if block.identity is not None)
