"""Problems whose gold answer is one of several right ones: another answer is not wrong by being another.

is_one_of_several(problem of the task word_ladder)    ->  True: many ladders lead from COLD to WARM
"""

from collections.abc import Mapping
from typing import Any

from redistill.records import Problem

# Tasks of reasoning-gym whose gold answer is one of several right ones: without a scorer nobody can call another answer wrong.
SEVERAL = frozenset(
    ("boxnet", "cryptarithm", "graph_color", "group_anagrams", "jugs", "kakurasu", "knight_swap", "n_queens", "palindrome",
     "palindrome_generation", "palindrome_partitioning", "propositional_logic", "quantum_lock", "rubiks_cube", "rush_hour",
     "shortest_path", "sokoban", "survo", "tower_of_hanoi", "word_ladder")
)  # fmt: skip


def task_of(problem: Problem) -> str | None:
    """The task that a problem's metadata names; of a problem of reasoning-gym the name of its data set."""
    return named_task(problem.metadata)


def named_task(metadata: Mapping[str, Any]) -> str | None:
    """The task that a problem's metadata names: `source_dataset` (as reasoning-gym writes it), `task` or `dataset`."""
    for table in (entry_metadata(metadata), metadata):
        for key in ("source_dataset", "task", "dataset"):
            if isinstance(name := table.get(key), str) and name:
                return name
    return None


def is_one_of_several(problem: Problem) -> bool:
    """Whether another answer than the gold one may be right: by the table SEVERAL, or `several_answers` of the metadata."""
    return problem.metadata.get("several_answers") is True or task_of(problem) in SEVERAL


def entry_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of the package's own entry, which may be a table of its own in the problem's."""
    entry = metadata.get("entry")
    for inner in (entry.get("metadata") if isinstance(entry, dict) else None, entry, metadata.get("metadata")):
        if isinstance(inner, dict):
            return inner
    return metadata
