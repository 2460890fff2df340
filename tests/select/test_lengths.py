"""What is too long, counted as the student sees it."""

import pytest

from redistill.select.lengths import FILTERS, count_all, first_reason
from redistill.settings import SelectSettings

LIMITS = SelectSettings(max_prompt_tokens=8, max_completion_tokens=100)


@pytest.mark.parametrize(
    "tokens, reason",
    [
        ({"prompt": 8, "completion": 100}, None),  # a limit is the largest length that still fits
        ({"prompt": 9, "completion": 101}, "prompt_too_long"),
        ({"prompt": 8, "completion": 101}, "completion_too_long"),
        ({"prompt": 8, "chosen": 101, "rejected": 101}, "chosen_too_long"),
        ({"prompt": 8, "chosen": 100, "rejected": 101}, "rejected_too_long"),
        ({"prompt": 8, "chosen": 100, "rejected": 100}, None),
    ],
)
def test_the_first_part_that_does_not_fit_is_named(tokens, reason):
    assert first_reason(tokens, LIMITS) == reason


def test_without_limits_everything_fits():
    assert first_reason({"prompt": 10**6, "completion": 10**6}, SelectSettings()) is None


def test_texts_are_counted_in_batches_and_keep_their_ids():
    calls = []

    def count_words(texts):
        calls.append(len(texts))
        return [len(t.split()) for t in texts]

    texts = {f"t{i}": "word " * i for i in range(600)}
    assert count_all(texts, count_words) == {f"t{i}": i for i in range(600)}
    assert calls == [256, 256, 88]  # 600 = 256 + 256 + 88


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_passes_a_short_row_and_names_a_reason_for_a_long_one(name):
    assert FILTERS[name]({"prompt": 1, "completion": 1}, LIMITS) is None
    assert FILTERS[name]({"prompt": 10**6, "completion": 10**6}, LIMITS)
