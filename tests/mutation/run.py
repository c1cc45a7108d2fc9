"""Break the code in every small way that cosmic-ray knows, and see whether the tests notice.

A mutant is the source of one module with one operator, number, comparison or keyword changed. It is never written to disk:
a child process imports the changed text in place of the file and runs the tests that belong to the module. Children are
forked from a process that has NumPy, Numba, pytest and Hypothesis loaded already, so that a mutant costs about a second.

    NUMBA_DISABLE_JIT=1 python -m tests.mutation.run [module ...]
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT = 120  # seconds; the slowest of these test lists takes half of that
# The tests of each module, those that kill the most in the shortest time first.
TESTS = {
    "repvgg_np/fuse.py": ["tests/test_fuse.py", "tests/test_fuse_gradient.py", "tests/blocks"],
    "repvgg_np/fuse_gradient.py": ["tests/test_fuse_gradient.py"],
    "repvgg_np/rounding.py": ["tests/test_rounding.py", "tests/test_verify.py"],
    "repvgg_np/verify.py": ["tests/test_rounding.py", "tests/test_verify.py"],
    "repvgg_np/kernels/batch_norm.py": ["tests/kernels/test_batch_norm.py", "tests/layers"],
    "repvgg_np/layers/batch_norm.py": ["tests/layers", "tests/blocks", "tests/kernels/test_batch_norm.py"],
}
EQUIVALENT = Path(__file__).with_name("equivalent.json")


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads the changed text of a module."""

    def __init__(self, name, path, source):
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname):
        return compile(self.source, self.path, "exec")


class MutantFinder(importlib.abc.MetaPathFinder):
    """Finds the changed text under the name of the module."""

    def __init__(self, module, source):
        self.name, self.path, self.source = module[:-3].replace("/", "."), str(ROOT / module), source

    def find_spec(self, fullname, path, target=None):
        if fullname != self.name:
            return None
        loader = MutantLoader(fullname, self.path, self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


def mutants(source):
    """Yield `(operator, line number, changed source)` of every mutant."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    for name in plugins.operator_names():
        operator_class = plugins.get_operator(name)
        if operator_class.arguments():
            continue
        operator = operator_class()
        positions = [place for node in ast_nodes(get_ast(source)) for place in operator.mutation_positions(node)]
        for occurrence, (start, *_) in enumerate(positions):
            changed = mutate_code(source, operator, occurrence)
            if changed is not None and changed != source:
                yield name.removeprefix("core/"), start[0], changed


def survives(module, source):
    """Run a module's tests on a changed source, in a child process; return "killed", "timeout" or "survived"."""
    child = os.fork()
    if child == 0:
        sink = os.open(os.devnull if len(sys.argv) < 2 else "/tmp/mutant.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        code = 9
        try:
            import pytest

            sys.meta_path.insert(0, MutantFinder(module, source))
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not peers", *TESTS[module]]))
        finally:
            os._exit(code)
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"
