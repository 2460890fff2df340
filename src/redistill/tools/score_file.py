"""Any file of traces -> the same traces with scores, spans and notes: the command `score`.

    score_file(Path("traces.jsonl"), [{"name": "perplexity", "model": "gpt2"}], out=Path("scored.jsonl"))
        -> {"problems": 200, "traces": 512, "scored": {"perplexity": {"in": 512, "kept": 509, "dropped": {"too_long": 3}}}, ...}

The scorers are those of the stage `score` (score/stage.py), and so is their work: shard by shard into a folder beside `out`, so a
command that is stopped goes on where it was. `out` is what the source `traces` reads.
"""

import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from redistill.config.tables import PromptText, ScorerSettings, StudentSettings
from redistill.config.validation_messages import sentence_of
from redistill.config.yaml_text import read_value
from redistill.corpus.sources.of_file import source_of_file
from redistill.errors import OperatorError
from redistill.io.atomic import check_output, make_folder, sha256_file
from redistill.io.progress import say
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.pipeline.keys import new_key, values
from redistill.pipeline.lock import alone
from redistill.pipeline.scoring import bind_scorer
from redistill.records import Dropped, Group
from redistill.safety.paths import shell_word
from redistill.score.stage import joined
from redistill.text.figures import plural
from redistill.tools.score_folder import Asked, score_folder
from redistill.tools.traces_row import traces_row
from redistill.tools.verify_file import row_writer

PER_SHARD = 256  # problems: what a stop may cost, and what is held in memory
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def score_file(
    path: Path,
    scorers: Sequence[str | Mapping[str, Any]],
    *,
    out: Path,
    source: str = "traces",
    student: str | None = None,
    template: str = "plain",
    chat: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the traces that `source` reads in `path` and write them to `out`.

    scorers: as in a recipe's `score`, or YAML text of an entry. student: the model of scorers that ask for the student.
    template, chat: how a problem is asked. Returns counts: problems, traces, unreadable rows by reason, and per scorer how
    many traces have a score and why the others have none. OperatorError where `out` is there already, so an input is never
    written over.
    """
    check_output(out, path)
    if out.exists():
        raise OperatorError(f"--out: {out} already exists; name another file, or remove it first.")
    if not out.name.endswith(ENDINGS):
        raise OperatorError(f"--out: {out} must end in {', '.join(ENDINGS)}.")
    entries = [_entry(one) for one in scorers]
    names = [settings.folder for settings in entries]
    if not names or len({*names}) < len(names):
        raise OperatorError("--with: name at least one scorer, and give two of one name an `into` each.")
    for settings in entries:
        bind_scorer(settings, f"--with {settings.name}")  # a slip is said before any work
    asked = Asked(
        work=out.absolute().with_name(f"{out.name}.work"),
        replies=_replies(out),
        prompt=PromptText(template=template, chat=chat),
        student=StudentSettings(model=student) if student is not None else None,
        seed=seed,
    )
    make_folder(asked.work, "--out")
    with alone(asked.work):
        groups = _read(path, source, asked.work)
        results = [score_folder(asked, groups, settings, f"--with {settings.name}") for settings in entries]
        with row_writer(out) as write:
            for group in _joined(groups, results):
                write(traces_row(group))
    ledger = groups.ledger()
    scored = {name: folder.ledger()["accounts"][f"scored:{name}"] for name, folder in zip(names, results, strict=True)}
    shutil.rmtree(asked.work)
    say(f"written  {out}")
    if (replies := _replies(out)).exists():
        say(f"kept     {replies}: paid replies; a later command with the same --out reuses them")
    return {
        "problems": ledger["accounts"]["problems"]["kept"],
        "traces": ledger["accounts"]["traces"]["kept"],
        "unreadable": ledger["tallies"].get("unreadable", {}),
        "scored": scored,
        "out": str(out),
    }


def _entry(value: str | Mapping[str, Any]) -> ScorerSettings:
    tree = read_value(value, "--with") if isinstance(value, str) else value
    try:
        return ScorerSettings.model_validate(tree)
    except ValidationError as error:
        said = "; ".join(sentence_of(one, ScorerSettings) for one in error.errors())
        raise OperatorError(f"--with {value!r}: {said}") from error


def _replies(out: Path) -> Path:
    return out.absolute().with_name(f"{out.name}.replies.jsonl")


def _read(path: Path, source: str, work: Path) -> StageFolder:
    """The groups of the input as shards: read once, and not again by a command that goes on."""
    read, read_files = source_of_file(source, path)
    files = {str(file): sha256_file(file) for file in read_files}
    key = new_key(values(source=source, files=files), {}, (read.func, _shards))
    folder = StageFolder(work / "input", key.fingerprint)
    if folder.is_finished():
        return folder
    folder.open()
    count = 0
    for count, (groups, dropped) in enumerate(_shards(read()), start=1):
        problems, traces = Account("problem"), Account("trace")
        for group in groups:
            problems.keep()
            for _trace in group.traces:
                traces.keep()
        accounts = {"problems": problems, "traces": traces}
        tally = Counter(one.reason for one in dropped)
        shard = Shard({"groups": (Group, groups)}, accounts, dropped, {"unreadable": tally})
        folder.finish_shard(count - 1, shard)
    ledger = folder.finish(count) if count else None
    if ledger is None or not ledger["accounts"]["traces"]["kept"]:
        raise OperatorError(
            f"{path}: the source {source} finds no trace in it; `redistill init --traces {shell_word(path)}` shows what can be read."
        )
    return folder


def _shards(items: Iterator[Group | Dropped]) -> Iterator[tuple[list[Group], list[Dropped]]]:
    while piece := list(itertools.islice(items, PER_SHARD)):
        yield [one for one in piece if isinstance(one, Group)], [one for one in piece if isinstance(one, Dropped)]


def _joined(groups: StageFolder, scorers: Sequence[StageFolder]) -> Iterator[Group]:
    for group, *marks in zip(groups.read("groups"), *(folder.read("marks") for folder in scorers), strict=True):
        for new in marks:
            group = joined(group, new)
        yield group


def summary(counts: Mapping[str, Any]) -> str:
    """The counts as lines."""
    lines = [f"{plural(counts['traces'], 'trace')} of {plural(counts['problems'], 'problem')}"]
    for name, account in counts["scored"].items():
        why = ", ".join(f"{count:,} {reason}" for reason, count in account["dropped"].items())
        lines.append(
            f"{name}: {account['kept']:,} of {account['in']:,} traces scored" + (f" (not: {why})" if why else "")
        )
    lines += [f"unreadable rows, left out: {count:,} {reason}" for reason, count in counts["unreadable"].items()]
    return "\n".join(lines)
