"""Break the code in every small way that cosmic-ray knows, and see whether the tests notice.

A mutant is the source of one module with one operator, number, comparison or keyword changed. It is never written to
disk. The tests that belong to a module are collected once; then each mutant gets a child process, forked from there, in
which what the changed text defines takes the place of what the file defined. The tests that have noticed most mutants
are run first, so that a mutant costs a fraction of a second. One that none of them notices is tried again in a child
that imports the changed text in place of the file: there, nothing can have kept the old definition.

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
from _pytest.runner import runtestprotocol
from tqdm import tqdm

ROOT = Path(__file__).parents[2]
# The tests of each module, those that kill the most in the shortest time first. What draws whole hostile networks takes
# half a minute, and kills nothing that the others don't.
QUICK = "not (hostile or hundredth or idle or correct_fusion)"
BATCH_NORM = "tests/kernels/test_batch_norm.py"
TESTS = {
    "repvgg_np/fuse.py": ["tests/test_fuse.py"],
    "repvgg_np/fuse_gradient.py": ["tests/test_fuse_gradient.py"],
    "repvgg_np/rounding.py": ["tests/test_rounding.py", "tests/test_fusion_bound.py"],
    "repvgg_np/fuse_sequence.py": ["tests/test_fuse_sequence.py"],
    "repvgg_np/blocks/step.py": [
        "tests/test_fusion_bound.py",
        "tests/blocks/test_variants.py",
        "-k",
        f"{QUICK} and not gradients",
    ],
    "repvgg_np/ties.py": ["tests/test_ties.py"],
    "repvgg_np/fusion_bound.py": [
        "tests/test_fusion_bound.py",
        "tests/test_under_the_bound.py",
        "tests/test_verify.py",
        "-k",
        QUICK,
    ],
    "repvgg_np/verify.py": [
        "tests/test_verify.py",
        "tests/test_ties.py::test_one_prediction_that_is_no_tie_makes_a_network_unequal_and_is_listed_first",
        "-k",
        QUICK,
    ],
    "repvgg_np/kernels/batch_norm.py": [BATCH_NORM],
    "repvgg_np/layers/batch_norm.py": [
        BATCH_NORM,
        "tests/layers/test_layers.py",
        "tests/layers/test_gradients.py::test_the_gradients_of_batch_norm",
        "tests/layers/test_gradients.py::test_inference_keeps_nothing_and_says_so",
    ],
}
OPTIONS = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
A_DAY = 24 * 3600
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


def in_child(task, timeout):
    """Call `task` in a child process; return its exit code, or None if it computed for over `timeout` seconds."""
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, timeout)  # a loop that never ends is noticed too
        code = 1
        try:
            code = int(task())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == -signal.SIGPROF else code


def silence():
    """Send what this process prints nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def imported(module, source):
    """Import a changed source in place of its file and run the module's tests; return pytest's exit code."""
    silence()
    for name in list(sys.modules):
        if name.split(".")[0] in ("repvgg_np", "tests"):
            del sys.modules[name]
    sys.meta_path.insert(0, MutantFinder(module, source))
    return pytest.main([*OPTIONS, *TESTS[module]], plugins=[FirstFailure()])


def exchange(module, source):
    """Put what a changed source defines in the place of what its file defined, wherever that was imported by name."""
    namespace = vars(sys.modules[module[:-3].replace("/", ".")])
    before = dict(namespace)
    exec(compile(source, str(ROOT / module), "exec"), namespace)
    for name, other in list(sys.modules.items()):
        if name.startswith(("repvgg_np", "tests")):
            for key, value in list(vars(other).items()):
                if key in before and value is before[key]:
                    setattr(other, key, namespace[key])


class Mutants:
    """In place of running the collected tests once, runs them on each mutant of a module, and counts the outcomes.

    Parameters
    ----------
    module : str
    """

    def __init__(self, module):
        self.module, self.source, self.count = module, (ROOT / module).read_text(), collections.Counter()
        self.explained_in_vain = 0

    def pytest_runtestloop(self, session):
        """Try all mutants."""
        self.tests = session.items
        self.seconds, self.kills = [1.0] * len(self.tests), [0] * len(self.tests)
        if self.outcome_of(self.source, A_DAY) != "survived":
            pytest.exit(f"{self.module}: the tests fail without any change", 1)
        timeout = 5 + 3 * round(sum(self.seconds))
        reasons, unused = explained(self.module), set(explained(self.module))
        for operator, number, changed in tqdm(list(mutants(self.source)), desc=self.module, mininterval=10):
            line = changed_line(self.source, changed)
            unused.discard(line)
            outcome = "equivalent" if line in reasons else self.outcome_of(changed, timeout)
            if outcome == "survived":
                code = in_child(lambda changed=changed: imported(self.module, changed), 2 * timeout)
                outcome = {0: "survived", None: "timeout"}.get(code, "killed")
            self.count[outcome] += 1
            if outcome == "survived":
                tqdm.write(f"{self.module}:{number}: {operator}\n    {line[0]}\n    {line[1]}", file=sys.stdout)
                sys.stdout.flush()
        for line in unused:
            print(f"{self.module}: equivalent.json explains what is no mutant:\n    {line[0]}\n    {line[1]}")
        self.explained_in_vain = len(unused)
        return True

    def outcome_of(self, source, timeout):
        """Run the tests on a changed source, in a child process; return "killed", "timeout" or "survived"."""
        # First those from which to expect most for their time.
        order = sorted(range(len(self.tests)), key=lambda i: (1 + self.kills[i]) / self.seconds[i], reverse=True)
        reading, writing = os.pipe()
        code = in_child(lambda: self.first_failure(source, order, writing), timeout)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            for line in pipe:
                number, seconds, failed = line.split()
                self.seconds[int(number)] = float(seconds)
                self.kills[int(number)] += int(failed)
        return {0: "survived", None: "timeout"}.get(code, "killed")

    def first_failure(self, source, order, writing):
        """Run the tests in an order until one fails, and tell how long each took; return whether one did."""
        silence()
        exchange(self.module, source)
        for number in order:
            start = time.process_time()
            failed = any(report.failed for report in runtestprotocol(self.tests[number], log=False))
            os.write(writing, f"{number} {time.process_time() - start + 1e-3} {failed:d}\n".encode())
            if failed:
                return True
        return False


def explained(module):
    """Return the mutants of a module that no test can notice: `{(line before, line after): reason}`."""
    groups = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else []
    return {tuple(pair): group["reason"] for group in groups if group["module"] == module for pair in group["mutants"]}


def changed_line(before, after):
    """Return the first line that differs, before and after the change, without indentation."""
    lines = zip(before.splitlines(), [*after.splitlines(), ""], strict=False)
    return next((old.strip(), new.strip()) for old, new in lines if old != new)


def run(module):
    """Try all mutants of a module; return whether one was not noticed and is not explained, or is explained in vain."""
    found = Mutants(module)
    if pytest.main([*OPTIONS, *TESTS[module]], plugins=[FirstFailure(), found]):
        return True
    print(f"{module}: {found.count.total()} mutants, {dict(found.count)}", flush=True)
    return found.count["survived"] > 0 or found.explained_in_vain > 0


if __name__ == "__main__":
    if not numba.config.DISABLE_JIT:
        sys.exit("NUMBA_DISABLE_JIT=1 must be set: nothing is to be compiled for a mutant")
    os.chdir(ROOT)
    failed = [module for module in sys.argv[1:] or TESTS if in_child(lambda module=module: run(module), A_DAY)]
    sys.exit(1 if failed else 0)
