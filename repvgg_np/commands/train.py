"""`repvgg-np train`: train a network by a recipe."""

from pathlib import Path

from repvgg_np import plots
from repvgg_np.commands.options import add_data, load_pictures, print_numbers
from repvgg_np.commands.settings import add_settings, read_settings
from repvgg_np.data import hold_out
from repvgg_np.models import create_model, find_model, save
from repvgg_np.training import describe_recipe, find_preset, train

TEXT = "train a network; writes checkpoints, history.csv, model.npz and curve.png"


def add_options(parser):
    """Add the options of `repvgg-np train`."""
    add_data(parser, default=None, standard="synthetic; cifar10 with a preset")
    parser.add_argument("--model", help="its name (default: the preset's, or RepVGG-A0-CIFAR)")
    parser.add_argument("--variant", help="kind of its blocks, such as no-identity, acb or dbb (default: repvgg)")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: runs/MODEL-DATA)")
    holdout = "evaluate on the last N training pictures, which are not trained on, instead of the test pictures"
    parser.add_argument("--holdout", type=int, metavar="N", help=holdout)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    add_settings(parser)


def run(options):
    """Train a network."""
    settings = read_settings(options)
    preset = None if options.preset is None else find_preset(options.preset)
    name = find_model(options.model or (preset.model if preset else "RepVGG-A0-CIFAR"))
    options.data = options.data or ("cifar10" if preset else "synthetic")
    kind = {} if options.variant is None else {"variant": options.variant}
    folder = Path(options.out or Path("runs") / "-".join([options.preset or name, *kind.values(), options.data]))
    train_set, test_set = _load(options)
    model = create_model(name, len(train_set.classes), settings.seed, **kind)
    title = f"{name} on {train_set.name}"
    judged, key = ("held-out", "holdout_accuracy") if options.holdout is not None else ("test", "test_accuracy")
    result = train(
        model, train_set, test_set, settings, folder, options.resume, recipe=describe_recipe(model, settings),
        after_epoch=lambda history: plots.learning_curve(folder / "curve.png", history, title, judged),
        judged=judged,
    )  # fmt: skip
    model.notes |= {"settings": settings.as_dict(), key: model.notes.pop("test_accuracy")}
    save(model, folder / "model.npz")
    # Also where no epoch was left to be trained.
    plots.learning_curve(folder / "curve.png", result.history, title, judged)
    numbers = {
        "model": name,
        key: result.last_accuracy,
        "images_per_second": result.images_per_second,
        "file": str(folder / "model.npz"),
    }
    print_numbers(
        options,
        numbers,
        f"{result.last_accuracy:.2%} of the {judged} pictures correct, "
        f"trained at {result.images_per_second:.0f} images/s; "
        f"wrote {folder / 'model.npz'} and {folder / 'curve.png'}",
    )
    return 0


def _load(options):
    """Load the pictures to train on, and those to evaluate with."""
    train_set = load_pictures(options, "train")
    if options.holdout is not None:
        return hold_out(train_set, options.holdout)
    return train_set, load_pictures(options, "test")
