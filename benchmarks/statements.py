"""Statements of src/redistill per folder, at any commits: python benchmarks/statements.py e51f579 HEAD

A statement is an `ast.stmt` of a Python file; a docstring is none. `.` stands for the files beside the folders, WORK for the files
as they are in the working tree. --under report: every file of one folder. Only git and the standard library are needed.
"""

import argparse
import ast
import subprocess
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = "src/redistill"
WORK = "WORK"


def statements(text: str) -> int:
    """How many statements a file's text holds."""
    return sum(isinstance(node, ast.stmt) and not _is_docstring(node) for node in ast.walk(ast.parse(text)))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def at_commit(commit: str) -> dict[str, int]:
    """Path below src/redistill -> its statements."""
    if commit == WORK:
        return {path.relative_to(ROOT).as_posix(): statements(path.read_text()) for path in Path(ROOT).rglob("*.py")}
    names = _git("ls-tree", "-r", "--name-only", commit, "--", ROOT).splitlines()
    return {
        name.removeprefix(f"{ROOT}/"): statements(_git("show", f"{commit}:{name}"))
        for name in names
        if name.endswith(".py")
    }


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="+")
    parser.add_argument("--under", help="every file of this folder instead of every folder")
    asked = parser.parse_args()
    columns = []
    for commit in asked.commits:
        counts: Counter[str] = Counter()
        for name, count in at_commit(commit).items():
            if asked.under is None:
                path = PurePosixPath(name)
                counts[path.parts[0] if len(path.parts) > 1 else "."] += count
            elif name.startswith(f"{asked.under.rstrip('/')}/"):
                counts[name] += count
        columns.append(counts)
    print(f"| {'file' if asked.under else 'folder'} | {' | '.join(asked.commits)} |\n|---|{'---:|' * len(columns)}")
    for name in sorted(set().union(*columns)):
        print(f"| {name} | {' | '.join(f'{c[name]:,}' if name in c else '-' for c in columns)} |")
    print(f"| all | {' | '.join(f'{c.total():,}' for c in columns)} |")


if __name__ == "__main__":
    main()
