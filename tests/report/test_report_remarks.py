"""Spans and notes on the page: what is marked, in which tone, with which value, and what is left out."""

import dataclasses
import math
from pathlib import Path

import pytest

from redistill.io.parquet import read_records, write_records
from redistill.records import Group, Image, Pair, Span
from redistill.report import write_report
from redistill.report.blocks import Details, MarkedText, Text
from redistill.report.remarks import HEAD, MAX_MARKED, MAX_NAMES, TAIL, marked, remarks, tone


def test_a_part_is_marked_with_its_value_and_the_rest_is_plain() -> None:
    assert marked("one two three", [(0, 3, 1.0), (8, 13, -0.5)]) == [
        ("up4", "one", "1"),
        ("", " two ", ""),
        ("down2", "three", "-0.5"),
    ]


def test_where_spans_overlap_both_values_are_said_and_the_last_gives_the_tone() -> None:
    assert marked("abcd", [(0, 3, 1.0), (2, 4, -1.0)]) == [
        ("up4", "ab", "1"),
        ("down4", "c", "1, then -1"),
        ("down4", "d", "-1"),
    ]


def test_a_span_on_the_end_of_turn_token_stands_after_the_text() -> None:
    assert marked("ab", [(1, 3, 0.0)]) == [("", "a", ""), ("", "b", "0"), ("", "end of turn", "0")]
    assert marked("ab", [(2, 3, 1.0)])[-1] == ("up4", "end of turn", "1")
    assert marked("ab", [(0, 2, 1.0)]) == [("up4", "ab", "1")]


def test_the_pieces_of_a_short_text_are_the_text() -> None:
    text = "a\u202eb\n" * 40
    spans = [(i, i + 3, float(i)) for i in range(0, 150, 2)]
    assert "".join(part for _, part, _ in marked(text, spans)) == text


def test_a_long_text_is_cut_and_the_cut_is_counted() -> None:
    pieces = marked("x" * 5_000, [(900, 4_990, 1.0)])
    assert [(kind, len(part) if kind != "cut" else part) for kind, part, _ in pieces] == [
        ("", 900),
        ("up4", HEAD - 900),
        ("cut", f"{5_000 - HEAD - TAIL:,} characters left out"),
        ("up4", TAIL - 10),
        ("", 10),
    ]


@pytest.mark.parametrize(
    ("value", "largest", "expected"),
    [(0.0, 1.0, ""), (1.0, 1.0, "up4"), (0.25, 1.0, "up1"), (0.26, 1.0, "up2"), (-3.0, 4.0, "down3"), (1e-9, 1.0, "up1"),
     (math.nan, 1.0, ""), (math.inf, 1.0, "")],
)  # fmt: skip
def test_the_tone_is_the_sign_and_the_quarter_of_the_largest(value: float, largest: float, expected: str) -> None:
    assert tone(value, largest) == expected


def test_a_name_is_a_folded_block_and_so_is_a_note() -> None:
    blocks = remarks("chosen", "two", {"steps": (Span(0, 3, 0.5), Span(2, 9, 1.0))}, {"critic": "good"})
    spans, note = blocks
    assert isinstance(spans, Details) and isinstance(note, Details) and not spans.is_open
    assert spans.summary == "chosen: spans steps (2)"
    about, text = spans.blocks
    assert isinstance(about, Text) and about.text == "value 0.5; 1 span outside the text"
    assert isinstance(text, MarkedText) and text.pieces == [("up4", "two", "0.5")]
    assert note.summary == "chosen: note critic"
    (said,) = note.blocks
    assert isinstance(said, MarkedText) and said.pieces == [("", "good", "")]
    assert remarks("chosen", "two", {}, {}) == []


def test_what_is_too_many_is_counted_and_not_shown() -> None:
    many = {f"n{i}": (Span(0, 1, 1.0),) for i in range(MAX_NAMES + 3)}
    blocks = remarks("answer", "text", many, dict.fromkeys(many, "said"))
    assert len(blocks) == 2 * MAX_NAMES + 1
    assert isinstance(blocks[-1], Text) and "6 more spans or notes" in blocks[-1].text
    spans = [Span(i, i + 1, 1.0) for i in range(MAX_MARKED + 50)]
    (block,) = remarks("answer", "x" * 300, {"dense": spans}, {})
    assert isinstance(block, Details) and isinstance(block.blocks[0], Text)
    assert f"the first {MAX_MARKED} of {MAX_MARKED + 50} spans are marked" in block.blocks[0].text


def test_pairs_and_answers_show_spans_notes_scores_and_pictures(run_folder: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    for marker in run.rglob("*.done"):
        marker.unlink()
    for path in [*run.glob("verify/groups/*.parquet"), *run.glob("evaluate/redi/dev/groups/*.parquet")]:
        write_records(path, Group, [with_remarks(group) for group in read_records(path)])
    for path in run.glob("select/pairs/*.parquet"):
        pairs = [dataclasses.replace(pair, chosen_spans=((0, 2, 0.0),)) for pair in read_records(path)]
        write_records(path, Pair, pairs)
    html = write_report(run).read_text("utf-8")
    assert html.count("<summary>chosen: spans weight in the loss (1)</summary>") == 3  # the pairs that the recipe shows
    assert html.count("<summary>chosen: spans steps (2)</summary>") == 3
    assert html.count("<summary>rejected: note critic</summary>") == 3
    assert "<summary>answer: spans steps (2)</summary>" in html and "<summary>answer: note critic</summary>" in html
    assert '<mark class="span down2" title="-0.5">' in html and '<mark class="span up4" title="1">end of turn' in html
    assert "the &lt;b&gt;second&lt;/b&gt; step is a guess" in html
    assert "images: sum.png" in html and ", score 0.125" in html


def with_remarks(group: Group) -> Group:
    traces = tuple(
        dataclasses.replace(
            trace,
            spans={"steps": (Span(2, 9, -0.5), Span(len(trace.completion), len(trace.completion) + 1, 1.0))},
            notes={"critic": "the <b>second</b> step is a guess"},
            verdicts={name: dataclasses.replace(v, score=0.125) for name, v in trace.verdicts.items()},
        )
        for trace in group.traces
    )
    problem = dataclasses.replace(group.problem, images=(Image("sum.png", "0" * 64),))
    return Group(problem, traces)
