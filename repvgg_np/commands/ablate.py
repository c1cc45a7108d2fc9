"""`repvgg-np ablate`: the paper's ablation, trained again."""

import contextlib

from repvgg_np.commands.options import add_data, load_pictures, print_numbers
from repvgg_np.commands.settings import add_most_used, read_settings
from repvgg_np.tables.ablation_figure import accuracy_figure
from repvgg_np.training.ablation import ablate, find_rows
from repvgg_np.training.ablation_run import DataSource, process_pool
from repvgg_np.training.ablation_summary import summarise, table

TEXT = "train the rows of the paper's ablation tables, and compare their order"


def add_options(parser):
    """Add the options of `repvgg-np ablate`."""
    add_data(parser)
    folder = "where to write and go on (default: %(default)s)"
    parser.add_argument("--run", dest="folder", default="ablation", metavar="DIR", help=folder)
    rows = "kinds of blocks, or branches (table 6), variants (table 7), beyond (default: %(default)s)"
    parser.add_argument("--rows", default="branches,variants", metavar="NAME,...", help=rows)
    parser.add_argument("--model", default="RepVGG-A0-CIFAR", help="its name (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how many, from 0 (default: %(default)s)")
    add_most_used(parser)
    workers = "processes; 1 is this one (default: %(default)s), more are slower each"
    parser.add_argument("--workers", type=int, default=1, help=workers)
    parser.add_argument("--figure", metavar="FILE", help="draw the accuracies beside the paper's (PNG)")


def run(options):
    """Train the rows that the options ask for, print the summary, and draw it."""
    rows = find_rows([name.strip() for name in options.rows.split(",") if name.strip()])
    for name, value in (("seeds", options.seeds), ("workers", options.workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    settings = read_settings(options)
    for split in ("train", "test"):  # once, before any run: what is missing is said, or fetched, now
        load_pictures(options, split)
    data = DataSource(options.data, options.data_dir, options.limit)
    pool = contextlib.nullcontext() if options.workers == 1 else process_pool(options.workers, options.threads)
    with pool as executor:
        results = ablate(
            options.folder, rows, range(options.seeds), options.model, settings, data, executor, options.workers
        )
    summary = summarise(results)
    print_numbers(options, {**summary, "results": results}, table(summary))
    if options.figure:
        title = f"{options.model} on {options.data}, {results[0]['epochs']} epochs"
        accuracy_figure(options.figure, summary["rows"], title)
    return 0
