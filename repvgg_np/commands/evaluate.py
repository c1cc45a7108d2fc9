"""`repvgg-np evaluate`: what a network gets right, class by class."""

from repvgg_np.commands.options import add_data, add_file, file_of, load_with_test_set, print_numbers
from repvgg_np.kernels import warm_up
from repvgg_np.plots import confusion_matrix
from repvgg_np.training import evaluate, evaluation_report

TEXT = "count how many test pictures a network classifies correctly"


def add_options(parser):
    """Add the options of `repvgg-np evaluate`."""
    add_file(parser)
    add_data(parser, default=None)
    parser.add_argument("--batch-size", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--tta", action="store_true", help="mean of the logits of each picture and its mirror image")
    parser.add_argument("--figure", metavar="FILE", help="write the confusion matrix as a picture (.png)")


def run(options):
    """Evaluate a network."""
    model, test_set, mean, std = load_with_test_set(options, file_of(options))
    warm_up(training=False)
    result = evaluate(model, test_set, mean, std, options.batch_size, mirrored=options.tta)
    numbers, text = evaluation_report(result, test_set.classes, model.form, options.tta)
    if options.figure:
        title = f"{model.name or 'RepVGG'} on {test_set.name}: {result.accuracy:.2%} correct"
        confusion_matrix(options.figure, result.confusion, test_set.classes, title)
    print_numbers(options, numbers, text)
    return 0
