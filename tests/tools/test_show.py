"""Show: one record, whole, and nothing in it can drive the terminal."""

import json

import pytest

from hostile_text import HOSTILE, commands_in
from redistill.cli import main
from redistill.errors import OperatorError
from redistill.io.atomic import write_json
from redistill.io.parquet import write_records
from redistill.records import (
    FINAL,
    Dropped,
    Example,
    Group,
    Image,
    Outcome,
    Pair,
    Span,
    Verdict,
    make_problem,
    make_trace,
)
from redistill.tools.show import one_record, readable


def groups():
    problem = make_problem("What is 2+2?", answer="4", source="mine", source_row="mine.jsonl:7")
    trace = make_trace(
        problem.id, "it is\n5", author="teacher", finish_reason="stop", num_tokens=9, scores={"prm": 0.25}
    )
    trace = trace.with_verdict("exact", Verdict(Outcome.incorrect, "5", "different_number", "exact", "rules 1"))
    trace = trace.with_verdict(FINAL, Verdict(Outcome.incorrect))
    return [Group(problem, (trace,)), Group(make_problem("other"), ())]


def test_a_group_is_shown_with_its_traces_verdicts_and_reasons(tmp_path):
    write_records(tmp_path / "g.parquet", Group, groups())
    text = readable(one_record(tmp_path / "g.parquet", 0))
    for words in ("What is 2+2?", "mine.jsonl:7", "gold answer: 4", "it is\n5", "teacher", "9 tokens"):
        assert words in text
    assert "exact: incorrect (different_number), answer read: '5'  [exact rules 1]" in text
    assert "score prm: 0.25" in text


def test_a_table_that_counts_traces_is_no_group(tmp_path):
    write_json(tmp_path / "label_noise.json", {"graders": ["cascade"], "traces": 468, "estimate": None})
    text = readable(one_record(tmp_path / "label_noise.json", 0))
    assert "traces: 468" in text and "graders" in text


def test_spans_notes_scores_pictures_and_metadata_are_shown(tmp_path):
    problem = make_problem("What is shown?", images=(Image("a.png", "0" * 64),), metadata={"tests": [1, "x"]})
    spans = (Span(0, 3, 1.0), Span(4, 9, -0.25), Span(8, 9, 0.0), Span(0, 99, 1.0), Span(5, 2, 1.0), Span(-1, 3, 1.0))
    trace = make_trace(problem.id, "one\ntwo!", spans={"steps": spans}, notes={"critic": "a guess"})
    trace = trace.with_verdict("ndcg", Verdict(Outcome.disagree, None, "between", "ndcg", "1", score=0.375))
    write_records(tmp_path / "g.parquet", Group, [Group(problem, (trace,))])
    lines = [line.strip() for line in readable(one_record(tmp_path / "g.parquet", 0)).splitlines()]
    assert f"image: a.png  (sha256 {'0' * 64})" in lines and "metadata: {" in lines and '"x"' in lines
    assert "ndcg: disagree (between), score 0.375  [ndcg 1]" in lines
    start = lines.index("span steps 0-3 = 1: 'one'")
    assert lines[start + 1 :] == [
        "span steps 4-9 = -0.25: 'two!' and the end of the turn",
        "span steps 8-9 = 0: and the end of the turn",
        "span steps 0-99 = 1: outside the text",
        "span steps 5-2 = 1: outside the text",
        "span steps -1-3 = 1: outside the text",
        "note critic: a guess",
    ]


def test_spans_of_examples_and_pairs_show_what_they_cover(tmp_path):
    write_records(tmp_path / "e.parquet", Example, [Example("p", "t", "2+2?", "a\nbcd", 0.5, (Span(0, 3, 0.0),))])
    shown = readable(one_record(tmp_path / "e.parquet", 0))
    assert "weight: 0.5" in shown and "span spans 0-3 = 0: 'a\\nb'" in shown
    write_records(
        tmp_path / "p.parquet", Pair, [Pair("p", "q", "x" * 500, "no", "c", "r", 1.0, ((0, 400, 2.0),), ((0, 2, 1.0),))]
    )
    shown = readable(one_record(tmp_path / "p.parquet", 0))
    assert f"span chosen_spans 0-400 = 2: '{'x' * 40} ... {'x' * 20}'" in shown
    assert "span rejected_spans 0-2 = 1: 'no'" in shown
    (tmp_path / "m.jsonl").write_text(
        '{"completion": "abc", "spans": [[0, 1, 2.0]]}\n{"completion": "abc", "spans": {"s": []}}\n'
    )
    for number in (0, 1):  # a file of somebody else's
        assert "spans: " in readable(one_record(tmp_path / "m.jsonl", number))


def test_hostile_names_spans_and_notes_cannot_drive_the_terminal(tmp_path, capsys):
    problem = make_problem("q", images=(Image(HOSTILE, HOSTILE),), metadata={HOSTILE: HOSTILE})
    trace = make_trace(problem.id, HOSTILE, spans={HOSTILE: (Span(0, 60, 1.0),)}, notes={HOSTILE: HOSTILE})
    write_records(tmp_path / "g.parquet", Group, [Group(problem, (trace,))])
    main(["show", str(tmp_path / "g.parquet")])
    assert not commands_in(capsys.readouterr().out)


def test_records_are_counted_from_either_end(tmp_path):
    path = tmp_path / "d.parquet"
    write_records(path, Dropped, [Dropped(str(i), "corpus", "r") for i in range(5)])
    assert [one_record(path, n)["id"] for n in (0, 4, -1, -5)] == ["0", "4", "4", "0"]
    for number in (5, -6):
        with pytest.raises(OperatorError, match=rf"holds 5 records, numbered from 0; there is no record {number}\."):
            one_record(path, number)


def test_a_file_without_records_says_so(tmp_path):
    write_records(tmp_path / "d.parquet", Dropped, [])
    (tmp_path / "m.jsonl").write_text("")
    for name in ("d.parquet", "m.jsonl"):
        with pytest.raises(OperatorError, match="holds 0 records"):
            one_record(tmp_path / name, 0)


def test_lines_are_what_a_newline_ends(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"a": "x\u2028y\x85z"}\n\n{"a": 2}\n', "utf-8")
    assert one_record(tmp_path / "m.jsonl", 0) == {"a": "x\u2028y\x85z"}
    assert one_record(tmp_path / "m.jsonl", -1) == {"a": 2}


@pytest.mark.parametrize("content", [b"not json\n", b"[1, 2]\n", b"3\n", b"\xff\xfe\n"])
def test_a_line_that_is_no_record_is_a_sentence(tmp_path, content):
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(OperatorError, match=r"m\.jsonl"):
        one_record(tmp_path / "m.jsonl", 0)


def test_a_damaged_shard_is_a_sentence(tmp_path):
    path = tmp_path / "d.parquet"
    write_records(path, Dropped, [Dropped(str(i), "corpus", "r") for i in range(500)])
    data = bytearray(path.read_bytes())
    data[10:200] = b"x" * 190
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=r"d\.parquet"):
        one_record(path, 499)


def test_a_table_in_json_is_shown_whole_and_a_list_by_number(tmp_path):
    write_json(tmp_path / "a.json", {"accounts": {"rows": 3}})
    write_json(tmp_path / "b.json", [1, 2])
    assert one_record(tmp_path / "a.json", 0) == {"accounts": {"rows": 3}}
    assert one_record(tmp_path / "b.json", 0) == {"record": 1}


def test_what_would_drive_the_terminal_is_shown_as_signs(tmp_path, capsys):
    nasty = "\x1b[2Jred\x07 \u202eback\u2066 \x00 \x9b31m tab\tline\nend é 🙂"
    write_records(tmp_path / "p.parquet", Pair, [Pair("p", nasty, nasty, nasty, "c", "r")])
    main(["show", str(tmp_path / "p.parquet")])
    shown = capsys.readouterr().out
    assert "\\x1b[2Jred\\x07 \\u202eback\\u2066 \\x00 \\x9b31m tab\tline\nend é 🙂" in shown
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    main(["show", str(tmp_path / "p.parquet"), "--json"])
    shown = capsys.readouterr().out
    assert shown.isascii() and json.loads(shown)["prompt"] == nasty


def test_tables_lists_tensors_and_texts_of_a_run_are_shown_too(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    (tmp_path / "recipe.yaml").write_text("name: x\nseed: 3\n")
    (tmp_path / "part-00000.done").write_text('{"files": {}}')
    (tmp_path / "comparisons.json").write_text('[{"a": "sft"}, {"a": "redi"}]')
    (tmp_path / "README.md").write_text("# a card")
    save_file({"w": np.zeros((2, 3), np.float32)}, tmp_path / "model.safetensors")
    assert one_record(tmp_path / "recipe.yaml", 0)["seed"] == 3
    assert one_record(tmp_path / "part-00000.done", 0) == {"files": {}}
    assert one_record(tmp_path / "comparisons.json", -1) == {"a": "redi"}
    assert one_record(tmp_path / "README.md", 0) == {"text": "# a card"}
    assert one_record(tmp_path / "model.safetensors", 0)["shape"] == [2, 3]
    with pytest.raises(OperatorError, match="no record 1"):
        one_record(tmp_path / "model.safetensors", 1)
    (tmp_path / "report.html").write_text("<html>")
    with pytest.raises(OperatorError, match="opens in a browser"):
        one_record(tmp_path / "report.html", 0)
