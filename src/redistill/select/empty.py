"""When nothing is left: one sentence on why a finished select stage has no examples, pairs or labelled traces, and what to try."""

from collections.abc import Mapping
from typing import Any

from redistill.config.drop_reasons import explain


def explain_empty(ledger: Mapping[str, Any]) -> str:
    """One sentence on why a finished stage has no examples or no pairs, with counts and what to try; "" when it has both.

    `ledger` is the stage's ledger.json. Where both are empty it speaks of the examples first, because they are the cause.
    """
    parts = []
    for name, noun in (("examples", "example"), ("pairs", "pair"), ("labelled", "labelled row")):
        account = ledger["accounts"].get(name)
        if account is not None and account["kept"] == 0:
            parts.append(_explain(noun, account))
    return "; ".join(parts) and "; ".join(parts) + "."


def _explain(noun: str, account: Mapping[str, Any]) -> str:
    if account["in"] == 0:
        return f"no {noun} was made because there was no {account['unit']}: check corpus.sources"
    counts = ", ".join(f"{count} {reason}" for reason, count in account["dropped"].items())
    advice = explain(next(iter(account["dropped"]))).advice
    unit = account["unit"] + "s" * (account["in"] != 1)
    return f"no {noun} was made from {account['in']} {unit} ({counts}): {advice}"
