"""What customers bought, in order -> queries "what comes next", with held-out customers or held-out last purchases.

    for history in histories("beauty/"): ...            History("A2K", ("B01", "B07", "B09"), "interactions.csv:1")
    next_purchase(history, titles, Cut("train"))        Query("A2K", "shampoo\\nbrush", {"B09": 1.0})

A folder with `interactions` (.jsonl, .csv or .tsv, each also .gz), a line per purchase: customer, item, time; and corpus.jsonl,
the items as documents. `made:shop` is made on the spot.

    inductive      a share of the customers is held out whole; of both kinds the last purchase is what is asked
    transductive   all customers are trained on, with the purchase before their last one as the target; the last one is the test's
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redistill.errors import OperatorError
from redistill.retrieval import toy
from redistill.retrieval.collection import MADE, Query, files_of, jsonl, opened
from redistill.safety.paths import home_path

Users = Literal["inductive", "transductive"]
SUFFIXES = (".jsonl", ".csv", ".tsv")
MAX_TITLE = 300  # characters of an item in a history


@dataclass(frozen=True, slots=True)
class History:
    """A customer's purchases by time, equal times in the order of the file; `row` is where the first was read."""

    user: str
    items: tuple[str, ...]
    row: str


@dataclass(frozen=True, slots=True)
class Cut:
    """Which customers and which of their purchases are asked. test_users: the share that inductive holds out, by a hash of
    (seed, customer). last: how many purchases before the asked one are listed, with `separator` between them."""

    split: Literal["train", "test"] = "train"
    users: Users = "inductive"
    test_users: float = 0.1
    last: int = 10
    seed: int = 0
    separator: str = "\n"


def histories(
    address: str,
    *,
    user_column: str = "user_id",
    item_column: str = "item_id",
    time_column: str = "timestamp",
    count: int = 1_200,
    shuffled: bool = False,
) -> Iterator[History]:
    """The histories by customer, in the order in which customers appear. count, shuffled: of a made shop (toy.histories).
    OperatorError for a file that cannot be read, or without one of these columns."""
    if address.startswith(MADE):
        for user, items in toy.histories(address, count, shuffled=shuffled):
            yield History(user, tuple(items), f"{address}:{user}")
        return
    path = interactions_file(address)
    bought: dict[str, list[tuple[float, str]]] = {}
    rows: dict[str, str] = {}
    for row, table in _rows(path):
        if missing := [name for name in (user_column, item_column, time_column) if table.get(name) in (None, "")]:
            raise OperatorError(f"{row}: no {missing[0]!r}; name the columns: user_column, item_column, time_column.")
        try:
            when = float(table[time_column])
        except (TypeError, ValueError) as error:
            raise OperatorError(f"{row}: {time_column!r} must be a number (got {table[time_column]!r}).") from error
        user = str(table[user_column])
        bought.setdefault(user, []).append((when, str(table[item_column])))
        rows.setdefault(user, row)
    for user, purchases in bought.items():
        yield History(user, tuple(item for _, item in sorted(purchases, key=lambda one: one[0])), rows[user])


def next_purchase(history: History, titles: Mapping[str, str], cut: Cut) -> Query | str:
    """The query of a customer, or why there is none: `held_out` or `not_held_out` (of the other split), `short_history` (nothing
    bought before the target), `unknown_item` (the target is not a document)."""
    place = len(history.items) - 1
    if cut.users == "transductive":
        place -= cut.split == "train"
    elif is_held_out(history.user, cut) != (cut.split == "test"):
        return "held_out" if cut.split == "train" else "not_held_out"
    if place < 1:
        return "short_history"
    target, before = history.items[place], history.items[max(0, place - cut.last) : place]
    if target not in titles:
        return "unknown_item"
    titles_before = [titles.get(item, item)[:MAX_TITLE] for item in before]
    return Query(history.user, cut.separator.join(titles_before), {target: 1.0}, history.row)


def is_held_out(user: str, cut: Cut) -> bool:
    """Whether inductive keeps this customer for the test: a hash of (seed, customer), whatever the others are."""
    digest = hashlib.sha256(f"{cut.seed}\0{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < cut.test_users * 2**64


def history_files(address: str) -> list[Path]:
    """The files that are read: purchases and items. None of a made shop."""
    return files_of(address) if address.startswith(MADE) else [interactions_file(address), *files_of(address)]


def interactions_file(address: str) -> Path:
    """The file of purchases in a folder. OperatorError where there is none."""
    folder = home_path(address)
    for suffix in SUFFIXES:
        for path in (folder / f"interactions{suffix}", folder / f"interactions{suffix}.gz"):
            if path.is_file():
                return path
    raise OperatorError(f"{folder} holds no file interactions.jsonl, .csv or .tsv with a line per purchase.")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if ".jsonl" in path.suffixes:
        yield from jsonl(path)
        return
    with opened(path) as file:
        try:
            for number, row in enumerate(csv.DictReader(file, delimiter="\t" if ".tsv" in path.suffixes else ","), 2):
                yield f"{path.name}:{number}", row
        except csv.Error as error:
            raise OperatorError(f"cannot read {path}: {error}.") from error
