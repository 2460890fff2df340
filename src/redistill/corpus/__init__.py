"""The corpus stage: source rows -> Groups. One reader per source layout; then merging, deduplication and the accounts.

SOURCES["traces"](path="mine.jsonl.gz")  ->  Group | Dropped, one for every row, streamed
collect(folder, [source, ...], ...)      ->  shards of Groups in a stage's folder, and the ledger
"""

from redistill.corpus.sources import FOLDERS, SOURCES, VISUAL
from redistill.corpus.sources.files import read_rows, resolve
from redistill.corpus.stage import collect, remove_shuffle

__all__ = ["FOLDERS", "SOURCES", "VISUAL", "collect", "read_rows", "remove_shuffle", "resolve"]
