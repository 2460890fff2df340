"""The way of one record through every stage of a run: kept or dropped, by whom, for which reason, under which setting.

    steps = way(Path("runs/x"), "t3fa9")        an id, or its beginning where only one record's id begins so
    steps[2]  ->  Step("select", "example dropped: completion_too_long", ["setting select.max_completion_tokens = 600", ...])

Reads the files that the stages left, a batch at a time and only the columns it asks for, so memory does not grow with the
run. An answer that a training stage sampled is named with its round, reward and advantage (sampled_answers.py). A problem's id begins with p, a trace's with t, a pair's with q; a row that the corpus refused is known as file:row.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from redistill.config.drop_reasons import Reason, explain, explain_sampled
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, read_yaml
from redistill.io.parquet import read_columns, read_records
from redistill.io.stage_folder import check_layout
from redistill.records import FINAL, Group, Trace, Verdict, pair_id
from redistill.safety.paths import check_links
from redistill.score.marks import UNSCORED, reasons_of
from redistill.score.stage import joined
from redistill.text.steps import LOW, first_low_step
from redistill.tools import sampled_answers
from redistill.tools.show import span_lines

KINDS = {"p": "problem", "t": "trace", "q": "pair"}
MAX_LISTED = 12  # pairs of a trace, traces of a problem
SHORTEST = 3  # characters that a beginning of an id needs


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one stage, and the particulars, a line each."""

    stage: str
    what: str
    details: list[str] = field(default_factory=list)


def way(run: Path, id: str) -> list[Step]:
    """The steps of the record whose id is `id` or begins with it. OperatorError where none does, or more than one."""
    if not (run / "recipe.yaml").exists():
        raise OperatorError(f"{run} is not a run's folder (it has no recipe.yaml); give one such as runs/quickstart.")
    check_links(run)
    check_layout(run)
    here = _Run(run, read_yaml(run / "recipe.yaml"))
    path_of = _resolve(here, id)
    if path_of[0] == "q":
        return _pair(here, path_of)
    if path_of[0] == "t" and ":" not in path_of:
        return _trace(here, path_of)
    return _problem(here, path_of) if ":" not in path_of else _row(here, path_of)


def as_text(steps: Sequence[Step]) -> str:
    """The steps for a user: one line per stage, its particulars below."""
    lines = []
    for step in steps:
        lines.append(f"{step.stage:<9} {step.what}")
        lines += [" " * 12 + detail for detail in step.details]
    return "\n".join(lines)


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """A run's folder and its recipe."""

    folder: Path
    recipe: dict[str, Any]

    def shards(self, stream: str) -> list[Path]:
        return sorted((self.folder / stream).glob("part-*.parquet"))

    def rows(self, stream: str, *columns: str) -> Iterator[dict[str, Any]]:
        """These columns of a stream's rows, in order; nothing where the stage has not written it."""
        for path in self.shards(stream):
            yield from read_columns(path, columns)

    def group(self, stream: str, problem_id: str) -> Group | None:
        """The group of a problem in a stream of groups."""
        for path in self.shards(stream):
            for place, row in enumerate(read_columns(path, ("problem.id",))):
                if row["problem"]["id"] == problem_id:
                    return next(itertools.islice(read_records(path), place, None))
        return None

    def evaluations(self) -> list[str]:
        """The streams of student's answers, as evaluate/STUDENT/BENCHMARK/groups."""
        folders = self.folder.glob("evaluate/*/*/groups")
        return sorted(str(path.relative_to(self.folder)) for path in folders)

    def has_run(self, stage: str) -> bool:
        return (self.folder / stage / "ledger.json").exists()

    def setting(self, path: str) -> Any:
        """The recipe's value at a path; `select.filters.NAME` is that filter; None where it is not written."""
        place: Any = self.recipe
        for key in path.split("."):
            if isinstance(place, list):
                place = next((item for item in place if isinstance(item, dict) and item.get("name") == key), None)
            else:
                place = place.get(key) if isinstance(place, dict) else None
        return place


def _all_ids(here: _Run) -> Iterator[str]:
    """Every id that stands in the run's files; many come more than once."""
    for stream in ("corpus/groups", "score/groups", *here.evaluations(), *sampled_answers.streams(here.folder)):
        for row in here.rows(stream, "problem.id", "traces.list.element.id"):
            yield row["problem"]["id"]
            yield from (trace["id"] for trace in row["traces"])
    for stream in ("corpus/dropped", "select/dropped", "select/candidates"):
        yield from (row["id"] for row in here.rows(stream, "id"))
    for row in here.rows("select/pairs", "chosen_id", "rejected_id"):
        yield pair_id(row["chosen_id"], row["rejected_id"])


def _resolve(here: _Run, id: str) -> str:
    """The one id that is `id` or begins with it."""
    if len(id) < SHORTEST:
        raise OperatorError(f"{id!r} is too short for an id; write at least {SHORTEST} characters of it.")
    matches: set[str] = set()
    for known in _all_ids(here):
        if known == id:
            return id
        if known.startswith(id) and len(matches) < 3:
            matches.add(known)
    if not matches:
        known_kinds = ", ".join(f"{kind}s {letter}..." for letter, kind in KINDS.items())
        raise OperatorError(
            f"no record of {here.folder} has the id {id} or one that begins with it; ids ({known_kinds}) are in the "
            "part-*.parquet files that `redistill show` prints."
        )
    if len(matches) > 1:
        raise OperatorError(
            f"{id} is the beginning of several ids ({', '.join(sorted(matches))} ...); write more of it."
        )
    return matches.pop()


# --- one sentence a stage ------------------------------------------------------------------------------------------


def _because(here: _Run, reason: str) -> list[str]:
    """The settings behind a reason with their values, and what to try."""
    return _settings_of(here, explain(reason))


def _settings_of(here: _Run, known: Reason) -> list[str]:
    lines = [f"setting {path} = {_shown(here.setting(path))}" for path in known.settings]
    set_ones = [line for line in lines if not line.endswith(" = not set")]
    return [*(set_ones or lines), f"to change it: {known.advice}"]


def _shown(value: Any) -> str:
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _not_run(stage: str) -> Step:
    return Step(stage, "has not run in this folder")


def _dropped(here: _Run, stream: str, id: str, stage: str = "") -> list[str]:
    """The reasons under which an id stands in a stage's dropped files; `stage` narrows select's to examples, pairs or dev."""
    rows = here.rows(stream, "id", "stage", "reason")
    return [row["reason"] for row in rows if row["id"] == id and (not stage or row["stage"] == stage)]


def _row(here: _Run, id: str) -> list[Step]:
    """A row of a source that the corpus refused."""
    reasons = _dropped(here, "corpus/dropped", id)
    return [Step("corpus", f"row {id} dropped: {reason}", _because(here, reason)) for reason in reasons]


def _first_seen(here: _Run, id: str, group: Group, trace: Trace | None = None) -> Step:
    """How a record came into the corpus, and what of it was dropped there."""
    sample = "" if trace is None else f", generation {trace.sampling.get('sample_index', 'unknown')}"
    what = f"kept: {group.problem.source} {group.problem.source_row}{sample}"
    others = Counter(_dropped(here, "corpus/dropped", id))
    details = [f"{count} more with this text dropped: {reason}" for reason, count in others.items()]
    return Step("corpus", what, details)


def _trace(here: _Run, id: str) -> list[Step]:
    """The way of a trace of a teacher, an answer in an evaluation, one that a stage sampled: of each that has this text."""
    known, sampled = _known_trace(here, id), _sampled(here, id)
    return [*(known or [Step("trace", f"{id}, an answer that a training stage sampled")]), *sampled]


def _sampled(here: _Run, id: str) -> list[Step]:
    """Where a training stage sampled this answer: round, verdict, reward, and what it became."""
    steps, count = list[Step](), 0
    for occurrence in sampled_answers.occurrences(here.folder, here.recipe, id):
        count += 1
        if count > MAX_LISTED:
            continue
        judged = _verdicts("train", occurrence.trace)
        reward = "no reward (unknown)" if occurrence.reward is None else f"reward {occurrence.reward:g}"
        what = f"{occurrence.stage}: round {occurrence.round}, answer {occurrence.sample} of {occurrence.n} to {occurrence.group.problem.id}: {judged.what}"
        first, last = occurrence.steps
        likely = (
            ""
            if occurrence.mean_logprob is None
            else f", log-prob {occurrence.mean_logprob:.4g} a token when it was sampled"
        )
        details = [*judged.details, f"{occurrence.tokens} tokens{likely}"]
        if occurrence.reason:
            details += [f"dropped: {occurrence.reason}"]
            details += _settings_of(here, explain_sampled(occurrence.reason, occurrence.stage))
        else:
            place = f"step {first}" if first == last else f"steps {first} to {last}"
            details += [f"{occurrence.use}; its round is trained on in {place}"]
        steps.append(Step("train", f"{what}, {reward}", details))
    return steps + ([Step("train", f"and {count - MAX_LISTED} more samples of it")] if count > MAX_LISTED else [])


def _known_trace(here: _Run, id: str) -> list[Step]:
    for stream in ("corpus/groups", *here.evaluations()):
        for row in here.rows(stream, "problem.id", "traces.list.element.id"):
            if any(trace["id"] == id for trace in row["traces"]):
                of_teacher = stream == "corpus/groups"
                return (_teachers if of_teacher else _students)(here, id, row["problem"]["id"], stream)
    for row in here.rows("score/groups", "problem.id", "traces.list.element.id"):
        if any(trace["id"] == id for trace in row["traces"]):
            return _drawn_by_scorer(here, id, row["problem"]["id"])
    reasons = _dropped(here, "corpus/dropped", id)
    return [
        Step("corpus", f"trace {id} dropped: {reason}", _because(here, reason)) for reason in dict.fromkeys(reasons)
    ]


def _teachers(here: _Run, id: str, problem_id: str, stream: str) -> list[Step]:
    """A teacher's trace: corpus, verify, select, and each stage that read it."""
    group = here.group(stream, problem_id)
    assert group is not None
    trace = _of(group, id)
    verified, columns = here.group("verify/groups", problem_id), here.group("select/groups", problem_id)
    scored = here.group("score/groups", problem_id)
    # the latest state of the trace before it was scored: a stage may add spans and notes, or drop it
    latest = next(
        t for later in (None if scored else columns, verified, group) if later for t in later.traces if t.id == id
    )
    steps = [Step("trace", f"{id} by {trace.author or 'an unknown author'}, of problem {problem_id}", _remarks(latest))]
    steps.append(_first_seen(here, id, group, trace))
    if dropped := _dropped_between(here, id, "corpus"):
        return [*steps, *dropped]
    if verified is None:
        return [*steps, _not_run("verify")]
    steps.append(_verdicts("verify", _of(verified, id)))
    if dropped := _dropped_between(here, id, "verify"):
        return [*steps, *dropped]
    steps += _scored(here, id, verified, scored)
    if dropped := _dropped_between(here, id, "score"):
        return [*steps, *dropped]
    if columns is None or not here.has_run("select"):
        return [*steps, _not_run("select")]
    known = _of(columns, id)
    scores = ", ".join(f"{name} {value:g}" for name, value in known.scores.items())
    reasons = _dropped(here, "select/dropped", id, "select/examples")
    lines = [f"{known.num_tokens} tokens of the student, its end included; {scores}"]
    for reason in reasons:
        steps.append(Step("select", f"example dropped: {reason}", [*lines, *_because(here, reason)]))
    if not reasons:
        steps.append(Step("select", "kept as an example", lines))
    steps.append(_pairs_of_trace(here, id, problem_id))
    return steps + _trained(here, [id] if not reasons else [], _pairs_with(here, id))


def _scored(here: _Run, id: str, verified: Group | None, scored: Group | None) -> list[Step]:
    """What the scorers found of a trace: a line per scorer that gave it no score, its scores, its spans step by step, notes."""
    if not here.setting("score"):
        return []
    if scored is None:
        return [_not_run("score")]
    trace = _of(scored, id)
    before = next((t for t in verified.traces if t.id == id), None) if verified else None
    known = before or Trace(id, "")
    scores = {name: value for name, value in trace.scores.items() if known.scores.get(name) != value}
    spans = {name: parts for name, parts in trace.spans.items() if known.spans.get(name) != parts}
    notes = {name: text for name, text in trace.notes.items() if known.notes.get(name) != text}
    why = reasons_of(trace)
    details = [f"{name}: not scored ({reason})" for name, reason in why.items()]
    kept = {name: text for name, text in notes.items() if name.removesuffix(UNSCORED) not in why}
    details += _remarks(replace(trace, spans=spans, notes=kept))
    said = ", ".join(f"{name} {value:.6g}" for name, value in scores.items())
    return [Step("score", said or "no score", details)]


def _drawn_by_scorer(here: _Run, id: str, problem_id: str) -> list[Step]:
    """An answer that a scorer drew itself, such as one of a search for the problem's difficulty."""
    scored = here.group("score/groups", problem_id)
    assert scored is not None
    trace = _of(scored, id)
    steps = [
        Step("trace", f"{id} by {trace.author or 'an unknown author'}, drawn by a scorer for problem {problem_id}")
    ]
    if trace.verdicts:
        steps.append(_verdicts("score", trace))
    steps += _scored(here, id, None, scored)
    return [*steps, _pairs_of_trace(here, id, problem_id)] if here.has_run("select") else steps


def _dropped_between(here: _Run, id: str, after: str) -> list[Step]:
    """Where a stage that the recipe put after `after` has dropped a trace."""
    stages = [stage for stage in here.setting("stages") or () if stage.get("after") == after]
    names = [str(stage["name"]).rpartition(":")[2] for stage in stages]
    return [
        Step(name, f"trace dropped by the stage {name}", []) for name in names if _dropped(here, f"{name}/dropped", id)
    ]


def _students(here: _Run, id: str, problem_id: str, stream: str) -> list[Step]:
    """A student's answer: who gave it to which benchmark, and how it was judged."""
    steps = [Step("trace", f"{id}, an answer to problem {problem_id}")]
    for place in here.evaluations():
        group = here.group(place, problem_id)
        for trace in _with_marks(here, place, group).traces if group else ():
            if trace.id == id:
                _, student, benchmark, _ = place.split("/")
                sample = trace.sampling.get("sample_index", "unknown")
                step = _verdicts("evaluate", trace)
                what = f"{student} on {benchmark}, sample {sample}: {step.what}"
                steps.append(Step("evaluate", what, [*step.details, *_remarks(trace)]))
    return steps


def _with_marks(here: _Run, place: str, group: Group) -> Group:
    """The answers to one problem with what scorers found of them, for `evaluate.choose`."""
    scorers = sorted((here.folder / place).parent.glob("scorers/*/marks"))
    for marks in (here.group(str(path.relative_to(here.folder)), group.problem.id) for path in scorers):
        group = joined(group, marks) if marks else group
    return group


def _remarks(trace: Trace) -> list[str]:
    """The spans of a trace, each with what it covers, and its notes."""
    lines: list[str] = []
    for name, spans in trace.spans.items():
        of_name = span_lines(name, spans, trace.completion)
        low = first_low_step(spans)
        if low is not None:  # above all others, because a long trace has more steps than are listed
            lines.append(f"first step of {name} below {LOW:g}: number {low + 1} of {len(spans)}, {of_name[low]}")
        lines += of_name
    more = [f"and {len(lines) - MAX_LISTED} more spans"] if len(lines) > MAX_LISTED else []
    notes = [f"note {name}: {' '.join(text.split())[:200]}" for name, text in trace.notes.items()]
    return [*lines[:MAX_LISTED], *more, *notes]


def _of(group: Group, id: str) -> Trace:
    return next(trace for trace in group.traces if trace.id == id)


def _verdicts(stage: str, trace: Trace) -> Step:
    details = [f"{name}: {_verdict(verdict)}" for name, verdict in trace.verdicts.items() if name != FINAL]
    joined = trace.verdicts.get(FINAL)
    if joined is None:
        return Step(stage, "not judged", details)
    return Step(stage, str(joined.outcome), [*details, f"joined by {joined.verifier}: {_verdict(joined)}"])


def _verdict(verdict: Verdict) -> str:
    reason = f" ({verdict.reason})" if verdict.reason else ""
    read = "" if verdict.extracted is None else f", answer read: {verdict.extracted[:200]!r}"
    score = "" if verdict.score is None else f", score {verdict.score:g}"
    return f"{verdict.outcome}{reason}{score}{read}"


def _pairs_with(here: _Run, id: str) -> list[str]:
    """Pairs of the run, as the training rows name them, that a trace stands in."""
    rows = here.rows("select/pairs", "chosen_id", "rejected_id")
    return [f"{r['chosen_id']} {r['rejected_id']}" for r in rows if id in (r["chosen_id"], r["rejected_id"])]


def _pairs_of_trace(here: _Run, id: str, problem_id: str) -> Step:
    """In which pairs a trace stands, and which pairs with it were dropped."""
    own = here.setting("select.pairing.name")
    lines: list[str] = []
    kept = 0
    for row in here.rows("select/candidates", "id", "policy", "chosen_id", "rejected_id", "reason"):
        if row["policy"] == own and id in (row["chosen_id"], row["rejected_id"]):
            side = "chosen" if row["chosen_id"] == id else "rejected"
            kept += not row["reason"]
            lines.append(f"{side} in {row['id']}" + (f", dropped: {row['reason']}" if row["reason"] else ""))
    if lines:
        more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
        return Step("select", f"{kept} of {len(lines)} pairs with it kept", lines[:MAX_LISTED] + more)
    for reason in _dropped(here, "select/dropped", problem_id, "select/pairs"):
        return Step("select", f"in no pair; its problem gives none: {reason}", _because(here, reason))
    setting = f"setting select.pairing = {_shown(here.setting('select.pairing'))}"
    return Step("select", "in no pair: the pairing chose others of its problem, or cannot use it", [setting])


def _pair(here: _Run, id: str) -> list[Step]:
    own = here.setting("select.pairing.name")
    columns = ("id", "policy", "problem_id", "chosen_id", "rejected_id", "chosen_tokens", "rejected_tokens")
    rows = here.rows("select/candidates", *columns, "shared_tokens", "reason")
    matching = [row for row in rows if row["id"] == id]
    if not matching:
        return [
            Step("select", f"pair {id} dropped: {r}", _because(here, r)) for r in _dropped(here, "select/dropped", id)
        ]
    first = matching[0]
    steps = [Step("pair", f"{id} of problem {first['problem_id']}")]
    group = here.group("verify/groups", first["problem_id"])
    for side in ("chosen", "rejected"):
        trace = _of(group, first[f"{side}_id"]) if group else None
        judged = "" if trace is None else f" by {trace.author or 'an unknown author'}: {_verdict(trace.verdict)}"
        steps.append(Step("verify", f"{side} {first[f'{side}_id']}{judged}"))
    tokens = f"{first['chosen_tokens']} and {first['rejected_tokens']} tokens, the first {first['shared_tokens']} of both the same"
    others = [row["policy"] for row in matching if row["policy"] != own]
    details = [tokens, f"setting select.pairing = {_shown(here.setting('select.pairing'))}"]
    if others:
        details.append(f"pairings that make it{' too' if len(others) < len(matching) else ''}: {', '.join(others)}")
    mine = next((row for row in matching if row["policy"] == own), None)
    if mine is None:
        return [*steps, Step("select", f"not made by this run's pairing {own}", details)]
    if mine["reason"]:
        return [
            *steps,
            Step("select", f"dropped: {mine['reason']}", [*details, *_because(here, mine["reason"])]),
        ]
    steps.append(Step("select", "kept", details))
    return steps + _trained(here, [], [f"{first['chosen_id']} {first['rejected_id']}"])


def _problem(here: _Run, id: str) -> list[Step]:
    group = here.group("corpus/groups", id)
    steps = [Step("problem", id)]
    if group is None:
        reasons = _dropped(here, "corpus/dropped", id)
        steps += [Step("corpus", f"dropped: {reason}", _because(here, reason)) for reason in reasons]
    else:
        said = [f"image: {image.path}" for image in group.problem.images]
        if group.problem.metadata:
            said.append(f"metadata: {json.dumps(group.problem.metadata, ensure_ascii=False)[:1_000]}")
        steps[0] = Step("problem", f"{id}: {' '.join(group.problem.statement.split())[:200]}", said)
        seen = _first_seen(here, id, group)
        steps.append(Step("corpus", seen.what, [*seen.details, f"traces: {len(group.traces)}", *_listed(group)]))
        verified = here.group("verify/groups", id)
        steps.append(_not_run("verify") if verified is None else _outcomes("verify", verified))
        steps += _problem_selected(here, id) if here.has_run("select") else [_not_run("select")]
    steps += _asked(here, id)
    for place in here.evaluations():
        answered = here.group(place, id)
        if answered is not None:
            _, student, benchmark, _ = place.split("/")
            outcomes = _outcomes("evaluate", answered)
            steps.append(Step("evaluate", f"{student} on {benchmark}: {outcomes.what}", outcomes.details))
    return steps


def _asked(here: _Run, id: str) -> list[Step]:
    """In which rounds of which stages the student was asked a problem, and how its answers were judged."""
    steps = []
    for stream in sampled_answers.streams(here.folder):
        stage, lines = stream.split("/")[1], list[str]()
        for number in sampled_answers.rounds(here.folder, stage):
            part = here.folder / stream / f"part-{number:05d}.parquet"
            places = (at for at, row in enumerate(read_columns(part, ("problem.id",))) if row["problem"]["id"] == id)
            for place in places:
                group = next(itertools.islice(read_records(part), place, None))
                rewards = [t.scores["reward"] for t in group.traces if "reward" in t.scores]
                mean = f", mean reward {sum(rewards) / len(rewards):.4g}" if rewards else ", no reward known"
                lines.append(
                    f"round {number + 1}: {_outcomes('train', group).what}{mean}: {', '.join(_listed(group)[:4])}"
                )
        if lines:
            more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
            steps.append(Step("train", f"{stage}: asked in {len(lines)} rounds", lines[:MAX_LISTED] + more))
    return steps


def _listed(group: Group) -> list[str]:
    ids = [f"{trace.id} by {trace.author or 'an unknown author'}" for trace in group.traces]
    return ids[:MAX_LISTED] + ([f"and {len(ids) - MAX_LISTED} more"] if len(ids) > MAX_LISTED else [])


def _outcomes(stage: str, group: Group) -> Step:
    counts = Counter(str(trace.verdict.outcome) for trace in group.traces)
    gold = f"gold answer: {group.problem.answer}"
    return Step(stage, ", ".join(f"{n} {word}" for word, n in counts.most_common()) or "no trace", [gold])


def _problem_selected(here: _Run, id: str) -> list[Step]:
    """Examples, pairs, or its place among the held-out problems."""
    reasons = _dropped(here, "select/dropped", id, "select/pairs")
    if "held_out_for_dev" in reasons:
        ungradable = _dropped(here, "select/dropped", id, "select/dev")
        what = (
            f"held out, but dropped from dev: {ungradable[0]}" if ungradable else "held out for dev, never trained on"
        )
        return [Step("select", what, _because(here, "held_out_for_dev"))]
    examples = [
        row["trace_id"] for row in here.rows("select/examples", "problem_id", "trace_id") if row["problem_id"] == id
    ]
    steps = [Step("select", f"{len(examples)} of its traces kept as examples")]
    if reasons:
        return [*steps, Step("select", f"no pair: {reasons[0]}", _because(here, reasons[0]))]
    rows = here.rows("select/pairs", "problem_id", "chosen_id", "rejected_id")
    pairs = [(r["chosen_id"], r["rejected_id"]) for r in rows if r["problem_id"] == id]
    lines = [f"{pair_id(chosen, rejected)}: {chosen} against {rejected}" for chosen, rejected in pairs[:MAX_LISTED]]
    more = [f"and {len(pairs) - MAX_LISTED} more"] if len(pairs) > MAX_LISTED else []
    return [*steps, Step("select", f"pairs kept: {len(pairs)}", lines + more)]


def _trained(here: _Run, examples: list[str], pairs: list[str]) -> list[Step]:
    """Each stage: whether the rows of these ids were among those it trained on, or what turned them away."""
    steps = []
    for stage, settings in (here.recipe.get("train") or {}).items():
        ledger_path = here.folder / "train" / stage / "ledger.json"
        if not ledger_path.exists():
            steps.append(Step("train", f"{stage}: has not run in this folder"))
            continue
        if settings.get("rollouts"):
            steps.append(Step("train", f"{stage}: draws its own rows, and none of the corpus's traces is among them"))
            continue
        if settings["objective"]["name"] in ("outcome", "process", "implicit"):
            steps.append(Step("train", f"{stage}: trains a critic on the labelled traces, right and wrong"))
            continue
        reads_examples = settings["objective"]["name"] == "sft"
        rows = examples if reads_examples else pairs
        ledger = read_json(ledger_path)
        dropped_path = ledger_path.with_name("dropped.json")
        dropped = {row["id"]: row["reason"] for row in read_json(dropped_path)} if dropped_path.exists() else {}
        noun = "example" if reads_examples else "pair"
        if not rows:
            steps.append(Step("train", f"{stage}: no {noun} of it was selected"))
            continue
        passes = ledger["steps"] * settings["batch_size"] / max(1, ledger["rows"]["kept"])
        for row in rows[:MAX_LISTED]:
            name = row if reads_examples else pair_id(*row.split(" "))
            if row in dropped:
                steps.append(Step("train", f"{stage}: {noun} {name} dropped: {dropped[row]}"))
            else:
                steps.append(
                    Step("train", f"{stage}: {noun} {name} among {ledger['rows']['kept']:,} rows, {passes:.3g} passes")
                )
        if len(rows) > MAX_LISTED:
            steps.append(Step("train", f"{stage}: and {len(rows) - MAX_LISTED} more of its {noun}s"))
    return steps
