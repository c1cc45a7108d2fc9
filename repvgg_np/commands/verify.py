"""`repvgg-np verify`: whether the fused network is the same function."""

import dataclasses

from repvgg_np.commands.options import MODEL_FILE, add_data, add_file, file_of, load_with_test_set, print_numbers
from repvgg_np.data import normalise
from repvgg_np.fuse import fuse
from repvgg_np.kernels import warm_up
from repvgg_np.models import load
from repvgg_np.ties import explain_changes
from repvgg_np.training import evaluate
from repvgg_np.verify import verify_fusion

TEXT = "compare a network with its fused form, block by block, with a proven bound"


def add_options(parser):
    """Add the options of `repvgg-np verify`."""
    add_file(parser, MODEL_FILE + ", in training form")
    parser.add_argument("--fused", metavar="FILE", help="the fused form to compare with (default: fuse it here)")
    add_data(parser, default=None)


def run(options):
    """Verify a fusion; 1 if the two are not equal within rounding."""
    if options.pretrained and not (options.data or options.data_dir or options.download):
        options.data = "synthetic"  # needs no files; two forms can be compared on any pictures
    model, test_set, mean, std = load_with_test_set(options, file_of(options), any_classes=True)
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
    print_numbers(options, numbers, text)
    return 0 if report.ok else 1
