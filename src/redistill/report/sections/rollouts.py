"""The section about stages that learned from their own answers: figures of each round, samples, accuracy at equal cost.

A round's figures stand in the line of metrics.jsonl that its first step wrote. What a figure means is said where it is drawn; one that
never moved from 0, or was measured in fewer than two rounds, is not drawn. Offline stages with the same start are laid beside the
online ones over tokens, sampled and trained on together, because those are what both kinds of stage pay with.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from redistill.records import Group
from redistill.report import charts
from redistill.report.blocks import Block, Browser, Figure, Leaf, MarkedText, Passage, Passages, Piece, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.remarks import tone
from redistill.report.sections.accuracy import probe_error
from redistill.report.sections.traces import tone_of, verdict_lines
from redistill.report.sections.training import by_start, stage_start
from redistill.report.shapes import Step, WeighedAnswer
from redistill.report.text import count, cut, join, percent, short

_T = TypeVar("_T")
PANELS = (  # key, title, whether it is a share that is shown in percent
    ("reward", "reward, mean of the answers", False),
    ("pass_rate", "pass rate, %", True),
    ("undecided", "answers without a reward, %", True),
    ("no_variance", "problems without variance in reward, %", True),
    ("length", "tokens per answer", False),
    ("cut", "answers cut at their limit, %", True),
    ("entropy", "entropy, nats per token", False),
    ("reference_kl", "KL to the reference, nats per token", False),
    ("importance_mean", "importance weight of a server's token, mean", False),
    ("importance_truncated", "importance weights cut at their cap, %", True),
    ("problems_kept", "problems with a right and a wrong answer, %", True),
    ("weight_right", "weight of a token of right answers, mean", False),
    ("weight_wrong", "weight of a token of wrong answers, mean", False),
    ("critic_loss", "critic: loss before its update (log 2 is chance)", False),
    ("critic_accuracy", "critic: accuracy on answers, %", True),
)
ENDS = 5  # rounds that the table's first and last columns are means of
PROBLEMS_SHOWN, ROUNDS_SHOWN = 6, 4
TOKENS_SHOWN = 400  # of an answer whose tokens are coloured


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Of a stage: trained on, and sampled; those of steps that a guard went back behind too."""

    trained: float
    sampled: float


def rollouts(run: RunFiles) -> list[Block]:
    """Nothing for a run without such stages: the heading is left out with it."""
    stages = {stage: rounds for stage in run.stages if (rounds := rounds_of(run, stage))}
    if not stages:
        return []
    blocks: list[Block] = [_table(run, stages), _costs(run)]
    if panels := _panels(run, stages):
        legend = [Tag(stage, run.series(stage)) for stage in stages]
        caption = (
            "Each round's answers, before the student was trained on them. The pass rate is on the sampled training problems, not on dev. "
            "A problem whose answers all have the same reward teaches an objective with advantages nothing."
        )
        blocks.append(Figure(panels, caption, legend))
    for start in by_start(run, list(stages)):
        blocks += _at_equal_cost(run, start)
    for stage in stages:
        blocks += _samples(run, stage)
        blocks += _weighed(run, stage)
    return blocks


def rounds_of(run: RunFiles, stage: str) -> list[Step]:
    """The lines that opened a round, in their order."""
    return [step for step in run.steps(stage) if step.round is not None]


def _table(run: RunFiles, stages: dict[str, list[Step]]) -> Table:
    head = (
        "stage",
        "rounds",
        "answers",
        "reward",
        "pass rate, %",
        "undecided, %",
        "no variance, %",
        "tokens per answer",
    )
    body = []
    for stage, rounds in stages.items():
        body.append(
            (
                Tag(stage, run.series(stage)), count(len(rounds)), count(num_answers(rounds)),
                _ends(rounds, "reward", 1.0), _ends(rounds, "pass_rate", 100.0),
                percent(_mean(rounds, "undecided")), percent(_mean(rounds, "no_variance")), _ends(rounds, "length", 1.0, 0),
            )
        )  # fmt: skip
    return Table(f"Rounds; arrows are from the mean of the first {ENDS} rounds to that of the last {ENDS}", head, body)


def _costs(run: RunFiles) -> Table:
    """What every stage paid in tokens, and what it got."""
    head = ("stage", "start", "tokens sampled", "tokens trained on", "both", "pass@1 before → after, %")
    body = []
    for stage in run.stages:
        cost = _spent(run, stage)
        body.append(
            (
                Tag(stage, run.series(stage)), stage_start(run, stage), count(cost.sampled), count(cost.trained),
                count(cost.sampled + cost.trained), _scored(run, stage),
            )
        )  # fmt: skip
    return Table("Tokens and accuracy of every stage, offline and on its own answers", head, body, (1,))


def num_answers(rounds: Sequence[Step]) -> int:
    """A round's answers are its sampled tokens over their mean length."""
    return sum(round(row.generated_tokens / row.length) for row in rounds if row.generated_tokens and row.length)


def _mean(rounds: Sequence[Step], key: str) -> float | None:
    values = [value for row in rounds if (value := getattr(row, key)) is not None and math.isfinite(value)]
    return sum(values) / len(values) if values else None


def _ends(rounds: Sequence[Step], key: str, scale: float, digits: int | None = None) -> str | None:
    first, last = _mean(rounds[:ENDS], key), _mean(rounds[-ENDS:], key)
    if first is None or last is None:
        return None
    digits = (1 if scale == 100.0 else 3) if digits is None else digits
    return f"{scale * first:.{digits}f} → {scale * last:.{digits}f}"


def _scored(run: RunFiles, stage: str) -> str | None:
    """pass@1 of the start and of the stage on the first benchmark."""
    benchmark = next(iter(run.benchmarks), None)
    both = [run.scores.get((model, benchmark or "")) for model in (stage_start(run, stage), stage)]
    shown = [percent(one.pass_at_1.value) if one else None for one in both]
    return f"{shown[0] or '–'} → {shown[1]} ({benchmark})" if shown[1] else None


def _spent(run: RunFiles, stage: str) -> _Tokens:
    steps = [*run.steps(stage), *(step for part in run.abandoned(stage) for step in part)]
    return _Tokens(sum(s.tokens or 0 for s in steps), sum(s.generated_tokens or 0 for s in steps))


# --- figures of the rounds ------------------------------------------------------------------------------------------


def _panels(run: RunFiles, stages: dict[str, list[Step]]) -> list[tuple[str, Markup]]:
    panels = []
    for key, title, share in PANELS:
        if key == "reward" and all(row.reward == row.pass_rate for rows in stages.values() for row in rows):
            continue  # the same curve twice
        lines = []
        for stage, rows in stages.items():
            points = [(row.round, v) for row in rows if (v := getattr(row, key)) is not None and math.isfinite(v)]
            if len(points) > 1:
                values = [100 * v if share else v for _, v in points]
                lines.append(charts.Line(run.series(stage), [float(n or 0) for n, _ in points], values))
        if any(value != 0 for line in lines for value in line.values):
            label = f"{title} over rounds of {join(list(stages))}"
            panels.append((title, charts.curves(lines, label, xlabel="round")))
    return panels


# --- accuracy at equal cost -----------------------------------------------------------------------------------------


def _at_equal_cost(run: RunFiles, start: str) -> list[Block]:
    """Accuracy over tokens of all stages from one start; left out where it would show less than three measurements."""
    stages = [stage for stage in run.stages if stage_start(run, stage) == start]
    benchmark = next(iter(run.benchmarks), None)
    most = max(sum(spent(run.steps(stage))) for stage in stages)
    unit, size = (
        ("million tokens", 1e6) if most >= 1e7 else ("thousand tokens", 1e3) if most >= 1e4 else ("tokens", 1.0)
    )
    lines, scores = [], []
    for stage in stages:
        paid, points = 0.0, list[tuple[float, float, float]]()
        for row in run.steps(stage):
            paid += (row.tokens or 0) + (row.generated_tokens or 0)
            if row.probe_accuracy is not None:
                points.append((paid / size, row.probe_accuracy, probe_error(row)))
        lines += [(run.series(stage), points)] if len(points) > 1 else []
        if scores_of := run.scores.get((stage, benchmark or "")):
            scores.append((stage, paid / size, scores_of.pass_at_1))
    if scores and (scores_of := run.scores.get((start, benchmark or ""))):
        scores.insert(0, (start, 0.0, scores_of.pass_at_1))
    marks = [(run.series(model), x, one.value, one.interval95) for model, x, one in scores if one.value is not None]
    if not lines and len(marks) < 3:
        return []
    label = f"accuracy over tokens of {join(stages)}, from {start}"
    caption = f"{join(stages)}, from {start}, at equal cost: a sampled token and a token trained on count the same."
    if marks:
        caption += f" Marks: pass@1 on {benchmark} with 95% intervals."
    if lines:
        caption += " Lines: the guard's probe; band: one standard error."
    legend = [Tag(model, run.series(model)) for model in [start, *stages]]
    picture = charts.accuracy(lines, marks, label, xlabel=f"{unit}, sampled and trained on")
    return [Figure([("accuracy, %", picture)], caption, legend, single=True)]


def spent(steps: Sequence[Step]) -> list[float]:
    """Tokens that each step trained on and sampled."""
    return [float((step.tokens or 0) + (step.generated_tokens or 0)) for step in steps]


# --- samples --------------------------------------------------------------------------------------------------------


def _samples(run: RunFiles, stage: str) -> list[Block]:
    """Problems that were asked in several rounds, an answer of each; where none was, dev problems before and after the stage."""
    wanted = min(PROBLEMS_SHOWN, run.most_texts)
    asked: dict[str, list[tuple[str, Group]]] = {}
    for path in _spread(run.shards(f"train/{stage}/rollouts/groups"), 40):
        number = int(path.stem.rpartition("-")[2]) + 1
        for group in run.records(path, 64):
            asked.setdefault(group.problem.id, []).append((f"round {number}", group))
    again = [found for found in asked.values() if len(found) > 1]
    again.sort(key=lambda samples: -len(samples))
    title = f"{stage}: the same problem in several rounds, the first answer of each"
    if not again:
        again = _before_and_after(run, stage, wanted)
        title = f"{stage}: no problem was sampled twice, so these are dev problems before and after the stage, the first answer to each"
    leaves = [
        Leaf(f"Problem {n}: {short(found[0][1].problem.statement, 70)}", str(n), _answers(_spread(found, ROUNDS_SHOWN)))
        for n, found in enumerate(again[:wanted], 1)
    ]
    return [Text(f"{title}.", "quiet"), Browser(f"Rounds of {stage}", leaves)] if leaves else []


def _before_and_after(run: RunFiles, stage: str, wanted: int) -> list[list[tuple[str, Group]]]:
    """Dev problems whose first answers before and after the stage differ in their verdict first."""
    benchmark, start = next(iter(run.benchmarks), None), stage_start(run, stage)
    if benchmark is None:
        return []
    by_student = {
        student: {g.problem.id: g for g in run.sample(f"evaluate/{student}/{benchmark}/groups", max_shards=4, max_records=200)}
        for student in (start, stage)
    }  # fmt: skip
    both = [
        [(f"before ({start})", group), (f"after ({stage})", by_student[stage][id])]
        for id, group in by_student[start].items()
        if id in by_student[stage] and group.traces and by_student[stage][id].traces
    ]
    both.sort(key=lambda pair: tone_of(pair[0][1].traces[0]) == tone_of(pair[1][1].traces[0]))
    return both[:wanted]


def _weighed(run: RunFiles, stage: str) -> list[Block]:
    """The answers of the stage's last round with their tokens coloured by weight; nothing where no critic weighed them."""
    weights = run.token_weights(stage)
    shown = weights.answers[: 2 * min(PROBLEMS_SHOWN, run.most_texts)] if weights else []
    if not shown:
        return []
    statements = {one.problem_id: one.statement for one in shown}
    leaves = []
    for number, (problem_id, statement) in enumerate(statements.items(), 1):
        inside: list[Block] = []
        for one in (one for one in shown if one.problem_id == problem_id):
            side = "right answer, raised" if one.is_right else "wrong answer, lowered"
            inside.append(MarkedText(f"{side}, round {one.round}", _pieces(one)))
        leaves.append(Leaf(f"Problem {number}: {short(statement, 70)}", str(number), inside))
    said = (
        f"{stage}: the weight of each token of its last answers, from the critic that was trained with it; blue is raised, orange lowered, "
        "down, pale does not count. Such a critic marks a wrong answer from its error on."
    )
    return [Text(said, "quiet"), Browser(f"Token weights of {stage}", leaves)]


def _pieces(answer: WeighedAnswer) -> list[Piece]:
    """The answer token by token, the first TOKENS_SHOWN of them; a weight has 1 for its largest size."""
    pieces: list[Piece] = []
    for start, end, weight in answer.spans[:TOKENS_SHOWN]:
        text = answer.completion[start:end] or "end of turn"
        pieces.append((tone(weight, 1.0), text, f"{weight:g}"))
    hidden = len(answer.spans) - TOKENS_SHOWN
    return [*pieces, ("cut", f"{hidden:,} more tokens", "")] if hidden > 0 else pieces


def _answers(answers: Sequence[tuple[str, Group]]) -> list[Block]:
    problem = answers[0][1].problem
    statement = Passage(
        "problem", "", [f"gold answer: {short(problem.answer or '–')}"], cut(problem.statement, 600, 200)
    )
    passages = []
    for when, group in answers:
        trace = group.traces[0]
        rewards = [t.scores["reward"] for t in group.traces if "reward" in t.scores]
        lines = verdict_lines(trace)
        if "reward" in trace.scores:
            lines.append(
                f"reward {trace.scores['reward']:.3g}; mean of its {len(rewards)} answers {sum(rewards) / len(rewards):.3g}"
            )
        passages.append(Passage(when, tone_of(trace), lines, cut(trace.completion, 500, 300)))
    return [Passages([statement]), *(Passages(passages[n : n + 2]) for n in range(0, len(passages), 2))]


def _spread(items: Sequence[_T], most: int) -> list[_T]:
    """At most so many, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]
