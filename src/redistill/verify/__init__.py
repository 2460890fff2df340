"""Problem + Trace -> Verdict: the judges, the pool of workers that can be killed, and how several verdicts become one.

    with VerifierPool({"cascade": cascade}, workers=2, timeout_seconds=5, memory_mb=2048) as pool:
        for verdicts in pool.judge(items):          # {"cascade": Verdict(correct, extracted="12", ...)}
            final = combine(verdicts, "cascade")

To add a verifier: a function (problem, trace, *, options) -> Verdict, and one line in VERIFIERS.
"""

from collections.abc import Callable

from redistill.records import Verdict
from redistill.verify.cascade import CASCADE_VERSION, cascade, compare_cascade, judge_answer
from redistill.verify.exact import RELATIVE_TOLERANCE, Percent, choice, compare_choice, compare_exact, exact
from redistill.verify.gold import GOLD, answer_type, as_ungradable, check_gold
from redistill.verify.judge import Judge, llm
from redistill.verify.judging import RULES_VERSION, gold_answer
from redistill.verify.mathlib import MATH_VERIFY_VERSION, compare_math_verify, math_verify
from redistill.verify.policy import check_policy, combine, verify_group
from redistill.verify.pool import OUT_OF_TIME, VerifierPool

__all__ = [
    "CASCADE_VERSION",
    "GOLD",
    "JUDGES",
    "MATH_VERIFY_VERSION",
    "OUT_OF_TIME",
    "RELATIVE_TOLERANCE",
    "RULES_VERSION",
    "VERIFIERS",
    "Judge",
    "Percent",
    "VerifierPool",
    "answer_type",
    "as_ungradable",
    "cascade",
    "check_gold",
    "check_policy",
    "choice",
    "combine",
    "compare_cascade",
    "compare_choice",
    "compare_exact",
    "compare_math_verify",
    "exact",
    "gold_answer",
    "judge_answer",
    "math_verify",
    "verify_group",
]

VERIFIERS: dict[str, Callable[..., Verdict]] = {
    "exact": exact,
    "math-verify": math_verify,
    "choice": choice,
    "cascade": cascade,
}

JUDGES: dict[str, Callable[..., Judge]] = {
    "llm": llm,
}
