"""`repvgg-np predict`: what is in a picture."""

import numpy as np

from repvgg_np.commands.options import add_data, add_file, file_of, load_with_test_set, print_numbers
from repvgg_np.data import normalise, read_picture
from repvgg_np.models import load
from repvgg_np.training import softmax

TEXT = "print the five likeliest classes of one picture"


def add_options(parser):
    """Add the options of `repvgg-np predict`."""
    add_file(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", metavar="FILE", help="a picture (PNG, JPEG, ...)")
    source.add_argument("--row", type=int, help="the number of a test picture, from 0")
    add_data(parser, default=None)


def run(options):
    """Classify one picture."""
    if options.image is not None:
        file = file_of(options)
        model = load(file)
        notes = model.notes
        if not {"classes", "mean", "std"} <= notes.keys():
            raise ValueError(f"{file} does not say how its pictures were normalised")
        mean, std = (np.asarray(notes[key], np.float32) for key in ("mean", "std"))
        picture, what = read_picture(options.image, model.config.input_size), options.image
    else:
        model, test_set, mean, std = load_with_test_set(options, file_of(options))
        if not 0 <= options.row < len(test_set):
            raise ValueError(f"row must be from 0 to {len(test_set) - 1}, got {options.row}")
        picture = test_set.images[options.row]
        what = f"test picture {options.row} of {test_set.name}, a {test_set.classes[test_set.labels[options.row]]}"
    probabilities = softmax(model(normalise(picture[None], mean, std)))[0]
    likeliest = np.argsort(-probabilities, kind="stable")[:5]
    classes = model.notes["classes"]
    numbers = [{"class": classes[i], "probability": float(probabilities[i])} for i in likeliest]
    lines = [f"{what}:"] + [f"  {row['probability']:7.2%}  {row['class']}" for row in numbers]
    print_numbers(options, numbers, "\n".join(lines))
    return 0
