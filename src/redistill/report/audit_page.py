"""The page of `redistill audit`: what files of traces hold, in the look of a run's report.

    audit_page("mine.jsonl", folder, facts, suspects={}, golds=[], flaws={})   ->   the page's bytes, at most MAX_BYTES

`folder` holds the stages corpus and verify, `facts` is what audit.json holds. Texts are cut, escaped and counted as there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.records import Group, Trace
from redistill.report.blocks import (
    Bar,
    Bars,
    Block,
    Browser,
    Code,
    Details,
    KeyNumber,
    KeyNumbers,
    Leaf,
    Passage,
    Passages,
    Sentences,
    Table,
    Tag,
    Text,
)
from redistill.report.files import RunFiles
from redistill.report.render import fitted, render_page
from redistill.report.sections.label_noise import label_noise
from redistill.report.sections.traces import answer_leaf
from redistill.report.sections.verdicts import lengths, verdicts
from redistill.report.text import cut, percent, plural, short, top

Facts = Mapping[str, Any]
Shown = Sequence[tuple[Group, Trace]]
TONES = (("right", "right"), ("wrong", "wrong"), ("undecided", "other"))
MAX_ROWS = 20  # of a table
MAX_KINDS = 12  # of texts in one browser
MOST_OF_A_KIND = 3  # texts


def audit_page(
    title: str,
    folder: Path,
    facts: Facts,
    *,
    suspects: Mapping[str, Shown],
    golds: Shown,
    flaws: Mapping[str, Shown],
) -> bytes:
    """The page. suspects, flaws: texts to show by kind; golds: traces of problems whose gold answer may be wrong.

    Where it would be larger than MAX_BYTES, fewer texts are shown. RuntimeError when it is too large without any.
    """
    run = RunFiles(folder)

    def page(most: int) -> str:
        sections = [
            ("Result", _result(facts)),
            ("What was read", _read(facts)),
            ("Verdicts", verdicts(run) if run.ledger("verify") else []),
            ("Labels against verdicts", _labels(run, facts, suspects, most)),
            ("Gold answers to look at", _golds(run, facts, golds, most)),
            ("Benchmarks", _leaks(facts["leaks"])),
            ("Duplicates", _duplicates(facts["duplicates"])),
            ("Cut and repetitive traces", _flaws(run, facts, flaws, most)),
            ("Lengths", _lengths(run, facts)),
            ("Teachers", _teachers(facts["teachers"])),
            ("Pairs", _pairs(facts)),
            ("How it was made", _made(facts)),
        ]
        return render_page(title, sections, kind="audit of traces")

    return fitted(page, MOST_OF_A_KIND, f"the audit of {title}")


def _result(facts: Facts) -> list[Block]:
    """The sentence, the large numbers, and what to look at."""
    outcomes, accounts = facts["outcomes"], facts["accounts"]
    total = sum(outcomes.values())
    numbers = [KeyNumber("traces", f"{accounts['traces']['kept']:,}", f"{accounts['problems']['kept']:,} problems", 0)]
    for label, word in (("right", "correct"), ("wrong", "incorrect")):
        if total:
            below = f"of {total:,} judged"
            numbers.append(
                KeyNumber(label, f"{percent(outcomes.get(word, 0) / total)}%", below, 4 if word == "correct" else 5)
            )
    pairs = facts["pairs"]["certain, one per problem"].get("problems", 0)
    numbers.append(KeyNumber("problems that give a pair", f"{pairs:,}", "a right and a wrong trace", 3))
    return [
        Text(facts["sentence"], "lead"),
        KeyNumbers(numbers),
        Sentences([short(note, 600) for note in facts["notes"]]),
    ]


def _read(facts: Facts) -> list[Block]:
    """How each file reads, rows and traces that could not be used, and columns that nothing reads."""
    files = list(facts["files"].items())
    rows = [
        (short(file, 60), found["source"], short(_options(found["options"]) or "its own columns", 120), short(found["left_out"] or "–", 200))
        for file, found in files[:MAX_ROWS]
    ]  # fmt: skip
    more = f": the first {MAX_ROWS} of {len(files):,}" if len(files) > MAX_ROWS else ""
    blocks: list[Block] = [
        Table(f"How the files read{more}", ("file", "source", "options", "left out"), rows, (1, 2, 3))
    ]
    accounts = facts["accounts"]
    counts = {
        name: (accounts[name]["in"], accounts[name]["kept"], sum(accounts[name]["dropped"].values()))
        for name in ("rows", "problems", "traces")
    }
    kept = [(name, *(f"{n:,}" for n in row)) for name, row in counts.items()]
    blocks.append(Table("Inputs and what was kept", ("", "read", "kept", "dropped"), kept))
    dropped = [(f"{name}: {short(reason, 60)}", f"{n:,}") for name in ("rows", "problems", "traces")
               for reason, n in top(accounts[name]["dropped"])]  # fmt: skip
    if dropped:
        blocks.append(Table("Why it was dropped", ("reason", "count"), dropped))
    if unread := facts["unread_columns"]:
        body = [(short(name, 80), f"{n:,}") for name, n in top(unread)]
        blocks.append(Table("Columns that were not read", ("column", "rows that have it"), body))
    else:
        blocks.append(Text("Every column that has a value was read.", "quiet"))
    return blocks


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _labels(run: RunFiles, facts: Facts, suspects: Mapping[str, Shown], most: int) -> list[Block]:
    """Who contradicts whom, then the texts."""
    if not facts["labels"]["present"]:
        return [Text("The files label no trace right or wrong.", "missing")]
    if not facts["verifiers"]:
        return [Text("There are no gold answers to check the labels: the labels decide.", "missing")]
    leaves: list[Leaf] = []
    for kind, shown in list(suspects.items())[:MAX_KINDS]:
        leaves += [
            _leaf(run, f"{place}", kind, group, trace)
            for place, (group, trace) in enumerate(shown[:most], len(leaves) + 1)
        ]
    note = "Either side may be mistaken: a label may know a rule of the task, or its maker may have failed to read a right answer. All of them are in verdicts.parquet (column suspect)."
    blocks = label_noise(run)
    if leaves:
        blocks += [Text(note, "quiet"), Browser("Contradictions to look at", leaves)]
    return blocks


def _leaf(run: RunFiles, face: str, kind: str, group: Group, trace: Trace) -> Leaf:
    leaf = answer_leaf(run, face, group, trace)
    where = f"{group.problem.source} {group.problem.source_row}".strip()
    return Leaf(
        f"{kind}: {leaf.label}", face, [Text(f"{short(kind, 120)} ({short(where, 80)}, {trace.id})"), *leaf.blocks]
    )


def _golds(run: RunFiles, facts: Facts, golds: Shown, most: int) -> list[Block]:
    """Problems whose traces agree on another answer than the gold one."""
    if not facts["suspicious_golds"]:
        return []
    words = plural(facts["suspicious_golds"], "problem")
    text = f"{words}: no trace reaches the gold answer, and at least half of them agree on another one. The gold answer may be wrong, or the statement incomplete."
    leaves = [
        _leaf(run, str(n), "gold answer to look at", group, trace) for n, (group, trace) in enumerate(golds[:most], 1)
    ]
    return [Text(text), *([Browser("One trace of each", leaves)] if leaves else [])]


def _leaks(leaks: Facts) -> list[Block]:
    looked_for = ", ".join(leaks["looked_for"])
    if not looked_for:
        return [Text("No benchmark was searched: none is on this machine. --benchmark all downloads the known ones, --benchmark file:PATH reads your own file.", "missing")]  # fmt: skip
    blocks: list[Block] = [Text(f"Searched: {short(looked_for, 400)}. Same text, text within other text, and shared rare word n-grams count.", "quiet")]  # fmt: skip
    if left_out := leaks["not_looked_for"]:
        rows = [(short(name, 40), short(why, 200)) for name, why in list(left_out.items())[:MAX_ROWS]]
        blocks.append(
            Details("Benchmarks that were not searched", [Table("Not searched", ("benchmark", "why"), rows, (1,))])
        )
    if not leaks["problems"]:
        return [*blocks, Text("None of their problems was found.")]
    rows = [(short(name, 60), f"{n:,}") for name, n in top(leaks["by_benchmark"])]
    return [
        *blocks,
        Table("Problems that are in a benchmark", ("benchmark", "problems"), rows),
        *_matches(leaks["examples"], "benchmark"),
    ]


def _duplicates(duplicates: Facts) -> list[Block]:
    rows = [
        ("duplicate traces", duplicates["traces"]),
        ("duplicates whose labels contradict each other", duplicates["labels_that_contradict"]),
        ("the same problem in other words, merged", duplicates["problems_merged"]),
        ("near-duplicate problems, kept", duplicates["near_duplicates"]),
    ]
    return [
        Table("Duplicates", ("", "count"), [(name, f"{n:,}") for name, n in rows]),
        *_matches(duplicates["examples"], "the other"),
    ]


def _matches(examples: Sequence[Facts], other: str) -> list[Block]:
    blocks: list[Block] = []
    for example in examples:
        one = Passage("in the file", "", [], cut(example["statement"], 500, 200))
        cells = [short(example["matched"], 80), f"{example['how']}, {percent(example['similarity'])}%"]
        blocks.append(Passages([one, Passage(other, "", cells, cut(example["matched_statement"], 500, 200))]))
    return [Details(plural(len(blocks), "example"), blocks)] if blocks else []


_FLAW_WORDS = {
    "truncated": "cut off by a length limit, or before any answer",
    "repetition": "repeats itself",
    "unfinished_thinking": "thinking that is never closed",
    "malformed_tags": "tags that do not match",
    "special_token": "contains a token of a chat template as text",
}


def _flaws(run: RunFiles, facts: Facts, shown: Mapping[str, Shown], most: int) -> list[Block]:
    if not facts["flaws"]:
        return [Text("No trace is cut, repetitive, or has thinking that is not closed.")] if facts["outcomes"] else []
    rows = [
        (_FLAW_WORDS.get(kind, kind), *(f"{tones.get(said, 0):,}" for said, _ in TONES))
        for kind, tones in facts["flaws"].items()
    ]
    leaves: list[Leaf] = []
    for kind, texts in shown.items():
        leaves += [
            _leaf(run, str(n), _FLAW_WORDS.get(kind, kind), *one) for n, one in enumerate(texts[:most], len(leaves) + 1)
        ]
    return [
        Table("Traces that filters of select would drop; one may have several flaws", ("flaw", "right", "wrong", "undecided"), rows),
        *([Browser("Some of them", leaves)] if leaves else []),
    ]  # fmt: skip


def _lengths(run: RunFiles, facts: Facts) -> list[Block]:
    share = facts["lengths"]["wrong_is_longer"]
    if not facts["outcomes"]:
        return []
    blocks = lengths(run)
    if share is not None:
        text = f"Of a right and a wrong trace of one problem, the wrong one is longer in {percent(share)}% (mean over {plural(facts['lengths']['problems_with_both'], 'problem')}); 50% means that length does not predict correctness."
        blocks = [Text(text), *blocks]
    return blocks


def _teachers(table: Sequence[Facts]) -> list[Block]:
    if not table:
        return []
    bars = []
    for row in table[:MAX_ROWS]:
        total = sum(row[said] for said, _ in TONES)
        segments = [(colour, said, row[said]) for said, colour in TONES if row[said]]
        words = f"{percent(row['right'] / max(1, total))}% right of {total:,}"
        bars.append(Bar(short(row["teacher"], 40), "trace", total, 100.0, segments, words))
    more = f" The {MAX_ROWS} with most traces." if len(table) > MAX_ROWS else ""
    legend = [Tag(said, colour) for said, colour in TONES]
    return [
        Bars(
            bars,
            f"Verdicts on the traces of each teacher, those with most traces first; every bar is 100%.{more}",
            legend,
        )
    ]


def _pairs(facts: Facts) -> list[Block]:
    """What each pairing would make, and why the other problems give none."""
    if not facts["outcomes"]:
        return []
    rows: list[tuple[str, ...]] = []
    reasons: list[tuple[str, str]] = []
    for name, counts in facts["pairs"].items():
        rows.append((name, f"{counts.get('problems', 0):,}", f"{counts.get('pairs', 0):,}"))
        if not reasons:
            without = {word: n for word, n in counts.items() if word not in ("problems", "pairs")}
            reasons = [(short(word, 60), f"{n:,}") for word, n in top(without)]
    blocks: list[Block] = [
        Text("A chosen trace is right and complete, a rejected one is certainly wrong and complete. Of more than 100 right or wrong traces of one problem, the last two lines take 100.", "quiet"),
        Table("Pairs that the traces could give", ("pairing", "problems", "pairs"), rows),
    ]  # fmt: skip
    if reasons:
        blocks.append(Table("Problems that give no certain pair", ("reason", "problems"), reasons))
    return blocks


def _made(facts: Facts) -> list[Block]:
    """How traces were judged, and the rest of the facts in words."""
    counted = ", ".join(facts["labels"]["counted"]) or "none"
    judged = facts["judged"]
    lines = [
        f"redistill {facts['version']}",
        f"verifiers: {', '.join(facts['verifiers']) or 'none'}; labels that also count: {counted}; policy: {facts['policy']}",
        f"judged: {judged['traces']:,} of {judged['of']:,} traces",
        *(f"file: {file}" for file in list(facts["files"])[:MAX_ROWS]),
    ]
    return [Code("How it was made", "\n".join(short(line, 300) for line in lines))]
