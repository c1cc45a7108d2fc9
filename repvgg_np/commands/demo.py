"""`repvgg-np demo`: the main job."""

import json
import sys

from repvgg_np.demo import demo

TEXT = "train, fuse, verify and time a small RepVGG on built-in pictures"


def add_options(parser):
    """Add the options of `repvgg-np demo`."""
    parser.add_argument("--out", default="demo", metavar="DIR", help="where to write (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def run(options):
    """Run the main job; 1 if a check failed."""
    say = (lambda line: print(line, file=sys.stderr)) if options.json else (lambda line: print(line, flush=True))
    result = demo(options.out, options.epochs, options.seed, say)
    if options.json:
        print(json.dumps(result))
    return 0 if result["ok"] else 1
