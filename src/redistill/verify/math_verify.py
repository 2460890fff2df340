"""`math-verify`: Hugging Face's library alone. The library itself is imported at the first comparison (see mathlib.py).

math_verify(problem, trace)     Verdict(correct, extracted="\\frac{24}{2}", reason="math_verify_equal", ...)
"""

from collections.abc import Sequence
from importlib.metadata import version

from redistill.records import Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.judging import Finding, judge

MATH_VERIFY_VERSION = "math-verify {}, latex2sympy2-extended {}, sympy {}".format(
    *(version(name) for name in ("math-verify", "latex2sympy2_extended", "sympy"))
)


def compare_math_verify(gold: str, answer: str) -> Finding:
    """The library's own reading and comparison of two answers. What it cannot read at all is undecided, and so is what
    ran out of memory or stack (MemoryError, RecursionError: the pool's worker makes `timeout` of them)."""
    from redistill.verify.mathlib import compare_by_library

    return compare_by_library(gold, answer)


def math_verify(problem: Problem, trace: Trace, *, anchors: Sequence[Anchor] | None = None) -> Verdict:
    """Hugging Face's math-verify by itself on the anchored answer (github.com/huggingface/Math-Verify)."""
    return judge(
        problem, trace, compare_math_verify,
        verifier="math-verify", verifier_version=MATH_VERIFY_VERSION, anchors=anchors,
    )  # fmt: skip
