"""`verdict-line`: a written judgement is as good as its last line, which must say Yes or No as the label does.

    gold        No
    completion  ... 2+6 is 8, not 9.\\nVerdict: is the Now Step correct (Yes/No)? No      ->  correct, extracted "No"

The line stands there exactly once, with one polarity, and the text ends with it (R-PRM, arXiv 2503.21295); everything else is
undecided, never wrong.
"""

from functools import partial

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.text.judgements import NO, VERDICT_LINE, YES, read_verdict
from redistill.verify.judging import Reading, different

VERSION = "verdict-line 1"  # raise the number when what is read changes
_READ = Reading("verdict", complete=True)  # a fixed sentence with one of two words: nothing is left unread


def verdict_line(problem: Problem, trace: Trace, *, line: str = VERDICT_LINE) -> Verdict:
    """Whether the judgement's verdict is the gold answer, Yes or No.

    line: the closing line without its Yes or No, of a critic that was trained on another one. Reasons: `equal_verdict`,
    `other_verdict`; undecided are `no_verdict_line` (`truncated` where the text was cut), `several_verdict_lines`, `both_verdicts`,
    `no_verdict_word`, `text_after_verdict`, and `gold_is_no_verdict` where the gold answer is neither Yes nor No.
    """
    verdict = partial(Verdict, verifier="verdict-line", verifier_version=VERSION)
    stated, missed = read_verdict(trace.completion, line)
    gold = (problem.answer or "").strip()
    if gold not in (YES, NO):
        return verdict(Outcome.ungradable, stated, "gold_is_no_verdict" if gold else "no_gold")
    if stated is None:
        several = missed in ("several_verdict_lines", "both_verdicts")
        cut = trace.finish_reason == "length"
        outcome = Outcome.disagree if several else Outcome.truncated if cut else Outcome.no_answer
        return verdict(outcome, None, missed)
    if stated == gold:
        return verdict(Outcome.correct, stated, "equal_verdict")
    outcome, reason = different(_READ, _READ, "other_verdict")
    return verdict(outcome, stated, reason)
