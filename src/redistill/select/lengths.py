"""Length filters: the token counts of one row -> why it does not fit the student, or None.

    first_reason({"prompt": 90, "chosen": 400, "rejected": 21000}, settings)   ->  "rejected_too_long"

A row's parts are `prompt` and either `completion` (an example) or `chosen` and `rejected` (a pair). All lengths are
tokens of the student's tokenizer; a completion's include the end-of-turn token, for the student learns to write it.
Over-long rows are dropped, not cut: a cut completion teaches the student to stop in the middle.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from redistill.settings import SelectSettings

END_OF_TURN_TOKENS = 1  # the completion is followed by the student's end-of-turn token
_TEXTS_A_CALL = 256  # tokenizers are fast on batches; a few MB of text a call


def prompt_length(tokens: Mapping[str, int], limits: SelectSettings) -> str | None:
    """`prompt_too_long` above max_prompt_tokens (the paper: 800)."""
    most = limits.max_prompt_tokens
    return "prompt_too_long" if most is not None and tokens["prompt"] > most else None


def completion_length(tokens: Mapping[str, int], limits: SelectSettings) -> str | None:
    """`completion_too_long`, `chosen_too_long` or `rejected_too_long` above max_completion_tokens (the paper: 19,000)."""
    most = limits.max_completion_tokens
    parts = (part for part in ("completion", "chosen", "rejected") if part in tokens)
    return next((f"{part}_too_long" for part in parts if most is not None and tokens[part] > most), None)


def first_reason(tokens: Mapping[str, int], limits: SelectSettings) -> str | None:
    """What the first filter that objects says, in the order of FILTERS; None where the row may stay."""
    return next((reason for judge in FILTERS.values() if (reason := judge(tokens, limits))), None)


def count_all(texts: Mapping[str, str], count_tokens: Callable[[list[str]], list[int]]) -> dict[str, int]:
    """Token counts of texts by their ids, counted in batches."""
    counts: dict[str, int] = {}
    for ids in _batches(list(texts)):
        counts.update(zip(ids, count_tokens([texts[i] for i in ids]), strict=True))
    return counts


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _TEXTS_A_CALL):
        yield ids[start : start + _TEXTS_A_CALL]


FILTERS: dict[str, Callable[[Mapping[str, int], SelectSettings], str | None]] = {
    "prompt_length": prompt_length,
    "completion_length": completion_length,
}
