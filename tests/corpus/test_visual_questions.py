"""Questions about images in the layouts of the known sets become problems; what cannot be shown is dropped with its reason."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redistill.corpus import SOURCES
from redistill.io.images import ImageStore, storing_images
from redistill.records import Dropped
from tiny_vision import png


def read(tmp_path, rows, name="rows.jsonl", **options):
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows))
    with storing_images(ImageStore(tmp_path / "kept")):
        return list(SOURCES["visual-questions"](path=str(path), **options))


def test_parquet_with_the_bytes_of_images(tmp_path):
    rows = [
        {"image": {"bytes": png("red"), "path": "r.png"}, "question": "What colour?", "answer": "red"},
        {"image": {"bytes": png("blue"), "path": None}, "question": "What colour?", "answer": "blue"},
        {"image": {"bytes": png("red")[:50], "path": "cut.png"}, "question": "What colour?", "answer": "red"},
    ]
    one, other, cut = read(tmp_path, rows, "rows.parquet")
    assert (one.problem.statement, one.problem.answer, one.problem.images[0].path) == ("What colour?", "red", "r.png")
    assert one.problem.id != other.problem.id and not one.traces
    assert isinstance(cut, Dropped) and cut.reason == "corrupt_image" and "cut.png" in cut.detail
    assert len(list((tmp_path / "kept").rglob("*.png"))) == 2


def test_llava_conversations(tmp_path):
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "1.png").write_bytes(png())

    def row(*values, image="coco/1.png"):
        talk = [
            {"from": who, "value": value} for who, value in zip(("human", "gpt", "human", "gpt"), values, strict=False)
        ]
        return {"id": "1", "image": image, "conversations": talk}

    rows = [
        row("<image>\nWhat is shown?", "A wall."),
        row("What is shown?\n<image>", "<think>white</think><answer>wall</answer>"),
        row("First <image> then?", "x"),
        row("<image>\nA?", "a", "B?", "b"),
        row("<image>\nA?", "a", image="none.png"),
        {"id": "2", "conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "a"}]},
        row("<image>", "a"),
    ]
    plain, tagged, *dropped = read(tmp_path, rows, "rows.json")
    assert (plain.problem.statement, plain.problem.answer, plain.traces) == ("What is shown?", "A wall.", ())
    assert (tagged.problem.statement, tagged.problem.answer) == ("What is shown?", "wall")
    assert [one.reason for one in dropped] == [
        "image_inside_text", "several_turns", "missing_image", "no_image", "empty_statement",
    ]  # fmt: skip
    plain, tagged, *_ = read(tmp_path, rows, "rows.json", conversation="trace")
    assert plain.problem.answer is None and [trace.completion for trace in plain.traces] == ["A wall."]
    assert tagged.problem.answer == "wall" and tagged.traces[0].completion.startswith("<think>")


def test_sat_is_asked_in_words_and_its_first_option_is_not_always_right(tmp_path):
    rows = [
        {
            "image_bytes": [png()],
            "question": f"Which is closer, {i}?",
            "answers": ["lamp", "sofa"],
            "correct_answer": "lamp",
        }
        for i in range(20)
    ]
    groups = read(tmp_path, rows, "rows.parquet", options="words", max_rows=12)
    assert len(groups) == 12 and {group.problem.answer for group in groups} == {"lamp"}
    endings = {group.problem.statement.rpartition(": ")[2] for group in groups}
    assert endings == {"lamp or sofa", "sofa or lamp"}
    assert groups[0].problem.statement.startswith(
        "Answer in natural language. Which is closer, 0? Choose between the following options: "
    )
    assert groups == read(tmp_path, rows, "rows.parquet", options="words", max_rows=12)
    kept = read(tmp_path, rows, "rows.parquet", options="words", shuffle_options=False)
    assert all(group.problem.statement.endswith("lamp or sofa") for group in kept)


@pytest.mark.parametrize(("answer", "right"), [("(B)", "sofa"), ("B", "sofa"), ("sofa", "sofa"), ("A.", "lamp")])
def test_cv_bench_letters_follow_their_options(tmp_path, answer, right):
    row = {"image": png(), "question": "Closer?", "choices": ["lamp", "sofa", "bed"], "answer": answer, "task": "Depth"}
    (group,) = read(tmp_path, [row], "rows.parquet")
    lines = dict(line[1:].split(") ") for line in group.problem.statement.split("\n")[1:])
    assert lines[group.problem.answer] == right and group.problem.answer_type == "choice"
    assert group.problem.metadata == {"task": "Depth"}


def test_an_answer_that_is_no_option_is_dropped(tmp_path):
    rows = [
        {"image": png(), "question": "Q?", "choices": ["a1", "b1"], "answer": "(C)"},
        {"image": png(), "question": "Q?", "choices": ["a1", "b1"], "answer": "other"},
        {"image": png(), "question": "Q?", "choices": ["a1", "a1"], "answer": "a1"},
    ]
    assert [one.reason for one in read(tmp_path, rows, "rows.parquet")] == [
        "no_such_option",
        "no_such_option",
        "wrong_type",
    ]


def test_drawn_shapes_are_the_same_every_time_and_their_answers_are_what_was_drawn(tmp_path):
    def draw():
        with storing_images(ImageStore(tmp_path / "kept")):
            return list(SOURCES["drawn-shapes"](problems=30, seed=3))

    groups = draw()
    assert groups == draw()
    assert {group.problem.metadata["task"] for group in groups} == {"count", "side", "bigger"}
    for group in groups:
        right, wrong = group.traces
        assert right.completion.endswith(f"<answer>{group.problem.answer}</answer>")
        assert not wrong.completion.endswith(f"<answer>{group.problem.answer}</answer>")
    from redistill.io.images import read_image

    side = next(group.problem for group in groups if group.problem.metadata["task"] == "side")
    picture = read_image(ImageStore(tmp_path / "kept").find(side.images[0].sha256))
    dark = [x for x in range(32) for y in range(32) if picture.getpixel((x, y)) != (255, 255, 255)]
    assert side.answer == ("left" if sum(dark) / len(dark) < 15.5 else "right")
