"""What kept a student's answers from being read, and what to change: cut, without an answer, refused.

    shares_words(scores)    ->  "cut at 64 tokens 100.0%, ended without an answer 0.0%, refused 0 problems"
    what_to_change(scores)  ->  ["dev: 100.0% of the answers were cut at 64 tokens: raise evaluate.max_new_tokens, ..."]

`scores` is what scores.json holds. A score of 0% of answers that nobody could read says nothing of the student.
"""

from collections.abc import Mapping
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


def what_to_change(scores: Mapping[str, Any]) -> list[str]:
    """A sentence for each of the three that is above MANY (of refused problems: any), with the setting to change."""
    settings = scores.get("settings") or {}
    where, changes = f"{scores.get('benchmark') or 'answers'}: ", []
    cut, silent = scores.get("truncation_rate") or 0.0, scores.get("no_answer_rate") or 0.0
    if cut >= MANY:
        limit = settings.get("max_new_tokens")
        changes.append(
            f"{where}{percent(cut)}% of the answers were cut{f' at {limit:,} tokens' if limit else ''}, so their score is not the "
            "student's: raise evaluate.max_new_tokens (--max-new-tokens); if answers loop, look at them with `redistill show`"
        )
    if silent >= MANY:
        asked = f"template {settings.get('template') or 'unknown'}{', chat' if settings.get('chat') else ', no chat'}"
        changes.append(
            f"{where}{percent(silent)}% of the answers ended without one that can be read ({asked}): use a prompt "
            f"that matches the form of this student's answers (prompt.template, prompt.chat; --template, --chat or --no-chat)"
        )
    if refused := len(scores.get("left_out") or ()):
        changes.append(
            f"{where}the server refused {refused:,} {'problem' if refused == 1 else 'problems'}, which are left out "
            f"of the scores: see the server's log; `redistill show` on the answers shows which"
        )
    return changes
