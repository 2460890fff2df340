"""Problem + Trace -> Verdict: the judges, the pool of workers that can be killed, and how several verdicts become one.

    with VerifierPool({"cascade": cascade}, workers=2, timeout_seconds=5, memory_mb=2048) as pool:
        for verdicts in pool.judge(items):          # {"cascade": Verdict(correct, extracted="12", ...)}
            final = combine(verdicts, "cascade")

To add a verifier: a function (problem, trace, *, options) -> Verdict, and one line in VERIFIERS.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from redistill.records import Verdict
from redistill.verify.cascade import CASCADE_VERSION, cascade, compare_cascade, judge_answer
from redistill.verify.code_tests import check_code_tests, code_tests
from redistill.verify.exact import RELATIVE_TOLERANCE, Percent, choice, compare_choice, compare_exact, exact
from redistill.verify.gold import GOLD, answer_type, as_ungradable, check_gold
from redistill.verify.instructions import instructions
from redistill.verify.judge import Judge, llm
from redistill.verify.judging import RULES_VERSION, gold_answer
from redistill.verify.math_verify import MATH_VERIFY_VERSION, compare_math_verify, math_verify
from redistill.verify.policy import check_policy, combine, verify_group
from redistill.verify.pool import OUT_OF_TIME, VerifierPool
from redistill.verify.reasoning_gym import check_installed, reasoning_gym
from redistill.verify.retrieval import check_retrieval, retrieval
from redistill.verify.verdict_line import verdict_line

__all__ = [
    "CASCADE_VERSION",
    "GOLD",
    "JUDGES",
    "MATH_VERIFY_VERSION",
    "OUT_OF_TIME",
    "OWN_GOLD",
    "READS_NO_ANSWER",
    "RELATIVE_TOLERANCE",
    "RULES_VERSION",
    "VERIFIERS",
    "Judge",
    "Percent",
    "VerifierPool",
    "answer_type",
    "as_ungradable",
    "cascade",
    "check_bound",
    "check_gold",
    "check_policy",
    "check_verifiers",
    "choice",
    "code_tests",
    "combine",
    "compare_cascade",
    "compare_choice",
    "compare_exact",
    "compare_math_verify",
    "exact",
    "gold_answer",
    "instructions",
    "judge_answer",
    "math_verify",
    "reasoning_gym",
    "retrieval",
    "verdict_line",
    "verify_group",
]

VERIFIERS: dict[str, Callable[..., Verdict]] = {
    "exact": exact,
    "math-verify": math_verify,
    "choice": choice,
    "cascade": cascade,
    "reasoning-gym": reasoning_gym,
    "retrieval": retrieval,
    "verdict-line": verdict_line,
    "code-tests": code_tests,
    "instructions": instructions,
}

# these read more than a gold answer, and judge also where there is none to compare with
OWN_GOLD = frozenset({"reasoning-gym", "retrieval", "code-tests", "instructions"})
READS_NO_ANSWER = frozenset({"retrieval", "code-tests", "instructions"})  # and these read none at all


def check_verifiers(names: Iterable[str]) -> None:
    """OperatorError where a verifier's package is not installed, or the machine has no sandbox: asked before any work begins."""
    names = set(names)
    if "reasoning-gym" in names:
        check_installed()
    if "code-tests" in names:
        check_code_tests()


def check_bound(verifier: partial[Any], where: str) -> None:
    """OperatorError where what a bound verifier reads beside the trace is not there, such as an index: asked before any work."""
    if verifier.func is retrieval:
        check_retrieval(verifier.keywords, where)


JUDGES: dict[str, Callable[..., Judge]] = {
    "llm": llm,
}
