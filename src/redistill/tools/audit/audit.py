"""`redistill audit FILE...`: read, judge, count, and write a page and a Parquet of verdicts.

    found = audit(["mine.jsonl"])     ->  mine-audit/audit.html, mine-audit/verdicts.parquet, mine-audit/audit.json
    found["sentence"]                 ->  "7,661 traces of 180 problems: 4,210 right, 3,105 wrong, 346 undecided; ..."

The input is only read. What stands in the output folder from an earlier audit is replaced; a folder of anything else is refused.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from pydantic import ValidationError

from redistill import __version__
from redistill.config.tables import BenchmarkSettings
from redistill.errors import OperatorError
from redistill.evaluate import BENCHMARKS, load_benchmark
from redistill.io.atomic import check_output, make_folder, read_json, write_bytes, write_json
from redistill.io.progress import say
from redistill.records import Problem
from redistill.report.audit_page import audit_page
from redistill.safety.paths import home_path
from redistill.tools.audit.findings import findings
from redistill.tools.audit.reading import Judged, Limits, read_and_judge
from redistill.tools.evaluate import benchmark_entry
from redistill.tools.init import as_facts, name_of

RECORD = "audit.json"
MAX_LISTED = 20  # reasons, columns and files in the facts' texts
COMMON_END = 0.2  # of the traces without an answer: a last line of so many is a way to write answers
DEFAULT_LIMITS = Limits()


def audit(
    files: Sequence[str],
    *,
    out: Path | None = None,
    split: str | None = None,
    benchmarks: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Any]:
    """Audit files of traces and return what was found, as audit.json holds it, with the paths of page and Parquet.

    files: on this machine; files, folders or globs that `redistill init` reads. out: the folder to write (default: the first
    file's name with `-audit`). benchmarks: whose problems are looked for: names, `all`, or `file:PATH`; default the known ones
    in the hub's cache. OperatorError for a file that cannot be read, and for an output folder that holds something else.
    """
    if not files:
        raise OperatorError("audit: give a file, folder or glob of traces.")
    out = out or Path(f"{name_of(files[0])}-audit")
    _check_place(out, files)
    problems, looked_for, left_out = _problems_of(benchmarks)
    with tempfile.TemporaryDirectory(prefix="redistill-audit-") as work:
        folder = Path(work)
        judged = read_and_judge(files, folder, limits, split=split, benchmarks=problems)
        make_folder(out, "--out")
        summary, texts = findings(folder, judged, out / "verdicts.parquet")
        summary["leaks"] |= {"looked_for": looked_for, "not_looked_for": left_out}
        facts = {"version": __version__, **_facts(judged, limits), **summary}
        facts["sentence"], facts["notes"] = sentence(facts), list(_notes(facts))
        title = Path(files[0]).name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        write_bytes(
            out / "audit.html",
            audit_page(title, folder, facts, suspects=texts.suspects, golds=texts.golds, flaws=texts.flaws),
        )
    write_json(out / RECORD, facts)
    say(f"written  {out / 'audit.html'}, {out / 'verdicts.parquet'}")
    return {**facts, "page": str(out / "audit.html"), "verdicts_file": str(out / "verdicts.parquet")}


def _check_place(out: Path, files: Sequence[str]) -> None:
    """OperatorError for an output folder that holds something else than an earlier audit, or an input."""
    check_output(out, *(home_path(file) for file in files))
    if not out.exists():
        return
    if not out.is_dir():
        raise OperatorError(f"--out: {out} is a file; give a folder.")
    if any(out.iterdir()) and not (out / RECORD).is_file():
        raise OperatorError(f"--out: {out} holds other files than those of an audit; name another folder.")
    if (out / RECORD).is_file():
        read_json(out / RECORD)


# --- benchmarks that are looked for -------------------------------------------------------------------------------------


def _problems_of(named: Sequence[str]) -> tuple[list[Problem], list[str], dict[str, str]]:
    """(problems, names of their benchmarks, name -> why it is not looked for)."""
    if not named:
        here = [name for name in BENCHMARKS if _is_cached(name)]
        problems = [problem for name in here for problem in load_benchmark(BenchmarkSettings(name=name))]
        return problems, here, {name: "not in the hub's cache" for name in BENCHMARKS if name not in here}
    problems, names, left_out = [], [], dict[str, str]()
    for text in named:
        if text != "all":
            settings = _settings(text)
            problems += load_benchmark(settings)
            names.append(settings.name)
            continue
        for name in BENCHMARKS:
            try:
                problems += load_benchmark(BenchmarkSettings(name=name))
                names.append(name)
            except OperatorError as error:  # gated, or no network: the others are looked for
                left_out[name] = str(error)
    return problems, list(dict.fromkeys(names)), left_out


def _settings(text: str) -> BenchmarkSettings:
    try:
        return BenchmarkSettings.model_validate(benchmark_entry(text, None))
    except ValidationError as error:
        raise OperatorError(
            f"--benchmark {text!r}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from error


def _is_cached(name: str) -> bool:
    known = BENCHMARKS[name]
    cached = try_to_load_from_cache(known.hub, known.file, revision=known.revision, repo_type="dataset")
    return isinstance(cached, str)


# --- facts and sentences ------------------------------------------------------------------------------------------------


def _facts(judged: Judged, limits: Limits) -> dict[str, Any]:
    """What was read, how it was judged, and what the limits left out."""
    corpus, verify = judged.corpus, judged.verify
    whole = corpus["accounts"]["traces"]["kept"]
    golds = verify["accounts"].get("golds", {"in": 0, "kept": 0, "dropped": {}})
    return {
        "files": {file: as_facts(found) for file, found in judged.surveys.items()},
        "accounts": corpus["accounts"],
        "unread_columns": corpus.get("unread_columns", {}),
        "verifiers": list(judged.verifiers),
        "labels": {"present": list(judged.present), "counted": list(judged.labels)},
        "policy": judged.policy,
        "judged": {"traces": judged.judged, "of": whole, "limit": limits.traces},
        "not_read_to_the_end": list(judged.unread_rest),
        "outcomes": verify["tallies"]["outcomes"],
        "golds": {
            "problems": golds["in"],
            "ungradable": golds["dropped"],
            "types": verify["tallies"].get("answer_types", {}),
        },
        "labels_and_verdicts": judged.agreement,
        "label_noise": judged.noise.get("sentence", ""),
    }


def sentence(facts: Mapping[str, Any]) -> str:
    """The result in one sentence, from what `audit` returns."""
    outcomes, accounts = facts["outcomes"], facts["accounts"]
    right, wrong = outcomes.get("correct", 0), outcomes.get("incorrect", 0)
    undecided = sum(outcomes.values()) - right - wrong
    traces, problems = accounts["traces"]["kept"], accounts["problems"]["kept"]
    words = [f"{_plural(traces, 'trace')} of {_plural(problems, 'problem')}"]
    if facts["judged"]["traces"] < traces:
        words.append(f"{facts['judged']['traces']:,} judged")
    if outcomes:
        words.append(f"{right:,} right, {wrong:,} wrong, {undecided:,} undecided")
    against = sum(
        table[kind]["traces"]
        for table in facts["labels_and_verdicts"]
        for kind in ("label_says_wrong", "label_says_right")
    )
    if facts["labels_and_verdicts"]:
        words.append(f"{against:,} contradict a label")
    pairs = facts["pairs"]["certain, one per problem"].get("problems", 0)
    words.append(f"{_plural(pairs, 'problem')} with a right and a wrong trace to pair")
    return "; ".join(words) + "."


def _notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """What to look at, a sentence each; only what was found."""
    rows = facts["accounts"]["rows"]
    if rows["dropped"]:
        yield f"{_plural(sum(rows['dropped'].values()), 'row')} of {rows['in']:,} could not be used: {_listed(rows['dropped'])}."
    lost = {k: n for k, n in facts["accounts"]["traces"]["dropped"].items() if k != "duplicate_trace"}
    if lost:
        yield f"{_plural(sum(lost.values()), 'trace')} could not be used: {_listed(lost)}."
    if facts["unread_columns"]:
        yield f"Columns that were not read (rows that have them): {_listed(facts['unread_columns'])}."
    for file in facts["not_read_to_the_end"][:MAX_LISTED]:
        yield f"Only the beginning of {Path(file).name} was read; --rows 0 --characters 0 reads all of it."
    judged = facts["judged"]
    if judged["traces"] < judged["of"]:
        yield (
            f"{judged['traces']:,} of {judged['of']:,} traces were verified, those of problems sampled by hash; "
            f"--traces 0 verifies all. Duplicates and leaks were searched in everything that was read."
        )
    undecided = {word: n for word, n in facts["outcomes"].items() if word not in ("correct", "incorrect")}
    if undecided:
        ranked = sorted(undecided.items(), key=lambda item: -item[1])
        yield f"Undecided traces, which are neither chosen nor rejected: {_listed(dict(ranked))}."
    end = facts["unread_end"]
    if end is not None and end["traces"] >= max(2, COMMON_END * end["of"]):
        yield (
            f"{end['traces']:,} of the {end['of']:,} traces without an answer end alike, for example in `{end['line']}`: an answer is read "
            "from a box, a tag, `#### 7` or a sentence such as `The answer is 7` (docs/verdicts.md)."
        )
    if ungradable := facts["golds"]["ungradable"]:
        yield f"{_plural(sum(ungradable.values()), 'gold answer')} of {facts['golds']['problems']:,} cannot be graded: {_listed(ungradable)}."
    if facts["suspicious_golds"]:
        yield (
            f"{_plural(facts['suspicious_golds'], 'problem')}: no trace reaches the gold answer, and at least half of "
            f"the traces agree on another; check these gold answers first."
        )
    yield from (table["sentence"] for table in facts["labels_and_verdicts"])
    yield _leak_note(facts["leaks"])
    yield from _duplicate_notes(facts["duplicates"])
    if flaws := {kind: sum(tones.values()) for kind, tones in facts["flaws"].items()}:
        yield f"Traces that filters of select would drop: {_listed(flaws)}."
    lengths = facts["lengths"]
    if lengths["wrong_is_longer"] is not None:
        middle = lengths["median_characters"]
        yield (
            f"Median length: {middle['right']:,} characters of right traces, {middle['wrong']:,} of wrong ones; of a right and a wrong "
            f"trace of one problem the wrong one is longer in {lengths['wrong_is_longer']:.0%} (50% means that length does not predict correctness)."
        )


def _leak_note(leaks: Mapping[str, Any]) -> str:
    looked_for, left_out = leaks["looked_for"], leaks["not_looked_for"]
    if not looked_for:
        return (
            "No benchmark was searched, because none is on this machine: --benchmark all downloads the known ones, "
            "--benchmark file:PATH reads your own file."
        )
    rest = f" Not searched: {', '.join(left_out)}." if left_out else ""
    if not leaks["problems"]:
        return f"No problem of {', '.join(looked_for)} was found.{rest}"
    verb = "is in a benchmark" if leaks["problems"] == 1 else "are in benchmarks"
    return f"{_plural(leaks['problems'], 'problem')} {verb}: {_listed(leaks['by_benchmark'])}.{rest}"


def _duplicate_notes(found: Mapping[str, Any]) -> Iterator[str]:
    if found["traces"]:
        yield f"{_plural(found['traces'], 'trace')} {'is a duplicate' if found['traces'] == 1 else 'are duplicates'}, counted once."
    if found["labels_that_contradict"]:
        yield f"{_plural(found['labels_that_contradict'], 'label')} of duplicate traces: the copies are labelled both right and wrong."
    if found["problems_merged"]:
        yield f"{_plural(found['problems_merged'], 'problem')} repeated in other words, merged with the first."
    if found["near_duplicates"]:
        yield f"{_plural(found['near_duplicates'], 'problem')} may repeat another one (near-duplicates); they are kept."


def _listed(counts: Mapping[str, int]) -> str:
    some = [f"{word[:80]} {count:,}" for word, count in list(counts.items())[:MAX_LISTED]]
    more = f" and {len(counts) - MAX_LISTED} more" if len(counts) > MAX_LISTED else ""
    return ", ".join(some) + more


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def limits_of(traces: int | None, rows: int | None, characters: int | None, workers: int | None) -> Limits:
    """The default limits with those that are given. OperatorError for a negative one."""
    chosen = Limits(workers=workers)
    for name, value in (("traces", traces), ("rows", rows), ("chars", characters)):
        if value is not None:
            if value < 0:
                raise OperatorError(
                    f"audit: --{'characters' if name == 'chars' else name} must be 0 (no limit) or more."
                )
            chosen = replace(chosen, **{name: value})
    if workers is not None and workers < 1:
        raise OperatorError(f"audit: --workers must be 1 or more, and is {workers}.")
    return chosen
