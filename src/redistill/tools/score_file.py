"""Any file of traces -> the same traces with scores, spans and notes: the verb `score`.

    score_file(Path("traces.jsonl"), [{"name": "perplexity", "model": "gpt2"}], out=Path("scored.jsonl"))
        -> {"problems": 200, "traces": 512, "scored": {"perplexity": {"in": 512, "kept": 509, "dropped": {"too_long": 3}}}, ...}

The scorers are those of the stage `score` (score/stage.py), and so is their work: shard by shard into a folder beside `out`, so a
command that is stopped goes on where it was. `out` is what the source `traces` reads.
"""

import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from redistill.config.binding import function_of
from redistill.config.tables import PromptText, ScorerSettings, StudentSettings
from redistill.config.validation_messages import sentence_of
from redistill.config.yaml_text import read_value
from redistill.corpus import SOURCES, resolve
from redistill.errors import OperatorError
from redistill.io.atomic import check_output, sha256_file
from redistill.io.progress import bar, say
from redistill.io.shards import parts_to_do
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.model import loading
from redistill.pipeline.keys import new_key, values
from redistill.pipeline.lock import alone
from redistill.pipeline.scoring import bind_scorer, needs_of, option_settings
from redistill.pipeline.student_identity import student_identity
from redistill.records import Dropped, Group
from redistill.rollout import Student
from redistill.score import BoundScorer, score_part
from redistill.score.stage import joined
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
        raise OperatorError(f"--out: {out} is there already; name another file, or remove it first.")
    if not out.name.endswith(ENDINGS):
        raise OperatorError(f"--out: {out} must end in {', '.join(ENDINGS)}.")
    entries = [_entry(one) for one in scorers]
    names = [settings.folder for settings in entries]
    if not names or len({*names}) < len(names):
        raise OperatorError("--with: name at least one scorer, and give two of one name an `into` each.")
    bound = [bind_scorer(settings, f"--with {settings.name}") for settings in entries]
    asked = _Asked(path, source, out, PromptText(template=template, chat=chat), student, seed)
    with alone(asked.folder()):
        groups = _read(asked)
        found = [_score(asked, groups, settings, scorer) for settings, scorer in zip(entries, bound, strict=True)]
        with row_writer(out) as write:
            for group in _joined(groups, found):
                write(traces_row(group))
    ledger = groups.ledger()
    scored = {name: folder.ledger()["accounts"][f"scored:{name}"] for name, folder in zip(names, found, strict=True)}
    shutil.rmtree(asked.work)
    return {
        "problems": ledger["accounts"]["problems"]["kept"],
        "traces": ledger["accounts"]["traces"]["kept"],
        "unreadable": ledger["tallies"].get("unreadable", {}),
        "scored": scored,
        "out": str(out),
    }


class _Asked:
    """What one command was asked: where it reads, where it works, and what its scorers may use."""

    def __init__(self, path: Path, source: str, out: Path, prompt: PromptText, student: str | None, seed: int) -> None:
        self.path, self.source, self.prompt, self.seed = path, source, prompt, seed
        self.work = out.absolute().with_name(f"{out.name}.work")
        self.replies = out.absolute().with_name(f"{out.name}.replies.jsonl")
        self.student = StudentSettings(model=student) if student is not None else None

    def folder(self) -> Path:
        """The folder of what is not finished yet, made where it is not there."""
        self.work.mkdir(parents=True, exist_ok=True)
        return self.work


def _entry(value: str | Mapping[str, Any]) -> ScorerSettings:
    tree = read_value(value, "--with") if isinstance(value, str) else value
    try:
        return ScorerSettings.model_validate(tree)
    except ValidationError as error:
        said = "; ".join(sentence_of(one, ScorerSettings) for one in error.errors())
        raise OperatorError(f"--with {value!r}: {said}") from error


def _read(asked: _Asked) -> StageFolder:
    """The groups of the input as shards: read once, and not again by a command that goes on."""
    read = function_of(SOURCES, asked.source, "--source")
    files = {str(file): sha256_file(file) for file in resolve(str(asked.path))}
    key = new_key(values(source=asked.source, files=files), {}, (read, _shards))
    folder = StageFolder(asked.work / "input", key.fingerprint)
    if folder.is_finished():
        return folder
    folder.open()
    count = 0
    for count, (groups, dropped) in enumerate(_shards(read(path=str(asked.path))), start=1):
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
            f"{asked.path}: the source {asked.source} finds no trace in it; `redistill init {asked.path}` shows what can be read."
        )
    return folder


def _shards(items: Iterator[Group | Dropped]) -> Iterator[tuple[list[Group], list[Dropped]]]:
    while piece := list(itertools.islice(items, PER_SHARD)):
        yield [one for one in piece if isinstance(one, Group)], [one for one in piece if isinstance(one, Dropped)]


def _score(asked: _Asked, before: StageFolder, settings: ScorerSettings, function: partial[Any]) -> StageFolder:
    """What one scorer finds, shard by shard."""
    name, needs = settings.folder, needs_of(function)
    makers: dict[str, Any] = {
        "_into": lambda: name,
        "_seed": lambda: asked.seed,
        "_student": lambda: _student(asked),
        "_prompt": lambda: asked.prompt,
        "_config": lambda: None,
        "_all_groups": lambda: partial(before.read, "groups"),
        "_cache": lambda: asked.replies,
        "_held": dict,
    }
    if unknown := [need for need in needs if need not in makers]:
        raise OperatorError(
            f"--with {settings.name}: this scorer needs a recipe ({', '.join(unknown)}); write it in `score` of one."
        )
    used: dict[str, Any] = {"prompt": asked.prompt.model_dump()} if "_prompt" in needs else {}
    used |= {"seed": asked.seed} if {"_seed", "_student"} & {*needs} else {}
    used |= student_identity(asked.student) if "_student" in needs and asked.student is not None else {}
    key = new_key(
        values(**option_settings(settings), **used), {"input": (before.fingerprint,) * 2}, (function, score_part)
    )
    folder = StageFolder(asked.work / "scorers" / name, key.fingerprint)
    if folder.is_finished():
        return folder
    folder.open()
    scorer = BoundScorer(name, partial(function, **{need: makers[need]() for need in needs}))
    parts = parts_to_do(before, folder)
    total = before.ledger()["num_shards"]
    with bar(label=f"score {name}", unit="shard", total=total, initial=total - len(parts)) as progress:
        for part in parts:
            score_part(folder, scorer, part)
            progress.update(1)
    folder.finish(total)
    return folder


def _student(asked: _Asked) -> Student | None:
    settings = asked.student
    if settings is None:
        return None

    def load() -> Any:
        tokenizer = loading.load_tokenizer(settings)
        return loading.load_model(settings, tokenizer, seed=asked.seed), tokenizer

    return Student(load, settings.model or "", owned=True)


def _joined(groups: StageFolder, scorers: Sequence[StageFolder]) -> Iterator[Group]:
    for group, *marks in zip(groups.read("groups"), *(folder.read("marks") for folder in scorers), strict=True):
        for new in marks:
            group = joined(group, new)
        yield group


def summary(counts: Mapping[str, Any]) -> str:
    """The counts as lines."""
    lines = [f"{counts['traces']:,} traces of {counts['problems']:,} problems"]
    for name, account in counts["scored"].items():
        why = ", ".join(f"{count:,} {reason}" for reason, count in account["dropped"].items())
        lines.append(
            f"{name}: {account['kept']:,} of {account['in']:,} traces scored" + (f" (not: {why})" if why else "")
        )
    lines += [f"unreadable rows, left out: {count:,} {reason}" for reason, count in counts["unreadable"].items()]
    return "\n".join(lines)


def tell_replies(out: Path) -> None:
    """Name the file of replies that were paid for, where there is one."""
    replies = out.absolute().with_name(f"{out.name}.replies.jsonl")
    if replies.exists():
        say(
            f"kept     {replies}: replies that were paid for; another command with the same --out does not ask them again"
        )
