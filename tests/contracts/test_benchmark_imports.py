"""Benchmarks and experiments are run by hand, so nothing else would notice that a name they import has moved."""

import ast
import importlib
import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_name_that_benchmarks_and_experiments_import_is_there():
    missing = []
    for path in sorted(
        [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("experiments/**/*.py"), *ROOT.glob("examples/**/*.py")]
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "redistill":
                continue
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name) and not importlib.util.find_spec(f"{node.module}.{alias.name}"):
                    missing.append(f"{path.relative_to(ROOT)}: {node.module}.{alias.name}")
    assert not missing, missing
