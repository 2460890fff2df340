"""A corpus with planted defects through the pipeline of AM: precision and recall of each filter, printed beside what was planted.

    python benchmarks/planted_corpus.py [--rows 2000] [--seed 0] [--encoder hashing] [--workers 2] [--keep FOLDER]

Sums told in words and little programs, of three origins in three layouts. Every row is sound or has one defect; of a copy, a retold
problem and a leak the original is another row. What each row came to is read from the run's own files: the corpus's origins, the
verdicts, and the reasons of select. A row that is not an example for another reason than the planted one counts against both filters.
"""

import argparse
import collections
import json
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill import api
from redistill.io.parquet import read_records
from redistill.records import make_problem
from redistill.score.encoders import open_encoder
from redistill.score.near_duplicates import find_repeats

NAMES = (
    "Ada",
    "Ben",
    "Cleo",
    "Dan",
    "Eva",
    "Finn",
    "Gus",
    "Hana",
    "Ivan",
    "June",
    "Kim",
    "Liam",
    "Mona",
    "Nils",
    "Olga",
    "Pete",
    "Quin",
    "Rosa",
    "Sven",
    "Tess",
    "Uma",
    "Vera",
    "Walt",
    "Xenia",
    "Yann",
    "Zoe",
    "Amir",
    "Bela",
    "Carl",
    "Dina",
    "Emil",
    "Fay",
)
THINGS = (
    "apples",
    "pears",
    "plums",
    "cards",
    "coins",
    "shells",
    "stamps",
    "books",
    "pencils",
    "marbles",
    "buttons",
    "beads",
    "stones",
    "ribbons",
    "cakes",
    "tickets",
    "photos",
    "spoons",
    "cups",
    "kites",
    "drums",
    "boots",
    "gloves",
    "scarves",
    "candles",
)
PLACES = (
    "attic",
    "garden",
    "cellar",
    "school",
    "market",
    "harbour",
    "library",
    "kitchen",
    "station",
    "bakery",
    "theatre",
    "museum",
)
ASKED = "{name} keeps {a} {thing} in the {place} and finds {b} others there. How many {thing} does {name} have?"
RETOLD = (
    "In the {place} {name} stores {a} {thing}. Then {b} others turn up there. How many {thing} does {name} own?",
    "There are {a} {thing} of {name} in the {place}, and {name} finds {b} others. How many {thing} is that?",
    "{name} has {a} {thing}, and {b} others come to light in the {place}: how many {thing} has {name} got?",
)
THOUGHTS = (
    "First I look at what {name} has: {a} {thing} lie in the {place}.",
    "The question tells of {b} further {thing} that {name} comes across.",
    "So I have to put {a} and {b} together.",
    "Counting up from {a} by {b} leads to {c}.",
    "As a check, {c} less {b} is {a}, which is what {name} began with.",
    "Nothing else happens to the {thing} in the {place}.",
    "I am sure of the two figures, {a} and {b}.",
    "Hence {name} has {c} {thing}.",
)
FRENCH = (
    "Je regarde d'abord ce que possede {name}, soit {a} objets ranges avec soin dans la maison. Ensuite il faut ajouter les {b} autres "
    "qui ont ete trouves un peu plus tard par hasard. La somme de ces deux nombres est donc egale a {c}, et c'est la reponse que nous "
    "cherchons depuis le debut de cet exercice, sans aucun doute possible."
)
BOILERPLATE = (
    "Before I begin I want to say that as a careful and helpful assistant I always read the whole question twice and then "
    "write down everything that is given in it."
)
PROGRAMS = {  # of a task "read two numbers and print ...": what the program does
    "code_right": "a, b = map(int, input().split())\nprint({wanted})",
    "code_wrong": "a, b = map(int, input().split())\nprint({wanted} + 1)",
    "code_crash": "a, b = map(int, input().split())\nprint({wanted} // (a - a))",
    "code_loop": "a, b = map(int, input().split())\nwhile a == a:\n    b += 1\nprint({wanted})",
    "code_fork": "import os\nwhile True:\n    os.fork()",
}

# share of the rows, and what finds the defect: the reasons that count as found
PLANTED: dict[str, tuple[float, frozenset[str]]] = {
    "sound": (0.44, frozenset()),
    "copy": (0.06, frozenset({"duplicate_trace"})),
    "retold": (0.06, frozenset({"completion_score_too_high:near-duplicates"})),
    "twin": (0.05, frozenset()),  # another number
    "same_numbers": (0.02, frozenset()),  # another question with the numbers of an original
    "leak": (0.04, frozenset({"in_benchmark"})),
    "odd_notation": (0.05, frozenset()),
    "wrong_answer": (0.06, frozenset({"verdict:incorrect"})),
    "broken_tags": (0.04, frozenset({"broken_tags", "completion_malformed_tags", "completion_unfinished_thinking"})),
    "loop": (0.04, frozenset({"completion_repetition"})),
    "language": (0.04, frozenset({"completion_other_language"})),
    "boilerplate": (0.03, frozenset({"completion_score_too_high:corpus-ngram"})),
    "no_thinking": (0.02, frozenset({"completion_no_thinking"})),
    "code_right": (0.02, frozenset()),
    "code_wrong": (0.01, frozenset({"verdict:incorrect"})),
    "code_crash": (0.01, frozenset({"verdict:incorrect"})),
    "code_loop": (0.005, frozenset({"verdict:timeout"})),
    "code_fork": (0.005, frozenset({"verdict:timeout"})),
}
OF_AN_ORIGINAL = ("copy", "retold", "twin", "same_numbers")


@dataclass(slots=True)
class Planted:
    """Rows by file, the benchmark's problems, and the defect of each row by (file, completion and statement)."""

    files: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"am": [], "thoughts": [], "plain": []})
    benchmark: list[dict[str, str]] = field(default_factory=list)
    defects: list[tuple[str, int, str]] = field(default_factory=list)  # (file, place in it, defect)


def plant(rows: int, seed: int, *, span: tuple[int, int] = (101, 5000)) -> Planted:
    """A corpus of so many rows, its sums of numbers within `span`. The same seed gives the same rows."""
    draw, made = random.Random(seed), Planted()
    used: set[tuple[Any, ...]] = set()

    def numbers() -> dict[str, Any]:
        while True:
            given = {"name": draw.choice(NAMES), "thing": draw.choice(THINGS), "place": draw.choice(PLACES)}
            given |= {"a": draw.randrange(*span), "b": draw.randrange(*span)}
            key = tuple(given.values())
            if key not in used:
                used.add(key)
                return {**given, "c": given["a"] + given["b"]}

    def add(
        file: str, defect: str, statement: str, answer: str | None, thinking: str, said: str, tests: Any = None
    ) -> None:
        made.defects.append((file, len(made.files[file]), defect))
        made.files[file].append(LAYOUTS[file](statement, answer, thinking, said, tests))

    counts = {defect: max(1, round(share * rows)) for defect, (share, _) in PLANTED.items()}
    counts["sound"] = max(1, rows - sum(count for defect, count in counts.items() if defect != "sound"))
    originals: list[tuple[dict[str, Any], str]] = []
    for defect, count in counts.items():
        for _ in range(count):
            if defect.startswith("code_"):
                add("am", defect, *_program(defect, draw, used))
                continue
            given = numbers()
            file = draw.choice(("am", "thoughts", "plain"))
            if defect in OF_AN_ORIGINAL:  # of a row of the first origin
                other, (given, thinking) = given, originals.pop()
                file = draw.choice(("thoughts", "plain"))
                if defect == "twin":
                    given = {**given, "b": given["b"] + 100, "c": given["c"] + 100}
                if defect == "same_numbers":
                    given = {**given, **{what: other[what] for what in ("name", "thing", "place")}}
                if defect != "copy":
                    thinking = _thinking(given, draw)
            else:
                thinking = _thinking(given, draw)
            statement = (draw.choice(RETOLD) if defect == "retold" else ASKED).format(**given)
            if defect == "sound" and len(originals) < sum(counts[one] for one in OF_AN_ORIGINAL):
                file = "am"
                originals.append((given, thinking))
            add(file, defect, statement, str(given["c"]), *_text(defect, given, thinking, statement, draw, made))
    return made


def _thinking(given: Mapping[str, Any], draw: random.Random) -> str:
    first, *rest = THOUGHTS
    return " ".join(text.format(**given) for text in (first, *draw.sample(rest, 5)))


def _text(
    defect: str, given: Mapping[str, Any], thinking: str, statement: str, draw: random.Random, made: Planted
) -> tuple[str, str]:
    """(thinking, what is said behind it) of a row with this defect."""
    right = f"{given['name']} has \\boxed{{{given['c']}}} {given['thing']}."
    if defect == "leak":
        made.benchmark.append({"problem": statement, "answer": str(given["c"])})
    if defect == "odd_notation":
        c = given["c"]
        forms = (
            f"\\frac{{{2 * c}}}{{2}}",
            f"{c}.0",
            f"\\text{{{c}}}",
            f"{{{c}}}",
            f"{c}\\text{{ {given['thing']}}}",
            f"+{c}",
        )
        form = draw.choice(forms)
        return thinking, f"The answer is $\\boxed{{{form}}}$."
    if defect == "wrong_answer":
        return thinking, right.replace(str(given["c"]), str(given["c"] + draw.choice((-10, -1, 1, 10))))
    if defect == "broken_tags":
        return (
            (thinking + "</think>\n\n<think>" + thinking, right)
            if draw.random() < 0.5
            else (thinking, right + " <think> wait")
        )
    if defect == "loop":
        return thinking + " Wait, let me count them again." * draw.randrange(30, 60), right
    if defect == "language":
        return FRENCH.format(**given), right
    if defect == "boilerplate":
        return f"{BOILERPLATE} {thinking}", right
    return ("" if defect == "no_thinking" else thinking), right


def _program(defect: str, draw: random.Random, used: set[tuple[Any, ...]]) -> tuple[str, None, str, str, Any]:
    while (key := ("code", draw.randrange(2, 60), draw.randrange(2, 60), draw.choice("+-*"))) in used:
        pass
    used.add(key)
    _, m, n, sign = key
    wanted = f"a * {m} {sign} b * {n}"
    statement = f"Read two whole numbers a and b, and print {m} times a {sign} {n} times b."
    pairs = [(draw.randrange(1, 50), draw.randrange(1, 50)) for _ in range(2)]
    tests = {
        "inputs": [f"{a} {b}\n" for a, b in pairs],
        "outputs": [f"{eval(wanted, {'a': a, 'b': b})}\n" for a, b in pairs],
    }
    thinking = f"The two numbers stand in one line, so I split it. Then I write {m} times a {sign} {n} times b as Python and print it."
    return statement, None, thinking, f"```python\n{PROGRAMS[defect].format(wanted=wanted)}\n```", tests


# --- the three layouts ----------------------------------------------------------------------------------------------------


def _am(statement: str, answer: str | None, thinking: str, said: str, tests: Any) -> dict[str, Any]:
    none = dict.fromkeys(("source", "reference_answer", "test_case", "think_content", "answer_content"))
    asked = {**none, "source": "am", "reference_answer": answer, "test_case": json.dumps(tests) if tests else None}
    text = f"<think>{thinking}</think><answer>{said}</answer>" if thinking else said
    return {
        "messages": [
            {"role": "user", "content": statement, "info": asked},
            {"role": "assistant", "content": text, "info": {**none, "source": "am"}},
        ]
    }


def _thoughts(statement: str, answer: str | None, thinking: str, said: str, tests: Any) -> dict[str, Any]:
    text = f"<think>\n{thinking}\n</think>\n\n{said}" if thinking else said
    return {
        "conversations": [{"from": "user", "value": statement}, {"from": "assistant", "value": text}],
        "answer": answer,
    }


def _plain(statement: str, answer: str | None, thinking: str, said: str, tests: Any) -> dict[str, Any]:
    text = f"<think>\n{thinking}\n</think>\n\n{said}" if thinking else said
    return {
        "problem": statement,
        "answer": answer,
        "source": "plain",
        "generations": [{"text": text, "teacher": "DeepSeek-R1"}],
    }


LAYOUTS: dict[str, Callable[..., dict[str, Any]]] = {"am": _am, "thoughts": _thoughts, "plain": _plain}


# --- the run ------------------------------------------------------------------------------------------------------------


def write(made: Planted, folder: Path, shuffle: int | None = None) -> None:
    """The three files and the benchmark's, their lines in another order where a seed says so."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in {**made.files, "benchmark": made.benchmark}.items():
        lines = [json.dumps(row) + "\n" for row in rows]
        if shuffle is not None:
            random.Random(shuffle).shuffle(lines)
        (folder / f"{name}.jsonl").write_text("".join(lines))


def recipe(
    folder: Path, *, encoder: str = "hashing", workers: int = 1, sources: list[Any] | None = None
) -> dict[str, Any]:
    """The pipeline of recipes/am-pipeline.yaml for this corpus: no server, so no labels and no judge, and a toy's tokenizer."""
    own = [
        {"name": "am-deepseek-r1", "path": str(folder / "am.jsonl")},
        {"name": "openthoughts", "path": str(folder / "thoughts.jsonl"), "answer_column": "answer"},
        {"name": "traces", "path": str(folder / "plain.jsonl")},
    ]
    return {
        "name": "planted",
        "student": {
            "from_config": {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16384},
            "alphabet": "".join(map(chr, range(32, 127))) + "\n",
        },
        "prompt": {"template": "bare"},
        "corpus": {
            "sources": sources or own, "dev_fraction": 0, "shards": 4, "near_duplicates": "merge",
        },
        "evaluate": {"benchmarks": [{"name": "held", "file": str(folder / "benchmark.jsonl")}]},
        "verify": {"verifiers": ["cascade", {"name": "code-tests", "cpu_seconds": 1}], "policy": "decided", "workers": workers},
        "score": [
            {"name": "near-duplicates", "encoder": encoder, "threshold": 0.9, "priority": ["am"]},
            {"name": "corpus-ngram", "ngram": 20},
        ],
        "select": {
            "filters": [
                "malformed-tags", "thinking", "repetition", "language",
                {"name": "score", "by": "corpus-ngram", "most": 20}, {"name": "score", "by": "near-duplicates", "most": 0},
            ]
        },
        "train": {"sft": {"objective": "sft", "start": "base", "learning_rate": 1e-3, "epochs": 1, "batch_size": 16}},
    }  # fmt: skip


def run(folder: Path, name: str = "planted", **options: Any) -> Path:
    """Run it as far as select; returns the run's folder."""
    return api.run({**recipe(folder, **options), "name": name}, runs_dir=folder / "runs", until="select")


def fates(run_folder: Path, folder: Path) -> dict[tuple[str, int], set[str]]:
    """(file, place) -> why the row is not an example; empty where it is one."""
    traces: dict[str, set[str]] = collections.defaultdict(set)
    for group in _records(run_folder / "verify/groups"):
        for trace in group.traces:
            if trace.verdict.outcome != "correct":
                traces[trace.id].add(f"verdict:{trace.verdict.outcome}")
    scores = {t.id: t.scores for group in _records(run_folder / "score/groups") for t in group.traces}
    for dropped in _records(run_folder / "select/dropped"):
        if dropped.stage == "select/examples":
            reason = dropped.reason
            if reason == "completion_score_too_high":
                by = "corpus-ngram" if scores[dropped.id]["corpus-ngram"] > 20 else "near-duplicates"
                reason = f"{reason}:{by}"
            traces[dropped.id].add(reason)
    found: dict[tuple[str, int], set[str]] = {}
    for origin in _records(run_folder / "corpus/origins"):
        place = int(origin.row.rpartition(":")[2].partition("#")[0])
        reasons = {origin.status} if origin.status != "kept" else set()
        found[Path(origin.file).stem, place] = reasons or traces.get(origin.trace_id, set())
    for dropped in _records(run_folder / "corpus/dropped"):
        file, _, place = dropped.id.partition("#")[0].rpartition(":")
        if place.isdigit() and Path(file).stem in LAYOUTS:
            found.setdefault((Path(file).stem, int(place)), {dropped.reason})
    return found


def _records(folder: Path) -> Iterable[Any]:
    for path in sorted(folder.glob("*.parquet")):
        yield from read_records(path)


def table(made: Planted, found: Mapping[tuple[str, int], set[str]]) -> list[dict[str, Any]]:
    """A line per defect: rows, those found by its own filter, those that another dropped, and the precision of that filter."""
    by_defect: dict[str, list[set[str]]] = collections.defaultdict(list)
    for file, place, defect in made.defects:
        by_defect[defect].append(found.get((file, place), {"lost"}))
    lines = []
    for defect, (_, reasons) in PLANTED.items():
        rows = by_defect[defect]
        hit = sum(bool(fate & reasons) for fate in rows)
        clean = sum(not fate for fate in rows)
        same = [one for one, (_, others) in PLANTED.items() if others and others == reasons]
        caught = sum(bool(fate & reasons) for fates_ in by_defect.values() for fate in fates_)
        true = sum(bool(fate & reasons) for one in same for fate in by_defect[one])
        lines.append({"defect": defect, "rows": len(rows), "found": hit, "kept": clean, "other": len(rows) - hit - clean,
                      "recall": hit / len(rows) if reasons and rows else None, "precision": true / caught if caught else None,
                      "by": ", ".join(sorted(reasons))})  # fmt: skip
    return lines


def thresholds(made: Planted, encoder: str) -> None:
    """How many retold problems the scorer finds at each threshold, and how many others it takes for a repeat."""
    statements = {"am": lambda row: row["messages"][0]["content"], "thoughts": lambda row: row["conversations"][0]["value"],
                  "plain": lambda row: row["problem"]}  # fmt: skip
    answers = {
        "am": lambda row: row["messages"][0]["info"]["reference_answer"],
        "thoughts": lambda row: row["answer"],
        "plain": lambda row: row["answer"],
    }
    problems, defects = [], {}
    for file, place, defect in made.defects:
        row = made.files[file][place]
        problems.append(make_problem(statements[file](row), answer=answers[file](row), source=file))
        if defect != "copy":
            defects[problems[-1].id] = defect
    encode = open_encoder(encoder, model=None, student=None, where="--encoder")
    print("| threshold | retold found | others taken for repeats |\n|---|---|---|")
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
        found = collections.Counter(
            defects[id]
            for id in find_repeats(problems, encode, threshold=threshold, priority=["am"], numbers="any-order")
        )
        told = sum(defect == "retold" for defect in defects.values())
        others = ", ".join(f"{count} {defect}" for defect, count in sorted(found.items()) if defect != "retold")
        print(f"| {threshold} | {found['retold']} of {told} | {others or 'none'} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", default="hashing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder to leave the files and the run in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        made = plant(options.rows, options.seed)
        write(made, folder)
        ran = run(folder, encoder=options.encoder, workers=options.workers)
        found = fates(ran, folder)
        print(f"{len(made.defects):,} rows, seed {options.seed}, encoder {options.encoder}")
        print(
            "| defect | rows | found | kept | dropped otherwise | recall | precision of the filter | filter |\n|---|---|---|---|---|---|---|---|"
        )
        for line in table(made, found):
            shown = ["" if line[name] is None else f"{line[name]:.3f}" for name in ("recall", "precision")]
            print(
                f"| {line['defect']} | {line['rows']} | {line['found']} | {line['kept']} | {line['other']} | {shown[0]} | {shown[1]} | {line['by']} |"
            )
        thresholds(made, options.encoder)
        odd = collections.Counter(
            (defect, *sorted(found.get((file, place), {"lost"}))) for file, place, defect in made.defects
        )
        print(*(f"{count:5} {' '.join(key)}" for key, count in sorted(odd.items())), sep="\n")


if __name__ == "__main__":
    main()
