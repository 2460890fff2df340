"""Which gold answers can be graded at all, found before any trace is judged; and what type of answer each one is.

    check_gold(problem with the answer "\\\\frac{3}{4}", any trace)   ->  correct, extracted="number", reason="gradable"
    check_gold(problem with the answer "proof", any trace)         ->  ungradable, reason="gold_placeholder"

Against a gold answer that nobody can read, every trace would be undecided one by one, each after its own struggle. The
check has the shape of a verifier, so that it runs where untrusted maths runs: in a worker that can be killed.
"""

import dataclasses
import re
from functools import partial

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.clocks import compare_clock
from redistill.verify.congruences import read_congruence
from redistill.verify.evaluation import value_of as formula_value
from redistill.verify.formula import read_formula
from redistill.verify.judging import MAX_COMPARED, RULES_VERSION, Finding, gold_answer
from redistill.verify.number_rows import number_rows, symbol_rows
from redistill.verify.numerals import compare_based
from redistill.verify.reading import (
    brackets,
    clean,
    is_choice,
    is_wordy,
    read_choices,
    read_compound,
    read_number,
    read_option,
    split_items,
    split_unit,
    word_key,
)
from redistill.verify.solutions import read_relation, read_solutions
from redistill.verify.structure import (
    compare_lists,
    compare_matrices,
    compare_named,
    read_matrix,
    read_parts,
    read_vector,
)

GOLD = "gold"  # the check's name among the verifiers of a pool
MAX_WORDS = 25  # of a gold answer; beyond, it is a solution or a proof and no answer to compare with
MAX_DEPTH = 4  # lists in lists
_PLACEHOLDERS = frozenset(
    ("proof", "proved", "see proof", "see solution", "not found", "notfound", "not provided", "not given", "unknown", "n a", "nan",
     "null", "missing", "todo", "tbd")
)  # fmt: skip
_INEQUALITY = re.compile(r"[<>]|\\(?:le|ge|ne|lt|gt)(?![A-Za-z])")


def check_gold(problem: Problem, trace: Trace) -> Verdict:
    """`correct` with the type of the answer in `extracted`, or `ungradable` with the reason: `no_gold`,
    `gold_placeholder` (proof, not found), `gold_too_long`, `gold_is_prose`, `gold_unreadable`. The trace is not read. A gold
    that takes all the time or memory there is comes back from the pool as `timeout` (see as_ungradable)."""
    verdict = partial(Verdict, verifier=GOLD, verifier_version=RULES_VERSION)
    gold = gold_answer(problem.answer)
    if gold is None:
        return verdict(Outcome.ungradable, reason="no_gold")
    if word_key(clean(gold)) in _PLACEHOLDERS:
        return verdict(Outcome.ungradable, reason="gold_placeholder")
    if len(gold) > MAX_COMPARED:
        return verdict(Outcome.ungradable, reason="gold_too_long")
    kind = answer_type(gold)
    if kind == "text" and len(word_key(clean(gold)).split()) > MAX_WORDS:
        return verdict(Outcome.ungradable, kind, "gold_is_prose")
    if not readable(gold):
        return verdict(Outcome.ungradable, kind, "gold_unreadable")
    return verdict(Outcome.correct, kind, "gradable")


def as_ungradable(verdict: Verdict) -> Verdict:
    """What a failed check means for every trace of the problem; one that ran out of time or memory is `gold_timeout`."""
    reason = verdict.reason if verdict.outcome == Outcome.ungradable else "gold_timeout"
    return dataclasses.replace(verdict, outcome=Outcome.ungradable, extracted=None, reason=reason, verifier=GOLD)


def answer_type(gold: str) -> str:
    """choice, number, matrix, set, interval, tuple, inequality, equation, list, text or expression, by its form alone."""
    text = clean(gold)
    if rows := number_rows(gold):
        return "list" if len(rows) == 1 else "matrix"
    if is_choice(text) or read_choices(text) or read_option(text):
        return "choice"
    if read_number(text) or compare_clock(text, text):
        return "number"
    if read_matrix(text):
        return "matrix"
    kind, inside = brackets(text)
    if kind == "{}":
        return "set"
    if r"\cup" in text or (
        kind and len(split_items(inside)) == 2 and (kind in ("(]", "[)", "[]") or r"\infty" in text)
    ):
        return "interval"
    if kind == "()" and len(split_items(inside)) > 1:
        return "tuple"
    if is_wordy(split_unit(text, known=True)[0]):
        return "text"
    if _INEQUALITY.search(text):
        return "inequality"
    if len(split_items(text)) > 1:
        return "list"
    return "equation" if "=" in text else "expression"


def reads_notation(text: str) -> bool:
    """Whether a clean text is read to its end by one of our own readers of mathematics."""
    rest = split_unit(text, known=True)[0]
    readers = (read_formula, read_solutions, read_congruence, read_relation, read_vector, read_compound)
    return any(reader(rest) is not None for reader in readers) or read_parts(text) is not None


def readable(gold: str, depth: int = 0) -> bool:
    """Whether some rule, or the computer algebra, reads the answer, all of its parts included."""
    text = clean(gold)
    if not text or depth > MAX_DEPTH:
        return bool(text)
    if number_rows(gold) or symbol_rows(gold):
        return True
    simple = read_number(text) or is_choice(text) or read_choices(text) or is_wordy(text)
    if simple or compare_clock(text, text) or compare_based(text, text):
        return True

    def compare(part: str, other: str) -> Finding:
        fine = readable(part, depth + 1)
        return (Outcome.correct, "readable") if fine else (Outcome.ungradable, "gold_unreadable")

    if (formula := read_formula(text)) and not formula.symbols:
        return formula_value(formula) is not None  # a tower of powers has none here
    if reads_notation(text):
        return True
    for structure in (compare_named, compare_matrices, compare_lists):
        if finding := structure(text, text, compare):
            return finding[0] == Outcome.correct
    from redistill.verify.mathlib import read_maths, value_of

    rest, _ = split_unit(text, known=True)
    value = read_maths(rest, rest, ignore_case=True)[0]
    value_of(value)  # a tower of powers ends here, by the pool's clock, and not once for every trace
    return value is not None
