"""Items in parts for a tokenizer."""

from redistill.text.tokenizer_calls import calls


def test_a_part_holds_a_bounded_number_of_characters_and_of_items() -> None:
    """One call held all texts of a batch: 256 long ones took gigabytes."""
    sizes = [1, 150_000, 100_000, 500_000, 1, 249_999, 1, 1]
    assert list(calls(sizes, lambda size: size)) == [[1, 150_000], [100_000], [500_000], [1, 249_999], [1, 1]]
    assert [len(part) for part in calls(range(600), lambda item: 3)] == [256, 256, 88]
    assert list(calls([], len)) == []
