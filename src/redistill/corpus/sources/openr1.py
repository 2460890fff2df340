"""open-r1/OpenR1-Math-Raw, the data of the REDI paper: competition problems with DeepSeek-R1's generations.

    {"problem": "...", "answer": "4", "problem_is_valid": "Yes", "source": "olympiads", "generations": ["<think>...", ...],
     "is_reasoning_complete": [true, false], "correctness": {"llama_verification": null, "math_verify": [true, false],
     "math_verify_reparsed_answer": [true, false]}, ...}

The two labels of the dataset become verdicts, `llama_verification` and `math_verify`. The second is taken from
`math_verify_reparsed_answer`, the list the paper uses, and from nowhere else: the plain `math_verify` beside it reads
answers otherwise, and takes no null's place. A null list or a null in a list is not a verdict: unknown is never wrong.
"""

from collections.abc import Iterator
from typing import Any, Literal

from redistill.corpus.sources import fields
from redistill.corpus.sources.rows import Row, RowError, each, read_groups
from redistill.records import Dropped, Group, Trace, make_problem, make_trace

_LABELS = {
    "llama_verification": "llama_verification",
    "math_verify": "math_verify_reparsed_answer",
}  # verdict -> column
_FINISH = {True: "stop", False: "length", None: None}


def openr1_math_raw(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    keep_problem_validity: list[str] | None = None,
    drop_sources: list[str] | None = None,
    require_labels: list[Literal["llama_verification", "math_verify"]] | None = None,
) -> Iterator[Group | Dropped]:
    """Groups of OpenR1-Math-Raw.

    keep_problem_validity: values of `problem_is_valid` to keep, case ignored (`problem_not_valid`); drop_sources:
    values of `source` to drop (`source_excluded`); require_labels: drop rows where one of these is null as a whole
    (`labels_missing`). The paper: ["Yes"], ["cn_k12"] and both labels, because its script skips rows whose label lists are
    null and calls only a null *inside* a list wrong. Source: Xu et al. 2025, arXiv 2505.24850, section 4 and its code.
    """
    valid = None if keep_problem_validity is None else {word.strip().lower() for word in keep_problem_validity}

    def parse(row_id: str, row: Row) -> Group:
        if valid is not None and str(row.get("problem_is_valid")).strip().lower() not in valid:
            raise RowError("problem_not_valid")
        if row.get("source") in (drop_sources or ()):
            raise RowError("source_excluded")
        problem = make_problem(
            fields.statement(row, "problem"),
            answer=fields.answer(row.get("answer")),
            answer_type=fields.text(row.get("question_type")) or None,
            source=fields.text(row.get("source")) or "openr1-math-raw",
            source_row=row_id,
        )
        generations = fields.items(row, "generations")
        columns = _label_columns(row.get("correctness"))
        if any(name not in columns for name in require_labels or ()):
            raise RowError("labels_missing")
        complete = row.get("is_reasoning_complete")
        complete = [None] * len(generations) if complete is None else complete
        for values in (complete, *(values for _, values in columns.values())):
            if not isinstance(values, list):
                raise RowError("wrong_type")
            if len(values) != len(generations):
                raise RowError("length_mismatch")
        if not all(value is None or isinstance(value, bool) for value in complete):
            raise RowError("wrong_type")

        def trace(index: int, completion: Any) -> Trace:
            verdicts = {}
            for name, (column, values) in columns.items():
                verdicts.update(fields.label(values[index], name=name, column=column))
            return make_trace(
                problem.id,
                fields.text(completion, "generations"),
                author="DeepSeek-R1",
                sampling={"sample_index": index},
                finish_reason=_FINISH[complete[index]],
                verdicts=verdicts,
            )

        return Group(problem, each(row_id, generations, trace))

    return read_groups(path, parse, revision=revision, split=split)


def _label_columns(correctness: Any) -> dict[str, tuple[str, Any]]:
    """Verdict name -> (column, its list), for the labels that this row has."""
    if correctness is None:
        return {}
    if not isinstance(correctness, dict):
        raise RowError("wrong_type")
    labels = {name: (column, correctness.get(column)) for name, column in _LABELS.items()}
    return {name: (column, values) for name, (column, values) in labels.items() if values is not None}
