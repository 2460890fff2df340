"""What kept a student's answers from being read, and what to change: cut, without an answer, refused.

    shares_words(scores)    ->  "cut at 64 tokens 100.0%, ended without an answer 0.0%, refused 0 problems"
    what_to_change(scores)  ->  ["dev: 100.0% of the answers were cut at 64 tokens, so ... : raise evaluate.max_new_tokens ..."]

`scores` is what scores.json holds. A score of 0% of answers that nobody could read says nothing of the student.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from redistill.text.figures import percent

MANY = 0.1  # share of the answers from which on a score is no longer the student's alone


def shares_words(scores: Mapping[str, Any]) -> str:
    """The shares of the answers that were cut and that hold no answer, and the problems that were refused."""
    limit = (scores.get("settings") or {}).get("max_new_tokens")
    at = f" at {limit:,} tokens" if isinstance(limit, int) else ""
    refused = len(scores.get("left_out") or ())
    parts = [
        f"cut{at} {percent(scores.get('truncation_rate'))}%",
        f"ended without an answer {percent(scores.get('no_answer_rate'))}%",
        f"refused {refused:,} {'problem' if refused == 1 else 'problems'}",
    ]
    return ", ".join(parts)


def what_to_change(*students: Mapping[str, Any]) -> list[str]:
    """A sentence for each of the three that is above MANY (of refused problems: any), with the setting to change. The same advice
    for several students is one sentence with the share of each."""
    shares: dict[tuple[str, str], list[str]] = {}
    for scores in students:
        for share, advice in _advice(scores):
            name = f" ({scores.get('model')})" if len(students) > 1 else ""
            shares.setdefault((str(scores.get("benchmark") or "answers"), advice), []).append(share + name)
    return [f"{benchmark}: {', '.join(shared)} {advice}" for (benchmark, advice), shared in shares.items()]


def _advice(scores: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(share or number, the rest of the sentence) of what is above MANY."""
    settings = scores.get("settings") or {}
    cut, silent = scores.get("truncation_rate") or 0.0, scores.get("no_answer_rate") or 0.0
    if cut >= MANY:
        limit = settings.get("max_new_tokens")
        yield (
            f"{percent(cut)}%",
            f"of the answers were cut{f' at {limit:,} tokens' if limit else ''}, so the score measures the limit, not the "
            "student: raise evaluate.max_new_tokens (--max-new-tokens); if answers loop, look at them with `redistill show`",
        )
    if silent >= MANY:
        asked = f"template {settings.get('template') or 'unknown'}{', chat' if settings.get('chat') else ', no chat'}"
        yield (
            f"{percent(silent)}%",
            f"of the answers ended without one that can be read ({asked}): use a prompt that matches the form of the student's "
            "answers (prompt.template, prompt.chat; --template, --chat or --no-chat)",
        )
    if refused := len(scores.get("left_out") or ()):
        yield (
            f"{refused:,} {'problem' if refused == 1 else 'problems'}",
            "refused by the server and left out of the scores: see the server's log; `redistill show` on the answers shows which",
        )
