"""The command line: reads the arguments, and runs the command that they name. Each command is a file of `commands/`.

Exit codes: 0 done, 1 a check failed, 2 bad input (one line on stderr says which), 130 interrupted.
"""

import argparse
import sys

from repvgg_np.commands import ablate, bench, demo, evaluate, fuse, predict, summary, table, train, verify
from repvgg_np.commands.options import add_common
from repvgg_np.kernels import set_num_threads

COMMANDS = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "fuse": fuse,
    "verify": verify,
    "predict": predict,
    "summary": summary,
    "ablate": ablate,
    "bench": bench,
    "table": table,
}
WITH_COMMANDS_OF_THEIR_OWN = (bench, table)


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
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.TEXT, description=command.TEXT + ".")
        if command not in WITH_COMMANDS_OF_THEIR_OWN:
            sub.set_defaults(run=command.run)
            add_common(sub)
        if command is bench:
            sub.usual = "inference"
        command.add_options(sub)
    return parser
