"""Token ids in batches, and what two completions share."""

from array import array

import pytest

from redistill.select.tokens import encode_all, shared_prefix


def test_texts_are_encoded_in_batches_and_keep_their_ids():
    calls = []

    def letters(texts):
        calls.append(len(texts))
        return [[ord(c) for c in text] for text in texts]

    texts = {f"t{i}": "ab" * (i % 3) for i in range(600)}
    assert encode_all(texts, letters) == {f"t{i}": array("i", [97, 98] * (i % 3)) for i in range(600)}
    assert calls == [256, 256, 88]  # 600 = 256 + 256 + 88


@pytest.mark.parametrize(
    "first, second, shared", [([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2), ([], [1], 0), ([1, 2], [2, 1], 0)]
)
def test_the_shared_prefix_ends_at_the_first_difference_or_the_shorter_end(first, second, shared):
    assert shared_prefix(first, second) == shared_prefix(second, first) == shared


def test_a_call_of_the_tokenizer_holds_a_bounded_number_of_characters() -> None:
    """One call held all texts of a shard's batch: 256 long ones took gigabytes."""
    sizes = [1, 150_000, 100_000, 500_000, 1, 249_999, 1, 1]
    calls: list[list[int]] = []

    def encode(texts: list[str]) -> list[list[int]]:
        calls.append([len(text) for text in texts])
        return [[len(text)] for text in texts]

    found = encode_all({str(n): "x" * size for n, size in enumerate(sizes)}, encode)
    assert [list(found[str(n)]) for n in range(len(sizes))] == [[size] for size in sizes]
    assert calls == [[1, 150_000], [100_000], [500_000], [1, 249_999], [1, 1]]
