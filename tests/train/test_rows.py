"""Encoded rows: what they keep of a record beside its tokens, for examples and pairs alike."""

import pytest

from redistill.io.parquet import read_records, write_records
from redistill.io.schemas import from_row, to_row
from redistill.records import Example, Pair
from redistill.train.rows import read_rows, write_rows
from redistill.train.token_batch import Side

from .conftest import some_examples


def by_character(texts):
    return [[ord(c) for c in text] for text in texts]


def with_end(texts):
    return [[*ids, 0] for ids in by_character(texts)]


def offsets(texts):
    return [[(i, i + 1) for i in range(len(text))] for text in texts]


def encode(folder, records, spans=True, max_tokens=50):
    account = write_rows(
        folder,
        records,
        encode_prompts=by_character,
        encode_completions=with_end,
        max_tokens=max_tokens,
        completion_offsets=offsets if spans else None,
    )
    return read_rows(folder)[0], account


def test_the_spans_of_examples_become_token_weights_in_the_order_of_their_rows(tmp_path):
    examples = [
        Example("p", "a", "1+1=", "222", spans=((0, 2, 0.5), (1, 2, -3.0))),
        Example("p", "b", "1+1=", "3"),
        Example("q", "c", "", "45", spans=((0, 2, 2.0),)),
    ]
    rows, _ = encode(tmp_path, examples)
    # without a prompt nothing predicts the first token, so c has two learned tokens: "5" and the end
    assert rows.values["weight"].tolist() == [0.5, -3, 1, 1, 1, 1, 2, 1]
    assert rows.completion_starts().tolist() == [0, 4, 6, 8]
    assert rows.sides == (Side.single,)


@pytest.mark.parametrize("span", [(0, 5, 1.0), (-1, 2, 1.0), (2, 2, 1.0), (2, 1, 1.0)])
def test_a_span_outside_an_examples_text_drops_the_row_with_a_reason(tmp_path, span):
    examples = [Example("p", "a", "1", "222", spans=(span,)), Example("p", "b", "1", "2", spans=((0, 1, 2.0),))]
    rows, account = encode(tmp_path, examples)
    assert dict(account.dropped) == {"bad_span": 1} and rows.ids == ["b"]
    assert rows.values["weight"].tolist() == [2, 1]


def test_a_row_that_is_dropped_for_its_length_leaves_no_token_values(tmp_path):
    examples = [Example("p", "a", "1", "2" * 60, spans=((0, 1, 9.0),)), Example("p", "b", "1", "2")]
    rows, account = encode(tmp_path, examples)
    assert dict(account.dropped) == {"too_long": 1} and rows.values["weight"].tolist() == [1, 1]


def test_weights_and_problems_are_kept_by_row(tmp_path):
    pairs = [Pair(p, "1", "2", "3", "a", "b", weight=w) for p, w in (("x", 1.0), ("y", -0.5), ("x", 2.0))]
    rows, _ = encode(tmp_path / "pairs", pairs, spans=False)
    assert rows.weights.tolist() == [1.0, -0.5, 2.0] and rows.groups.tolist() == [0, 1, 0]
    assert rows.sides == (Side.chosen, Side.rejected) and rows.values == {}
    rows, _ = encode(tmp_path / "examples", [Example("x", "a", "1", "2", weight=0.25)], spans=False)
    assert rows.weights.tolist() == [0.25]


def test_values_of_an_earlier_encoding_are_not_taken_over(tmp_path):
    example = Example("p", "a", "1", "222", spans=((0, 1, 2.0),))
    encode(tmp_path, [example])
    rows, _ = encode(tmp_path, [example], spans=False)
    assert rows.values == {}


def test_examples_with_weights_and_spans_survive_storage_and_old_files_without_them_are_read(tmp_path):
    plain = some_examples(1)[0]
    marked = Example("p", "t", "1+1=", "22", weight=-0.5, spans=((0, 1, 0.5), (1, 2, 3.0)))
    write_records(tmp_path / "examples.parquet", Example, [plain, marked])
    assert list(read_records(tmp_path / "examples.parquet")) == [plain, marked]
    old = {name: value for name, value in to_row(plain).items() if name not in ("weight", "spans")}
    assert from_row(Example, old) == plain and (plain.weight, plain.spans) == (1.0, ())
