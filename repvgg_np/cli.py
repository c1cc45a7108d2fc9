"""The command line: parse, call, print.

Exit codes: 0 done, 1 a check failed, 2 bad input (one line on stderr says which), 130 interrupted.
"""

import argparse
import json
import sys

from repvgg_np.bench.command import add_kinds
from repvgg_np.tables.command import add_tables
from repvgg_np.training.command import add_ablation, add_settings, read_settings, run_ablation

BENCH = "time this package beside PyTorch, ONNX Runtime and OpenVINO, where they are installed"
TABLE = "make a table of the paper again, beside what it prints; without a name, list them"
MODEL_FILE = "the model's file (.npz)"


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line; where it has a `usual` sub-command, options alone mean that one."""

    usual = None

    def parse_known_args(self, args=None, namespace=None):
        """Parse, with the usual sub-command in front where none is named."""
        if self.usual and args[:1] not in (["-h"], ["--help"]) and (not args or args[0].startswith("-")):
            args = [self.usual, *args]
        return super().parse_known_args(args, namespace)

    def error(self, message):
        """Print one line and exit with 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments=None):
    """Run one command.

    Parameters
    ----------
    arguments : list of str, optional
        Without it, those of the process.

    Returns
    -------
    int
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.threads is not None:
            from repvgg_np.kernels import set_num_threads

            set_num_threads(options.threads)
        return options.run(options)
    except ValueError as error:
        print(f"repvgg-np {options.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"repvgg-np {options.command}: error: not enough memory; a smaller batch needs less", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nrepvgg-np {options.command}: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone: nothing is left to say
        return 0


def _parser():
    """Return the parser of all commands."""
    parser = _Parser(prog="repvgg-np", description="RepVGG in NumPy and Numba: train it, fuse it, verify it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name, run, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return _common(sub)

    demo = command("demo", _demo, "train, fuse, verify and time a small RepVGG on built-in pictures")
    demo.add_argument("--out", default="demo", metavar="DIR", help="where to write (default: %(default)s)")
    demo.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    demo.add_argument("--seed", type=int, default=0, help="default: %(default)s")

    train = command("train", _train, "train a network; writes checkpoints, history.csv, model.npz and curve.png")
    _add_data(train, default=None, standard="synthetic; cifar10 with a preset")
    train.add_argument("--model", help="its name (default: the preset's, or RepVGG-A0-CIFAR)")
    train.add_argument("--variant", help="kind of its blocks, such as no-identity, acb or dbb (default: repvgg)")
    train.add_argument("--out", metavar="DIR", help="where to write (default: runs/MODEL-DATA)")
    holdout = "evaluate on the last N training pictures, which are not trained on, instead of the test pictures"
    train.add_argument("--holdout", type=int, metavar="N", help=holdout)
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    add_settings(train)

    evaluate = command("evaluate", _evaluate, "count how many test pictures a network classifies correctly")
    _add_file(evaluate, MODEL_FILE)
    _add_data(evaluate, default=None)
    evaluate.add_argument("--batch-size", type=int, default=256, help="default: %(default)s")
    evaluate.add_argument("--tta", action="store_true", help="mean of the logits of each picture and its mirror image")
    evaluate.add_argument("--figure", metavar="FILE", help="write the confusion matrix as a picture (.png)")

    fuse = command("fuse", _fuse, "convert a trained network to its inference form")
    fuse.add_argument("file", help=MODEL_FILE)
    fuse.add_argument("--out", metavar="FILE", help="where to write (default: fused.npz beside the model)")

    verify = command("verify", _verify, "compare a network with its fused form, block by block, with a proven bound")
    _add_file(verify, MODEL_FILE + ", in training form")
    verify.add_argument("--fused", metavar="FILE", help="the fused form to compare with (default: fuse it here)")
    _add_data(verify, default=None)

    predict = command("predict", _predict, "print the five likeliest classes of one picture")
    _add_file(predict, MODEL_FILE)
    source = predict.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", metavar="FILE", help="a picture (PNG, JPEG, ...)")
    source.add_argument("--row", type=int, help="the number of a test picture, from 0")
    _add_data(predict, default=None)

    summary = command("summary", _summary, "print layers, shapes, parameters and FLOPs of a network")
    summary.add_argument("model", nargs="?", help="its name; without it, one line for each network")
    summary.add_argument("--variant", help="kind of a RepVGG's blocks (default: repvgg)")
    summary.add_argument("--size", type=int, help="height and width of the picture")
    summary.add_argument("--classes", type=int, help="how many classes")
    summary.add_argument("--form", choices=("training", "inference"), default="inference", help="default: %(default)s")

    ablate = command("ablate", _ablate, "train the rows of the paper's ablation tables, and compare their order")
    _add_data(ablate)
    add_ablation(ablate)

    bench = commands.add_parser("bench", help=BENCH, description=BENCH + ".")
    bench.usual = "inference"
    add_kinds(bench, _common)
    table = commands.add_parser("table", help=TABLE, description=TABLE + ".")
    add_tables(table, _common, _add_data, _load_with_test_set)
    return parser


def _common(parser):
    """Add the options that every command has; return the parser."""
    parser.add_argument("--threads", type=int, help="how many threads to use (default: one for each processor)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return parser


def _add_file(parser, text):
    """Add the file of a network, and the option that stands for the file of the one in the package."""
    parser.add_argument("file", nargs="?", help=text)
    parser.add_argument("--pretrained", action="store_true", help="instead of a file: the network in the package")


def _file(options):
    """Return the path of the network that the options name."""
    from repvgg_np.models import pretrained_path

    if options.pretrained == (options.file is not None):
        raise ValueError(f"expected a model's file or --pretrained, and not both, got {options.file}")
    return options.file or pretrained_path()


def _add_data(parser, default="synthetic", standard="what the network was trained on"):
    """Add the options that say which pictures."""
    standard = default or standard
    parser.add_argument("--data", default=default, help=f"synthetic, cifar10 or cifar100 (default: {standard})")
    parser.add_argument(
        "--data-dir", metavar="PATH", help="folder or archive of CIFAR (default: $REPVGG_NP_DATA or the user's cache)"
    )
    parser.add_argument("--download", action="store_true", help="fetch CIFAR if it is not there")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N pictures of each set")


def _load(options, split, name=None):
    """Load the pictures that the options name."""
    from repvgg_np.data import load_dataset

    dataset = load_dataset(options.data or name or "synthetic", split, options.data_dir, options.download)
    return dataset if options.limit is None else dataset.subset(options.limit)


def _load_for_training(options):
    """Load the pictures to train on, and those to evaluate with."""
    from repvgg_np.data import hold_out

    train_set = _load(options, "train")
    if options.holdout is not None:
        return hold_out(train_set, options.holdout)
    return train_set, _load(options, "test")


def _load_with_test_set(options, file, any_classes=False):
    """Load a network and test pictures that fit it; return both and the normalisation that it was trained with."""
    import numpy as np

    from repvgg_np.models import load

    model = load(file)
    notes = model.notes
    if not {"dataset", "classes", "mean", "std"} <= notes.keys():
        raise ValueError(f"{file} does not say how its pictures were normalised: `repvgg-np train` did not write it")
    test_set = _load(options, "test", notes["dataset"])
    if list(test_set.classes) != list(notes["classes"]) and not any_classes:
        raise ValueError(f"{file} was trained on the classes of {notes['dataset']}, not on those of {test_set.name}")
    return model, test_set, np.asarray(notes["mean"], np.float32), np.asarray(notes["std"], np.float32)


def _print(options, numbers, text):
    """Print the numbers as JSON, or the text."""
    print(json.dumps(numbers) if options.json else text)


def _demo(options):
    """Run the main job."""
    from repvgg_np.demo import demo

    say = (lambda line: print(line, file=sys.stderr)) if options.json else (lambda line: print(line, flush=True))
    result = demo(options.out, options.epochs, options.seed, say)
    if options.json:
        print(json.dumps(result))
    return 0 if result["ok"] else 1


def _train(options):
    """Train a network."""
    from pathlib import Path

    from repvgg_np import plots
    from repvgg_np.models import create_model, find_model, save
    from repvgg_np.training import describe_recipe, find_preset, train

    settings = read_settings(options)
    preset = None if options.preset is None else find_preset(options.preset)
    name = find_model(options.model or (preset.model if preset else "RepVGG-A0-CIFAR"))
    options.data = options.data or ("cifar10" if preset else "synthetic")
    kind = {} if options.variant is None else {"variant": options.variant}
    folder = Path(options.out or Path("runs") / "-".join([options.preset or name, *kind.values(), options.data]))
    train_set, test_set = _load_for_training(options)
    model = create_model(name, len(train_set.classes), settings.seed, **kind)
    title = f"{name} on {train_set.name}"
    which, judged = ("held-out", "holdout_accuracy") if options.holdout is not None else ("test", "test_accuracy")
    result = train(
        model, train_set, test_set, settings, folder, options.resume, recipe=describe_recipe(model, settings),
        after_epoch=lambda history: plots.learning_curve(folder / "curve.png", history, title),
    )  # fmt: skip
    model.notes |= {"settings": settings.as_dict(), judged: model.notes.pop("test_accuracy")}
    save(model, folder / "model.npz")
    plots.learning_curve(folder / "curve.png", result.history, title)  # also where no epoch was left to be trained
    numbers = {
        "model": name,
        judged: result.last_accuracy,
        "images_per_second": result.images_per_second,
        "file": str(folder / "model.npz"),
    }
    _print(
        options,
        numbers,
        f"{result.last_accuracy:.2%} of the {which} pictures correct, "
        f"trained at {result.images_per_second:.0f} images/s; "
        f"wrote {folder / 'model.npz'} and {folder / 'curve.png'}",
    )
    return 0


def _evaluate(options):
    """Evaluate a network."""
    from repvgg_np.kernels import warm_up
    from repvgg_np.plots import confusion_matrix
    from repvgg_np.training import evaluate, evaluation_report

    model, test_set, mean, std = _load_with_test_set(options, _file(options))
    warm_up(training=False)
    result = evaluate(model, test_set, mean, std, options.batch_size, mirrored=options.tta)
    numbers, text = evaluation_report(result, test_set.classes, model.form, options.tta)
    if options.figure:
        title = f"{model.name or 'RepVGG'} on {test_set.name}: {result.accuracy:.2%} correct"
        confusion_matrix(options.figure, result.confusion, test_set.classes, title)
    _print(options, numbers, text)
    return 0


def _fuse(options):
    """Fuse a network."""
    from pathlib import Path

    from repvgg_np.fuse import fuse
    from repvgg_np.models import load, save
    from repvgg_np.verify import check_statistics

    model = load(options.file)
    if model.form == "inference":
        raise ValueError(f"{options.file} is fused already")
    check_statistics(model)
    fused = fuse(model)
    path = Path(options.out) if options.out else Path(options.file).with_name("fused.npz")
    save(fused, path)
    numbers = {"parameters": model.count_parameters(), "fused_parameters": fused.count_parameters(), "file": str(path)}
    text = f"{numbers['parameters']:,} parameters became {numbers['fused_parameters']:,}; wrote {path}"
    _print(options, numbers, text)
    return 0


def _verify(options):
    """Verify a fusion."""
    import dataclasses

    from repvgg_np.data import normalise
    from repvgg_np.fuse import fuse
    from repvgg_np.kernels import warm_up
    from repvgg_np.models import load
    from repvgg_np.ties import explain_changes
    from repvgg_np.training import evaluate
    from repvgg_np.verify import verify_fusion

    if options.pretrained and not (options.data or options.data_dir or options.download):
        options.data = "synthetic"  # needs no files; two forms can be compared on any pictures
    model, test_set, mean, std = _load_with_test_set(options, _file(options), any_classes=True)
    warm_up(training=False)
    x = normalise(test_set.images, mean, std, model.dtype)
    fused = load(options.fused) if options.fused else None
    report = verify_fusion(model, x[:256], fused)
    fused = fuse(model) if fused is None else fused
    before, after = (evaluate(form, test_set, mean, std) for form in (model, fused))
    changes = explain_changes(model, x, before.predictions, after.predictions)
    report = report.of_predictions(before.predictions, after.predictions, changes)
    numbers = {
        "ok": report.ok,
        "max_error": report.max_error,
        "bound": report.bound,
        "logits_error": report.logits_error,
        "pictures": len(test_set),
        "changed_predictions": report.changed_predictions,
        "changes": [dataclasses.asdict(change) | {"ok": change.ok} for change in changes],
        "blocks": [dataclasses.asdict(block) for block in report.blocks],
    }
    text = f"{report}\non {len(test_set):,} pictures of {test_set.name}"
    if list(test_set.classes) == list(model.notes["classes"]):
        numbers |= {"accuracy": before.accuracy, "fused_accuracy": after.accuracy}
        text += f": accuracy {before.accuracy:.2%} before, {after.accuracy:.2%} after"
    _print(options, numbers, text)
    return 0 if report.ok else 1


def _predict(options):
    """Classify one picture."""
    import numpy as np

    from repvgg_np.data import normalise, read_picture
    from repvgg_np.models import load
    from repvgg_np.training import softmax

    if options.image is not None:
        file = _file(options)
        model = load(file)
        notes = model.notes
        if not {"classes", "mean", "std"} <= notes.keys():
            raise ValueError(f"{file} does not say how its pictures were normalised")
        mean, std = (np.asarray(notes[key], np.float32) for key in ("mean", "std"))
        picture, what = read_picture(options.image, model.config.input_size), options.image
    else:
        model, test_set, mean, std = _load_with_test_set(options, _file(options))
        if not 0 <= options.row < len(test_set):
            raise ValueError(f"row must be from 0 to {len(test_set) - 1}, got {options.row}")
        picture = test_set.images[options.row]
        what = f"test picture {options.row} of {test_set.name}, a {test_set.classes[test_set.labels[options.row]]}"
    probabilities = softmax(model(normalise(picture[None], mean, std)))[0]
    likeliest = np.argsort(-probabilities, kind="stable")[:5]
    classes = model.notes["classes"]
    numbers = [{"class": classes[i], "probability": float(probabilities[i])} for i in likeliest]
    lines = [f"{what}:"] + [f"  {row['probability']:7.2%}  {row['class']}" for row in numbers]
    _print(options, numbers, "\n".join(lines))
    return 0


def _summary(options):
    """Print what a network costs."""
    from repvgg_np.analysis import network_cost
    from repvgg_np.models import create_model, list_models

    if options.model is None:
        rows = []
        for name in list_models():
            forms = [create_model(name, options.classes, None, form=form) for form in ("training", "inference")]
            costs = network_cost(forms[1], options.size)
            rows.append(
                {
                    "model": name,
                    "training_parameters": forms[0].count_parameters(),
                    "inference_parameters": forms[1].count_parameters(),
                    "flops": sum(cost.flops for cost in costs),
                    "winograd_multiplications": sum(cost.winograd_multiplications for cost in costs),
                }
            )
        head = f"{'model':<17} {'parameters, training':>20} {'inference':>12} {'FLOPs':>15} {'Wino MULs':>15}"
        lines = [
            f"{r['model']:<17} {r['training_parameters']:>20,} {r['inference_parameters']:>12,} {r['flops']:>15,} "
            f"{r['winograd_multiplications']:>15,}"
            for r in rows
        ]
        _print(options, rows, "\n".join([head, *lines]))
        return 0
    model = create_model(options.model, options.classes, None, form=options.form, variant=options.variant)
    costs = network_cost(model, options.size)
    total = {key: sum(getattr(c, key) for c in costs) for key in ("parameters", "flops", "winograd_multiplications")}
    numbers = {
        "model": model.name,
        "variant": getattr(model.config, "block", None),
        "form": model.form,
        **total,
        "layers": [vars(cost) for cost in costs],
    }
    kind = "" if options.variant is None else f" with {options.variant} blocks"
    width, first = max(len(cost.kind) for cost in costs), max(len(cost.name) for cost in costs)
    lines = [f"{'layer':<{first}} {'':<{width}} {'output':>16} {'parameters':>12} {'FLOPs':>15}"]
    for cost in costs:
        shape = "x".join(map(str, cost.out_shape))
        lines.append(f"{cost.name:<{first}} {cost.kind:<{width}} {shape:>16} {cost.parameters:>12,} {cost.flops:>15,}")
    lines.append(
        f"{model.name}{kind}, {model.form} form: {total['parameters']:,} parameters, "
        f"{total['flops']:,} FLOPs (multiply-adds), "
        f"{total['winograd_multiplications']:,} multiplications with Winograd F(2x2)"
    )
    _print(options, numbers, "\n".join(lines))
    return 0


def _ablate(options):
    """Train the rows of the ablation tables."""
    from repvgg_np.tables.ablation_figure import accuracy_figure

    numbers, text = run_ablation(options, lambda split: _load(options, split))
    _print(options, numbers, text)
    if options.figure:
        title = f"{options.model} on {options.data}, {numbers['results'][0]['epochs']} epochs"
        accuracy_figure(options.figure, numbers["rows"], title)
    return 0
