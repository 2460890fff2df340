"""The section on label noise: who contradicts whom, and how many right traces may stand among the rejected ones."""

from redistill.report.blocks import Block, Details, Sentences, Table, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.shapes import GraderPair, LabelAgreement, LabelNoise
from redistill.report.text import percent, short

MAX_TASKS = 20
_WORDS = ("correct", "incorrect", "undecided")


def label_noise(run: RunFiles) -> list[Block]:
    """The estimate in a sentence, the matrix of every two graders, and what the estimate rests on."""
    noise = run.label_noise
    if noise is None:
        return not_run("verify", "label noise")
    blocks: list[Block] = [Text(noise.sentence, "lead")]
    blocks += [_matrix(pair) for pair in noise.matrix]
    for table in run.label_agreement.tables if run.label_agreement else ():
        blocks += _contradictions(table)
    return blocks + (_estimate(noise) if noise.estimate else [])


def _matrix(pair: GraderPair) -> Table:
    agreement = percent(pair.agreement_where_both_decide)
    caption = f"{pair.a} (rows) and {pair.b} (columns), traces" + (
        f"; they agree on {agreement}% of those that both decide" if agreement else ""
    )
    rows = [(word, *(f"{pair.counts.get(f'{word} {other}', 0):,}" for other in _WORDS)) for word in _WORDS]
    return Table(caption, (f"{pair.a} says", *_WORDS), rows)


def _contradictions(table: LabelAgreement) -> list[Block]:
    """How often a label of the data and a verifier contradict each other, on which tasks, and three examples of each kind."""
    kinds = (("correct", "wrong", table.label_says_wrong), ("incorrect", "right", table.label_says_right))
    tasks = sorted({task for _, _, kind in kinds for task in kind.tasks}, key=lambda task: -max(k.tasks.get(task, 0) for _, _, k in kinds))  # fmt: skip
    blocks: list[Block] = [Text(table.sentence)]
    if not tasks:
        return blocks
    head = ("task or source", *(f"{table.verifier} {said}, {table.label} {other}" for said, other, _ in kinds))
    rows = [(short(task, 60), *(f"{kind.tasks.get(task, 0):,}" for _, _, kind in kinds)) for task in tasks[:MAX_TASKS]]
    blocks.append(Table(f"Where {table.label} and {table.verifier} contradict each other, traces", head, rows))
    for said, other, kind in kinds:
        shown = [
            (short(e.task, 40), short(e.gold, 80), short(e.answer, 80), short(e.end, 120), e.trace_id) for e in kind.examples
        ]  # fmt: skip
        if shown:
            caption = f"{table.verifier} says {said} and {table.label} says {other}: examples"
            blocks.append(Table(caption, ("task", "gold", "answer", "end of the trace", "trace"), shown, (1, 2, 3)))
    return blocks


def _estimate(noise: LabelNoise) -> list[Block]:
    estimate = noise.estimate
    assert estimate is not None
    columns = ("correct_of_right", "incorrect_of_right", "correct_of_wrong", "incorrect_of_wrong")
    rows = [(name, *(percent(chances.get(column)) for column in columns)) for name, chances in estimate.graders.items()]
    head = ("grader", *(column.replace("_", " ") for column in columns))
    return [
        Table("How each grader labels right and wrong traces, in percent, as estimated by the model", head, rows),
        Details(
            "How the estimate was made",
            [Text(f"{estimate.model}. Interval: {estimate.interval}."), Sentences(estimate.assumptions)],
        ),
    ]
