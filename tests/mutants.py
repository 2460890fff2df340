"""Mutation tests: change one thing in a file that decides something, and see whether the tests that mirror the file notice.

    python tests/mutants.py                                       every file of TARGETS; `make mutants`
    python tests/mutants.py verify/policy.py evaluate/scores.py   these
    python tests/mutants.py train/step.py --most 40 --seed 1      a random 40 mutants of it
    python tests/mutants.py verify/exact.py --lines 90-140        those of these lines
    python tests/mutants.py verify/exact.py --again report.txt    those that survived in a run before, whose output this is

Each survivor is printed as the line, what it was and what it became: a line that nothing tests, a test that cannot fail,
or a change that changes nothing (then a comment at the line says why). Not in CI: a second or two for each mutant.

Why not mutmut or cosmic-ray: what counts here is the file that mirrors the source, not whichever test notices first; the
parent loads torch once and forks for each mutant, which cosmic-ray would load anew each time; no file on disk is changed, so
other processes may use the tree; and mutmut's trampolines are seen by what reads our own source (cache keys, plug-in options).
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src"
TRAIN = ("train/test_objectives.py",)
# A source file and the tests that must notice what is wrong in it.
TARGETS: dict[str, tuple[str, ...]] = {
    "train/objectives/actions.py": ("train/test_actions.py",),
    "train/objectives/calling.py": (*TRAIN, "train/test_token_batch.py"),
    "train/objectives/distillation.py": ("train/test_distillation.py",),
    "train/objectives/implicit.py": ("train/test_implicit.py",),
    "train/objectives/likelihood.py": TRAIN,
    "train/objectives/policy.py": ("train/test_policy.py", "train/test_oreal.py"),
    "train/objectives/preference.py": TRAIN,
    "train/objectives/scores.py": ("train/test_scores.py",),
    "train/objectives/unpaired.py": TRAIN,
    "train/action_advantages.py": ("train/test_actions.py",),
    "train/advantages.py": ("train/test_advantages.py",),
    "train/step.py": ("train/test_step.py", "train/test_step_figures.py", "train/test_distillation.py"),
    "select/pairing.py": ("select/test_pairing.py", "select/test_keep.py"),
    "evaluate/scores.py": ("evaluate/test_scores.py", "evaluate/test_refused_answers.py", "evaluate/test_choose.py"),
    "verify/policy.py": ("verify/test_policy.py",),
    "verify/exact.py": (
        "verify/test_exact.py",
        "verify/test_types.py",
        "verify/test_field_notations.py",
        "verify/test_quantities.py",
    ),
    "verify/cascade.py": (
        "verify/test_cascade.py",
        "verify/test_notations.py",
        "verify/test_quantities.py",
        "verify/test_field_notations.py",
        "verify/test_symbol_rows.py",
    ),
    "io/atomic.py": (
        "io/test_atomic.py",
        "io/test_output_places.py",
        "faults/test_damage.py",
        "io/test_stage_folder.py",
    ),
    "io/stage_folder.py": ("io/test_stage_folder.py", "faults/test_damage.py"),
    "io/parquet.py": ("io/test_schemas.py", "io/test_joined.py", "faults/test_damage.py", "io/test_stage_folder.py"),
}
LIBRARIES = ("torch", "transformers", "accelerate", "numpy", "scipy.optimize", "pyarrow.parquet", "pydantic", "hypothesis",
             "pytest", "sympy", "math_verify", "httpx2")  # fmt: skip

COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
            ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
            ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}  # fmt: skip

Change = Callable[[ast.AST], ast.AST]


def changes_of(node: ast.AST) -> Iterator[Change]:
    """The ways in which one node may be wrong: each makes the wrong node from a copy."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            if type(operator) in COMPARED:
                yield lambda n, p=place: _with(n, ops=[*n.ops[:p], COMPARED[type(n.ops[p])](), *n.ops[p + 1 :]])
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COMPUTED:
        text = isinstance(node, ast.BinOp) and any(_is_text(side) for side in (node.left, node.right))
        if not text:
            yield lambda n: _with(n, op=COMPUTED[type(n.op)]())
    elif isinstance(node, ast.BoolOp):
        yield lambda n: _with(n, op=ast.Or() if isinstance(n.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield lambda n: n.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: _with(n, value=not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield lambda n: _with(n, value=n.value + 1)
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield lambda n: _with(n, test=ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield lambda n: ast.Pass()
    elif isinstance(node, ast.Continue | ast.Break):
        yield lambda n: ast.Break() if isinstance(n, ast.Continue) else ast.Continue()


def _with(node: Any, **fields: Any) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def places_of(tree: ast.Module) -> list[tuple[int, int]]:
    """(number of the node in the order of ast.walk, number of its change) of every mutant. What is only written for a reader
    is left alone: annotations, and the texts of messages."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        written = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        written += [node] if isinstance(node, ast.JoinedStr) else []
        for part in written:
            skipped |= {id(inner) for inner in ast.walk(part)} if part is not None else set()
    nodes = enumerate(ast.walk(tree))
    return [(place, n) for place, node in nodes if id(node) not in skipped for n, _ in enumerate(changes_of(node))]


def mutated(tree: ast.Module, place: tuple[int, int]) -> tuple[ast.Module, int, str, str]:
    """The module with one node changed, and for the reader (line, what it was, what it became)."""
    tree = copy.deepcopy(tree)
    wanted = next(node for number, node in enumerate(ast.walk(tree)) if number == place[0])
    line, before = wanted.lineno, _short(wanted)  # type: ignore[attr-defined]
    change = list(changes_of(wanted))[place[1]]

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return change(node) if node is wanted else self.generic_visit(node)

    tree = Swap().visit(tree)
    ast.fix_missing_locations(tree)
    nodes = {id(node) for node in ast.walk(tree)}
    after = "nothing" if id(wanted) not in nodes else _short(wanted)
    if isinstance(wanted, ast.UnaryOp):
        after = _short(wanted.operand)
    return tree, line, before, after


def _short(node: ast.AST) -> str:
    text = ast.unparse(node.test if isinstance(node, ast.If | ast.While) else node)
    return " ".join(text.split())[:110]


class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self, module: str, path: Path, tree: ast.Module) -> None:
        self.module, self.path, self.tree = module, path, tree

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.module:
            return None
        package = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, self.path, loader=self, submodule_search_locations=package)

    def exec_module(self, module: Any) -> None:
        exec(compile(self.tree, str(self.path), "exec"), vars(module))


def outcome(module: str, path: Path, tree: ast.Module, tests: list[str], seconds: float) -> str:
    """survived, killed or hung: the mirroring tests in a forked process that loads the changed module."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:  # a process that hung leaves its folders here
        return _outcome(module, path, tree, tests, seconds, scratch)


def _outcome(module: str, path: Path, tree: ast.Module, tests: list[str], seconds: float, scratch: str) -> str:
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.alarm(int(seconds) + 60)  # also where the parent has been killed
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        sys.meta_path.insert(0, Loader(module, path, tree))
        os.environ["TMPDIR"], tempfile.tempdir = scratch, None
        code = 1
        try:
            import pytest

            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", *tests]))
        finally:
            os._exit(code)
    ended = select.poll()
    descriptor = os.pidfd_open(child)
    ended.register(descriptor, select.POLLIN)
    hung = not ended.poll(1000 * seconds)
    if hung:
        os.killpg(child, signal.SIGKILL)
    os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "hung" if hung else "survived" if code == 0 else "killed"


def survivors_of(report: Path, file: str) -> set[tuple[str, str]]:
    """(what it was, what it became) of each survivor that the output of a run before names for a file. The line is not
    asked for, since lines move: `0  ->  1` is every zero of the file."""
    line_of = re.compile(rf"{re.escape(file)}:\d+: (.*?)  ->  (.*)")
    return {
        (match[1], match[2]) for line in report.read_text("utf-8").splitlines() if (match := line_of.fullmatch(line))
    }


def examine(file: str, options: argparse.Namespace) -> tuple[int, int]:
    """(mutants, survivors) of one file, with each survivor printed. SystemExit where its tests fail as they are."""
    path = SOURCE / "redistill" / file
    module = "redistill." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    tests = [str(TESTS / name) for name in TARGETS[file]]
    tree = ast.parse(path.read_text("utf-8"))
    started = time.monotonic()
    if outcome(module, path, tree, tests, 600) != "survived":
        raise SystemExit(f"{file}: its tests fail without any change: {' '.join(TARGETS[file])}")
    seconds = 10 + 4 * (time.monotonic() - started)
    places, nodes = places_of(tree), list(ast.walk(tree))
    if options.lines:
        first, last = options.lines
        places = [place for place in places if first <= nodes[place[0]].lineno <= last]  # type: ignore[attr-defined]
    if options.most is not None and options.most < len(places):
        places = sorted(random.Random(options.seed).sample(places, options.most))
    survived = survivors_of(options.again, file) if options.again else None
    mutants = survivors = 0
    for place in places:
        changed, line, before, after = mutated(tree, place)
        if survived is not None and (before, after) not in survived:
            continue
        mutants += 1
        if outcome(module, path, changed, tests, seconds) == "survived":
            survivors += 1
            print(f"{file}:{line}: {before}  ->  {after}", flush=True)
    print(f"{file}: {mutants} mutants, {survivors} survived, {(time.monotonic() - started) / 60:.1f} min", flush=True)
    return mutants, survivors


def _lines(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def main() -> None:
    """Examine the files named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="below src/redistill; default: all that are known here"
    )
    parser.add_argument("--most", type=int, help="mutants of a file at most, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=_lines, metavar="FROM-TO", help="mutants of these lines only")
    parser.add_argument("--again", type=Path, metavar="REPORT", help="only what survived in the run that printed this")
    options = parser.parse_args()
    if unknown := [file for file in options.files if file not in TARGETS]:
        parser.error(f"no tests are known to mirror {', '.join(unknown)}; write them into TARGETS")
    sys.path.insert(0, str(SOURCE))
    for name in LIBRARIES:
        importlib.import_module(name)
    counts = [examine(file, options) for file in options.files or TARGETS]
    print(f"{sum(n for n, _ in counts)} mutants, {sum(s for _, s in counts)} survived")


if __name__ == "__main__":
    main()
