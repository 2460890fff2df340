"""The section about students that check and correct themselves: the five metrics, attempts by difficulty, paired differences.

runs/x/evaluate/STUDENT/BENCHMARK/scores.json     {"self_correction": {"error_recall": {"value": .8, ...}, ...}}
"""

from redistill.report.blocks import Block, Details, Sentences, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.shapes import Scores, SelfCorrection, Share
from redistill.report.text import count, interval, number, percent, short, top
from redistill.text.self_correction import MEANING, RATES

HEADS = {
    "verification_accuracy": "verification accuracy",
    "error_recall": "error recall",
    "correct_precision": "correct precision",
    "wrong_to_right": "wrong to right",
    "right_to_wrong": "right to wrong",
}
assert HEADS.keys() == RATES.keys() == MEANING.keys()


def self_correction(run: RunFiles) -> list[Block]:
    """Nothing for a run whose answers are not cut into attempts: the heading is left out with it."""
    blocks: list[Block] = []
    for benchmark in run.benchmarks:
        rows = {m: scores for m, scores in run.scores_on(benchmark).items() if scores.self_correction is not None}
        if not rows:
            continue
        blocks += [_metrics(run, benchmark, rows), _attempts(run, benchmark, rows)]
        differences = [c.self_correction for c in run.comparisons if c.benchmark == benchmark]
        blocks.append(Sentences([gain.sentence for of in differences for gain in of.values() if gain.sentence]))
        blocks += _unread(rows)
    meanings = [f"{HEADS[name]}: the share of {words}." for name, words in MEANING.items()]
    how = Text(" ".join([*meanings, _HOW]), "quiet")
    return [*blocks, Details("How this is computed", [how])] if blocks else []


_HOW = (
    "Each attempt is judged separately. An attempt that could not be judged and a verification without a verdict are left out. Intervals: a bootstrap "
    "over problems, with all answers to a problem. A verifier that always says “correct” has error recall 0."
)


def _of(scores: Scores) -> SelfCorrection:
    assert scores.self_correction is not None
    return scores.self_correction


def _metrics(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    head = ["model", *(cell for name in HEADS for cell in (HEADS[name], "95% interval", "of"))]
    body: list[list[str | Tag | None]] = []
    for model, scores in rows.items():
        shares: list[Share] = [getattr(_of(scores), name) for name in HEADS]
        cells = [cell for s in shares for cell in (percent(s.value), interval(s.interval95), count(s.of))]
        body.append([Tag(model, run.series(model)), *cells])
    return Table(f"{benchmark}: verification and correction, in percent", head, body)


def _attempts(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    kinds = list(dict.fromkeys(kind.first_attempts for s in rows.values() for kind in _of(s).by_first_attempts))
    head = [
        "model",
        "all problems",
        *(f"first attempts: {kind}" for kind in kinds),
        "answers split, %",
        "no verdict, %",
    ]
    body: list[list[str | Tag | None]] = []
    for model, scores in rows.items():
        scores_of = _of(scores)
        by_kind = {one.first_attempts: one for one in scores_of.by_first_attempts}
        means = [
            f"{by_kind[k].attempts:.2f} ({by_kind[k].num_problems:,})" if k in by_kind and by_kind[k].attempts is not None else None
            for k in kinds
        ]  # fmt: skip
        whole = None if scores_of.attempts is None else number(round(scores_of.attempts, 2))
        body.append(
            [Tag(model, run.series(model)), whole, *means, percent(scores_of.segmented), percent(scores_of.no_verdict)]
        )
    return Table(f"{benchmark}: attempts per answer, by how hard a problem is (problems in brackets)", head, body)


def _unread(rows: dict[str, Scores]) -> list[Block]:
    said = []
    for model, scores in rows.items():
        if reasons := top(_of(scores).unread, 4):
            listed = ", ".join(f"{count(n)} {short(reason, 40)}" for reason, n in reasons)
            said.append(f"{model}: not cut into attempts: {listed}.")
    return [Sentences(said)] if said else []
