"""The control: a judgement is called right or wrong by a coin, and not by its verdict."""

import dataclasses

from redistill.records import Outcome, Problem, Trace, Verdict, content_id
from redistill.verify.verdict_line import verdict_line


def coin(problem: Problem, trace: Trace, *, line: str = "? ") -> Verdict:
    """`verdict-line`, whose right and wrong are drawn anew by a hash of the trace; everything else stays undecided."""
    verdict = verdict_line(problem, trace, line=line)
    if verdict.outcome not in (Outcome.correct, Outcome.incorrect):
        return verdict
    heads = int(content_id("", problem.id, trace.completion), 16) % 2
    return dataclasses.replace(
        verdict, outcome=Outcome.correct if heads else Outcome.incorrect, verifier="coin", reason="drawn"
    )
