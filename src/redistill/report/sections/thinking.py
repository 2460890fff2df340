"""The section about thoughts: how long students think and whether that helps, how often they look back, repeat themselves, or think the
same about every problem; and how much of a gain is the asked form alone.

Shown where any answer read holds a thought in tags, or where a strict parse stands beside the lenient one.
"""

from redistill.records import FINAL, Outcome
from redistill.report.blocks import Block, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.text import count, number, percent
from redistill.text.thoughts import Answer, Thoughts, thoughts

MAX_SHARDS, MAX_GROUPS = 8, 2_000
_RIGHT = {Outcome.correct: True, Outcome.incorrect: False, Outcome.no_answer: False, Outcome.truncated: False}


def thinking(run: RunFiles) -> list[Block]:
    """Tables per benchmark; nothing where no answer thinks and no parse is strict."""
    blocks: list[Block] = []
    for benchmark in run.benchmarks:
        thoughts_of = {model: thoughts(_answers(run, model, benchmark)) for model in run.scores_on(benchmark)}
        if any(one.thinking for one in thoughts_of.values()):
            blocks += _tables(run, benchmark, thoughts_of)
        blocks += _by_form(run, benchmark)
    if blocks:
        words = "These are word counts: a student may write “wait” without checking anything. Compare how often such answers are right."
        blocks.insert(0, Text(words, "quiet"))
    return blocks


def _answers(run: RunFiles, model: str, benchmark: str) -> list[Answer]:
    groups = run.sample(f"evaluate/{model}/{benchmark}/groups", max_shards=MAX_SHARDS, max_records=MAX_GROUPS)
    return [
        Answer(group.problem.id, trace.completion, trace.num_tokens, _RIGHT.get(trace.verdicts[FINAL].outcome) if FINAL in trace.verdicts else None)
        for group in groups
        for trace in group.traces
    ]  # fmt: skip


def _tables(run: RunFiles, benchmark: str, thoughts_of: dict[str, Thoughts]) -> list[Block]:
    lengths, habits = [], []
    for model, one in thoughts_of.items():
        name = Tag(model, run.series(model))
        lengths.append(
            (name, percent(one.thinking), count(one.tokens_right), count(one.tokens_wrong), number(one.longer_right))
        )
        habits.append(
            (
                name,
                *map(
                    percent, (one.reflecting, one.right_when_reflecting, one.right_otherwise, one.repeated, one.trivial)
                ),
            )
        )
    return [
        Table(
            f"{benchmark}: length against correctness; 0.5 in the last column means no relation",
            ("model", "answers that think", "tokens, right", "tokens, wrong", "a right one is longer"),
            lengths,
        ),
        Table(
            f"{benchmark}: habits; a trivial thought occurs word for word in the answers to another problem too",
            ("model", "look back", "right if so", "right if not", "words repeated", "trivial thoughts"),
            habits,
        ),
    ]


def _by_form(run: RunFiles, benchmark: str) -> list[Block]:
    """Strict and lenient scores, each with its gain over the first model: where the strict gain is larger, the difference is form."""
    both: list[tuple[str, float, float]] = []
    for model, scores in run.scores_on(benchmark).items():
        lenient, strict = scores.pass_at_1.value, scores.strict.pass_at_1.value if scores.strict else None
        if lenient is not None and strict is not None:
            both.append((model, lenient, strict))
    if len(both) < 2:
        return []
    first, lenient0, strict0 = both[0]
    rows = []
    for model, lenient, strict in both:
        gains: list[float | None] = [lenient - lenient0, strict - strict0, (strict - strict0) - (lenient - lenient0)]
        if model == first:
            gains = [None, None, None]
        rows.append((Tag(model, run.series(model)), *map(percent, (lenient, strict, *gains))))
    return [
        Table(
            f"{benchmark}: how much of the gain over {first} is form; lenient reads an answer anywhere, strict where the prompt asked for it",
            ("model", "lenient", "strict", "lenient gain", "strict gain", "by form alone"),
            rows,
        )
    ]
