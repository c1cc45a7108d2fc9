"""What several commands have in common: options, how what they name is loaded, and how numbers are printed."""

import json
import sys

import numpy as np

from repvgg_np.bench.machine import describe_machine
from repvgg_np.data import load_dataset
from repvgg_np.models import load, pretrained_path

MODEL_FILE = "the model's file (.npz)"


def add_common(parser):
    """Add the options that every command has; return the parser."""
    parser.add_argument("--threads", type=int, help="how many threads to use (default: one for each processor)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return parser


def add_file(parser, text=MODEL_FILE):
    """Add the file of a network, and the option that stands for the file of the one in the package."""
    parser.add_argument("file", nargs="?", help=text)
    parser.add_argument("--pretrained", action="store_true", help="instead of a file: the network in the package")


def file_of(options):
    """Return the path of the network that the options name."""
    if options.pretrained == (options.file is not None):
        raise ValueError(f"expected a model's file or --pretrained, and not both, got {options.file}")
    return options.file or pretrained_path()


def add_data(parser, default="synthetic", standard="what the network was trained on"):
    """Add the options that say which pictures."""
    standard = default or standard
    parser.add_argument("--data", default=default, help=f"synthetic, cifar10 or cifar100 (default: {standard})")
    parser.add_argument(
        "--data-dir", metavar="PATH", help="folder or archive of CIFAR (default: $REPVGG_NP_DATA or the user's cache)"
    )
    parser.add_argument("--download", action="store_true", help="fetch CIFAR if it is not there")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N pictures of each set")


def load_pictures(options, split, name=None):
    """Load the pictures that the options name; where they name none, the data set `name`."""
    dataset = load_dataset(options.data or name or "synthetic", split, options.data_dir, options.download)
    return dataset if options.limit is None else dataset.subset(options.limit)


def load_with_test_set(options, file, any_classes=False):
    """Load a network and test pictures that fit it; return both and the normalisation that it was trained with."""
    model = load(file)
    notes = model.notes
    if not {"dataset", "classes", "mean", "std"} <= notes.keys():
        raise ValueError(f"{file} does not say how its pictures were normalised: `repvgg-np train` did not write it")
    test_set = load_pictures(options, "test", notes["dataset"])
    if list(test_set.classes) != list(notes["classes"]) and not any_classes:
        raise ValueError(f"{file} was trained on the classes of {notes['dataset']}, not on those of {test_set.name}")
    return model, test_set, np.asarray(notes["mean"], np.float32), np.asarray(notes["std"], np.float32)


def print_numbers(options, numbers, text):
    """Print the numbers as JSON, or the text."""
    print(json.dumps(numbers) if options.json else text)


def draw_figure(options, draw, result, title=None):
    """Draw a result into the file that the options name, and say so on stderr; without a title, it is the machine."""
    machine = describe_machine()
    threads = machine["threads"]
    draw(options.figure, result, title or f"{machine['processor']}, {threads} thread{'s' if threads > 1 else ''}")
    print(f"wrote {options.figure}", file=sys.stderr)
