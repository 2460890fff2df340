"""open-r1/OpenR1-Math-220k: OpenR1-Math-Raw after its filter, with the labels in columns of their own.

    {"problem": "...", "answer": "4", "source": "olympiads", "generations": ["<think>...", ...], "is_reasoning_complete":
     [true, true], "correctness_math_verify": [true, false], "correctness_llama": null, "finish_reasons": null, "messages": [...]}

The labels become the verdicts `math_verify` and `llama_verification`, as of `openr1-math-raw`; a null list or a null in a list
is no verdict. `messages` repeats one of the generations and is not read.
Source: the data card, huggingface.co/datasets/open-r1/OpenR1-Math-220k.
"""

from collections.abc import Iterator
from typing import Any

from redistill.corpus.sources import fields
from redistill.corpus.sources.rows import Row, each, read_groups
from redistill.records import Dropped, Group, Trace, make_problem, make_trace

_LABELS = {"math_verify": "correctness_math_verify", "llama_verification": "correctness_llama"}
_FINISH = {True: "stop", False: "length"}


def openr1_math_220k(*, path: str, revision: str | None = None, split: str | None = None) -> Iterator[Group | Dropped]:
    """Groups of OpenR1-Math-220k, all generations of a problem, right and wrong.

    A generation is cut off where `finish_reasons` says length, or else `is_reasoning_complete` says false. Rows without
    any column of labels are another set's: `missing_column`.
    """

    def parse(row_id: str, row: Row) -> Group:
        if not any(column in row for column in _LABELS.values()):
            raise fields.missing(*_LABELS.values())
        problem = make_problem(
            fields.statement(row, "problem"),
            answer=fields.answer(row.get("answer")),
            answer_type=fields.text(row.get("question_type"), "question_type") or None,
            source=fields.text(row.get("source"), "source") or "openr1-math-220k",
            source_row=row_id,
        )
        said = fields.items(row, "generations")
        row.get("messages")  # one of the generations once more
        beside = {
            column: fields.aligned(row.get(column), len(said), column)
            for column in (*_LABELS.values(), "finish_reasons", "is_reasoning_complete")
        }

        def trace(index: int, completion: Any) -> Trace:
            verdicts = {}
            for name, column in _LABELS.items():
                verdicts.update(fields.label(beside[column][index], name=name, column=column))
            finish = fields.finish_reason(beside["finish_reasons"][index])
            return make_trace(
                problem.id,
                fields.text(completion, "generations"),
                author="DeepSeek-R1",
                sampling={"sample_index": index},
                finish_reason=finish or _FINISH.get(beside["is_reasoning_complete"][index]),
                verdicts=verdicts,
            )

        return Group(problem, each(row_id, said, trace))

    return read_groups(path, parse, revision=revision, split=split)
