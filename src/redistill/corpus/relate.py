"""Between reading and merging: which problems are near-duplicates, and which are a benchmark's.

    sign(folder, benchmarks, admitted)   one shard's distinct problems -> signs.npz, statements.bin, leaks.json
    relate(shuffle, near="report", ...)    all signs -> relations.json of each shard: who goes into whom
    move(shuffle, index)                   a shard's rows that go into a problem of another shard, moved there

Three degrees. The same tokens, or the same but for words without weight ("find", "the"): merged unless the gold answers
differ. Alike (MinHash finds them, the exact Jaccard similarity decides), with equal numbers, signs and turning words in
the same order and equal gold answers: merged or only listed, as the recipe says; templated puzzles can pass all of it. No
degree merges problems with different pictures.

Memory of `relate`: about 60 bytes a distinct problem, and what `near` finds; statements stay on disk.
Source of MinHash and its bands: Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3.
"""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import rensa
import zstandard

from redistill.corpus.decontaminate import Benchmarks
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json, writing
from redistill.records import Problem, content_id
from redistill.text.statements import anchors, answer_key, content, normal, shingles, similarity

Near = Literal["merge", "report", "off"]

BANDS, ROWS = 16, 4  # of the MinHash: statements 0.8 alike share a band with probability 1 - (1 - 0.8^4)^16 = 0.9998
_WINDOW = 8  # candidates of a statement in a band: its neighbours by id
_CONTESTED = 1  # the answer key of a problem whose own rows disagree; it is merged with none


def statement_line(problem: Problem) -> bytes:
    """One line of a shard's *.statements files, which hold what is needed of every row to relate its problem."""
    pictures = [image.sha256 for image in problem.images]
    return json.dumps([problem.id, problem.statement, problem.answer, pictures]).encode() + b"\n"


def frame(rows: Iterable[bytes]) -> bytes:
    """Lines as one zstd frame with a checksum, which whoever reads it checks."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(b"".join(rows))


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a zstd file, frame after frame. OperatorError where a frame has changed or is cut short."""
    try:
        with io.BufferedReader(pa.input_stream(str(path), compression="zstd"), 2**20) as file:
            yield from file
    except OSError as error:
        raise OperatorError(f"{path} is damaged ({error}). Run its recipe again to rebuild it.") from error


# --- one shard's problems -> their signs --------------------------------------------------------------------------


def sign(
    folder: Path,
    benchmarks: Benchmarks | None,
    admitted: Callable[[str], bool],
    leaks: Literal["remove", "report"] = "remove",
    shows_images: bool = False,
) -> None:
    """Sign the distinct problems of one shard that are admitted, in the order of their ids.

    Those of a benchmark are written down as leaks, and signed only where leaks are not removed. shows_images: the student sees the
    images of a problem, so its words alone ("how many chairs are there?") say nothing of a leak and are not looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problems: dict[str, tuple[str, str | None, bool]] = {}
    pictures: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.statements")):
        for line in lines(path):
            problem_id, statement, answer, pictures[problem_id] = json.loads(line)
            known = problems.get(problem_id)
            if known is None:
                problems[problem_id] = (statement, answer, False)
            else:  # of rows that differ in white space one statement is taken, whatever their order
                contested = known[2] or _differ(known[1], answer)
                first = known[1] if known[1] is not None else answer
                problems[problem_id] = (min(statement, known[0]), first, contested)
    signature: dict[str, Any] = {}
    signed: list[tuple[int, int, int, int]] = []
    bands: list[list[int]] = []
    offsets, statements = [0], io.BytesIO()
    for problem_id, (statement, answer, contested) in sorted(problems.items()):
        if not admitted(problem_id):
            continue
        by_words = not (shows_images and pictures[problem_id])
        if benchmarks is not None and by_words and (leak := benchmarks.find(statement)) is not None:
            action = "dropped" if leaks == "remove" else "listed"
            signature[problem_id] = {**asdict(leak), "own_statement": statement, "action": action}
            if leaks == "remove":
                continue
        tokens = normal(statement)
        key = _CONTESTED if contested else 0 if answer is None else _number(answer_key(answer)) | 2
        own = [f"\0{sha256}" for sha256 in pictures[problem_id]]  # beside the words: other pictures, another problem
        words, turns = _number(*content(tokens), *own), _number(*anchors(tokens), *own)
        signed.append((int(problem_id[1:], 16), words, turns, key))
        bands.append(_bands(shingles(tokens)))
        statements.write(statement.encode("utf-8", "replace"))
        offsets.append(statements.tell())
    table = np.array(signed, dtype=np.uint64).reshape(-1, 4)
    with writing(folder):  # plain writes here and below: where the first pass is cut short, all of it is done again
        np.savez(folder / "signs.npz", table=table, offsets=np.array(offsets, dtype=np.int64))
        np.save(folder / "bands.npy", np.array(bands, dtype=np.uint64).reshape(-1, BANDS).T)
        (folder / "statements.bin").write_bytes(statements.getvalue())
    write_json(folder / "leaks.json", signature)


def _differ(first: str | None, later: str | None) -> bool:
    return first is not None and later is not None and answer_key(first) != answer_key(later)


def _number(*parts: str) -> int:
    return int(content_id("", *parts), 16)


def _bands(pieces: set[str]) -> list[int]:
    """One number a band: equal where all minima of the band are."""
    minhash = rensa.RMinHash(num_perm=BANDS * ROWS, seed=42)
    minhash.update(sorted(pieces))
    minima = np.array(minhash.digest(), dtype=np.uint64).reshape(BANDS, ROWS)
    mixed = np.zeros(BANDS, dtype=np.uint64)
    for column in minima.T:
        mixed = _mix(mixed, column)
    return mixed.tolist()


def _mix(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A 64-bit hash of two columns of numbers (the finalizer of SplitMix64), wrapping around."""
    with np.errstate(over="ignore"):
        mixed = (one ^ (other + np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


# --- all signs -> who goes into whom ------------------------------------------------------------------------------


def relate(shuffle: Path, num_shards: int, *, near: Near, threshold: float) -> dict[int, int]:
    """Write relations.json into every shard's folder; returns how many problems each shard must move away.

    {"into": {id: leader's id} of those whose leader is here, "away": {id: shard of its leader},
     "alike": [[id, leader's id, similarity, statement, leader's statement]] where they are only listed}
    Of several problems that are one, the one with the smallest id leads, of those that have a gold answer where any has;
    the result does not depend on any order.
    """
    signs = [np.load(shuffle / f"{index:05d}" / "signs.npz") for index in range(num_shards)]
    table = np.concatenate([sign_["table"] for sign_ in signs])
    starts = np.cumsum([0] + [len(sign_["table"]) for sign_ in signs])
    leader = np.arange(len(table))  # the ids are sorted, so a smaller place is a smaller id
    for run in _runs(table[:, 1]):
        _lead(run, table[:, 3], leader)
    store = _StatementStore(shuffle, starts, [sign_["offsets"] for sign_ in signs])
    alike: list[tuple[int, int, float]] = []
    if near != "off":
        for one, other, share in _alike(shuffle, table, leader, store, threshold):
            if near == "merge":
                leader[other] = one
            else:
                alike.append((other, one, share))
    while (leader[leader] != leader).any():  # a problem that others go into has gone into one itself
        leader = leader[leader]
    return _write(shuffle, table, starts, leader, alike, store)


def _runs(keys: np.ndarray) -> Iterator[np.ndarray]:
    """The places of each key that comes twice or more, rising."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    sizes = np.diff(np.concatenate(([0], edges, [len(order)])))
    begins = np.concatenate(([0], edges))
    for begin, size in zip(begins[sizes > 1], sizes[sizes > 1]):
        yield order[begin : begin + size]


def _lead(run: np.ndarray, answers: np.ndarray, leader: np.ndarray) -> None:
    """One leader for each gold answer of the run; those without an answer join it only where there is one."""
    by_answer: defaultdict[int, list[int]] = defaultdict(list)
    for place in run:
        by_answer[int(answers[place])].append(int(place))
    by_answer.pop(_CONTESTED, None)
    unknown = by_answer.pop(0, [])
    for places in by_answer.values():
        leader[places] = places[0]
    if len(by_answer) == 1:
        leader[unknown] = next(iter(by_answer.values()))[0]
    elif not by_answer and unknown:
        leader[unknown] = unknown[0]


class _StatementStore:
    """Statements on disk, by place."""

    def __init__(self, shuffle: Path, starts: np.ndarray, offsets: list[np.ndarray]) -> None:
        self.shuffle, self.starts, self.offsets = shuffle, starts, offsets

    def __getitem__(self, place: int) -> str:
        shard = int(np.searchsorted(self.starts, place, side="right")) - 1
        begin, end = self.offsets[shard][place - self.starts[shard] :][:2]
        with open(self.shuffle / f"{shard:05d}" / "statements.bin", "rb") as file:
            file.seek(begin)
            return file.read(end - begin).decode("utf-8")


def _alike(
    shuffle: Path, table: np.ndarray, leader: np.ndarray, store: _StatementStore, threshold: float
) -> Iterator[tuple[int, int, float]]:
    """(leader, other, similarity) of statements that are alike and agree in anchors and in a known gold answer.

    Only those who lead are compared, each other one is given once, and none leads and follows.
    """
    free = (leader == np.arange(len(table))) & (table[:, 3] > _CONTESTED)
    leads = np.zeros(len(table), dtype=bool)
    key = _mix(table[:, 2], table[:, 3])
    paths = [p for p, size in zip(sorted(shuffle.glob("*/bands.npy")), np.diff(store.starts)) if size]
    for band in range(BANDS if paths else 0):
        columns = [np.load(path, mmap_mode="r")[band] for path in paths]
        places = np.flatnonzero(free)
        for run in _runs(_mix(np.concatenate(columns)[places], key[places])):
            members = [int(places[place]) for place in run]
            for at, other in enumerate(members):
                for one in members[max(0, at - _WINDOW) : at]:
                    if leads[other] or not free[other] or not free[one]:
                        continue
                    share = similarity(store[one], store[other])
                    if share >= threshold:
                        leads[one], free[other] = True, False
                        yield one, other, share


def _write(
    shuffle: Path,
    table: np.ndarray,
    starts: np.ndarray,
    leader: np.ndarray,
    alike: list[tuple[int, int, float]],
    store: _StatementStore,
) -> dict[int, int]:
    followers = np.flatnonzero(leader != np.arange(len(table)))
    shard_of = np.searchsorted(starts, np.arange(len(table)), side="right") - 1
    listed: defaultdict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for other, one, share in alike:
        listed[shard_of[one]].append((other, one, share))
    moves: dict[int, int] = {}
    led = followers[np.argsort(leader[followers], kind="stable")]  # by the shard of their leader
    for index in range(len(starts) - 1):
        mine = followers[(followers >= starts[index]) & (followers < starts[index + 1])]
        away = {_id(table, place): int(shard_of[leader[place]]) for place in mine if shard_of[leader[place]] != index}
        low, high = np.searchsorted(leader[led], [starts[index], starts[index + 1]])
        into = {_id(table, place): _id(table, leader[place]) for place in led[low:high]}
        pairs = [[_id(table, o), _id(table, one), share, store[o], store[one]] for o, one, share in listed[index]]
        relations = {"into": into, "away": away, "alike": pairs}
        write_json(shuffle / f"{index:05d}" / "relations.json", relations)
        if away:
            moves[index] = len(away)
    return moves


def _id(table: np.ndarray, place: int) -> str:
    return f"p{int(table[place, 0]):016x}"


# --- rows that go into a problem of another shard -----------------------------------------------------------------


def move(shuffle: Path, index: int) -> None:
    """Write the rows of a shard that belong to a leader elsewhere into that shard's folder, in their order.

    They stay here too, where the merge passes them by.
    """
    folder = shuffle / f"{index:05d}"
    away = {problem_id.encode(): shard for problem_id, shard in read_json(folder / "relations.json")["away"].items()}
    held: defaultdict[int, list[bytes]] = defaultdict(list)
    for path in sorted(folder.glob("[0-9]*.zst")):
        for line in lines(path):
            shard = away.get(row_problem(line))
            if shard is not None:
                held[shard].append(line)
    for shard, rows in held.items():
        target = shuffle / f"{shard:05d}" / f"moved-{index:05d}.zst"
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(frame(rows))


def row_problem(line: bytes) -> bytes:
    """The problem id at the beginning of a row of the shuffle, read without its traces: {"id": "p0123456789abcdef", ..."""
    return line[8:25]
