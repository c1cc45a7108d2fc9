"""`repvgg-np fuse`: from the training form to the inference form."""

from pathlib import Path

from repvgg_np.commands.options import MODEL_FILE, print_numbers
from repvgg_np.fuse import fuse
from repvgg_np.models import load, save
from repvgg_np.verify import check_statistics

TEXT = "convert a trained network to its inference form"


def add_options(parser):
    """Add the options of `repvgg-np fuse`."""
    parser.add_argument("file", help=MODEL_FILE)
    parser.add_argument("--out", metavar="FILE", help="where to write (default: fused.npz beside the model)")


def run(options):
    """Fuse a network."""
    model = load(options.file)
    if model.form == "inference":
        raise ValueError(f"{options.file} is fused already")
    check_statistics(model)
    fused = fuse(model)
    path = Path(options.out) if options.out else Path(options.file).with_name("fused.npz")
    save(fused, path)
    numbers = {"parameters": model.count_parameters(), "fused_parameters": fused.count_parameters(), "file": str(path)}
    text = f"{numbers['parameters']:,} parameters became {numbers['fused_parameters']:,}; wrote {path}"
    print_numbers(options, numbers, text)
    return 0
