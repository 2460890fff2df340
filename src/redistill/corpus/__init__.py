"""The corpus room: source rows -> Groups. One reader a source; then merging, deduplication and the accounts.

    SOURCES["traces"](path="mine.jsonl.gz")  ->  Group | Dropped, one for every row, streamed
    collect(room, [source, ...], ...)        ->  shards of Groups in a room, and the ledger

A new source is one function that yields Groups and Dropped, and one line in SOURCES; its keyword-only arguments are its
options in a recipe.
"""

from collections.abc import Callable, Iterator

from redistill.corpus.am import am_deepseek_r1
from redistill.corpus.chat import messages, preference
from redistill.corpus.completions import completions
from redistill.corpus.files import read_rows, resolve
from redistill.corpus.merge import collect, remove_shuffle
from redistill.corpus.openr1 import openr1_math_raw
from redistill.corpus.openthoughts import openthoughts
from redistill.corpus.traces import traces
from redistill.corpus.two_habits import two_habits
from redistill.records import Dropped, Group

SOURCES: dict[str, Callable[..., Iterator[Group | Dropped]]] = {
    "traces": traces,
    "openr1-math-raw": openr1_math_raw,
    "am-deepseek-r1": am_deepseek_r1,
    "openthoughts": openthoughts,
    "messages": messages,
    "preference": preference,
    "completions": completions,
    "two-habits": two_habits,
}

__all__ = ["SOURCES", "collect", "read_rows", "remove_spill", "resolve"]
