"""Break the code in every small way that cosmic-ray knows, and see whether the tests notice.

A mutant is the source of one module with one operator, number, comparison or keyword changed. It is never written to
disk: a child process imports the changed text in place of the file and runs the tests that belong to the module.
Children are forked from a process that has NumPy, Numba, pytest and Hypothesis loaded already, so that a mutant costs
about a second.

    NUMBA_DISABLE_JIT=1 python -m tests.mutation.run [module ...]
"""

import collections
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import hypothesis
import matplotlib.pyplot  # noqa: F401
import numba
import pytest
from tqdm import tqdm

ROOT = Path(__file__).parents[2]
# The tests of each module, those that kill the most in the shortest time first. What draws whole hostile networks takes
# half a minute, and kills nothing that the others don't.
QUICK = "not (hostile or hundredth or idle or correct_fusion)"
BATCH_NORM = "tests/kernels/test_batch_norm.py"
TESTS = {
    "repvgg_np/fuse.py": ["tests/test_fuse.py"],
    "repvgg_np/fuse_gradient.py": ["tests/test_fuse_gradient.py"],
    "repvgg_np/rounding.py": ["tests/test_rounding.py"],
    "repvgg_np/fuse_sequence.py": ["tests/test_fuse_sequence.py"],
    "repvgg_np/blocks/step.py": [
        "tests/test_rounding.py",
        "tests/blocks/test_variants.py",
        "-k",
        f"{QUICK} and not gradients",
    ],
    "repvgg_np/fusion_bound.py": ["tests/test_rounding.py", "tests/test_verify.py", "-k", QUICK],
    "repvgg_np/verify.py": ["tests/test_verify.py", "-k", QUICK],
    "repvgg_np/kernels/batch_norm.py": [BATCH_NORM],
    "repvgg_np/layers/batch_norm.py": [
        BATCH_NORM,
        "tests/layers/test_layers.py",
        "tests/layers/test_gradients.py::test_the_gradients_of_batch_norm",
        "tests/layers/test_gradients.py::test_inference_keeps_nothing_and_says_so",
    ],
}
OPTIONS = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
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


class FirstFailure:
    """Keeps Hypothesis from looking for the simplest example: that one fails is enough."""

    def pytest_collection(self):
        profile = hypothesis.settings.default
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutants", parent=profile, phases=phases)
        hypothesis.settings.load_profile("mutants")


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


def outcome_of(module, source, timeout, log=os.devnull):
    """Run a module's tests on a changed source, in a child process; return "killed", "timeout" or "survived"."""
    child = os.fork()
    if child == 0:
        signal.alarm(timeout)  # a loop that never ends is noticed too
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        code = 1
        try:
            sys.meta_path.insert(0, MutantFinder(module, source))
            code = int(pytest.main([*OPTIONS, *TESTS[module]], plugins=[FirstFailure()]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "survived", -signal.SIGALRM: "timeout"}.get(code, "killed")


def explained(module):
    """Return the mutants of a module that no test can notice: `{(line before, line after): reason}`."""
    groups = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else []
    return {tuple(pair): group["reason"] for group in groups if group["module"] == module for pair in group["mutants"]}


def changed_line(before, after):
    """Return the first line that differs, before and after the change, without indentation."""
    lines = zip(before.splitlines(), [*after.splitlines(), ""], strict=False)
    return next((old.strip(), new.strip()) for old, new in lines if old != new)


def run(module):
    """Try all mutants of a module; return how many were not noticed and are not explained."""
    source = (ROOT / module).read_text()
    start = time.monotonic()
    if outcome_of(module, source, 300, "/dev/stderr") != "survived":
        sys.exit(f"{module}: the tests fail without any change")
    timeout = 5 + 3 * round(time.monotonic() - start)
    reasons, count = explained(module), collections.Counter()
    for operator, number, changed in tqdm(list(mutants(source)), desc=module):
        line = changed_line(source, changed)
        outcome = "equivalent" if line in reasons else outcome_of(module, changed, timeout)
        count[outcome] += 1
        if outcome == "survived":
            tqdm.write(f"{module}:{number}: {operator}\n    {line[0]}\n    {line[1]}", file=sys.stdout)
            sys.stdout.flush()
    print(f"{module}: {sum(count.values())} mutants, {dict(count)}", flush=True)
    return count["survived"]


if __name__ == "__main__":
    if not numba.config.DISABLE_JIT:
        sys.exit("NUMBA_DISABLE_JIT=1 must be set: nothing is to be compiled for a mutant")
    os.chdir(ROOT)
    sys.exit(1 if sum(run(module) for module in sys.argv[1:] or TESTS) else 0)
