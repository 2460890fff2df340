"""`redistill audit`: what is planted in a small file is found, counted and shown, and the file itself is only read."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from redistill import api
from redistill.cli import main
from redistill.errors import OperatorError
from redistill.records import Group, Outcome, Verdict, make_problem, make_trace
from redistill.tools.audit.findings import _share_longer, suspicious_gold

LOOP = "Add the two numbers again. " * 60
ROWS = [  # problem, gold, [(text, label, finish)]
    ("What is 20 plus 22?", "42", [("It is \\boxed{42}.", True, "stop"), ("Hmm, it must be \\boxed{41}.", False, "stop")]),
    ("What is 3 times 9?", "27", [("\\boxed{27}", False, "stop"), ("\\boxed{26}", True, "stop")]),  # both labels wrong
    ("What is 70 minus 4?", "66", [(LOOP + "\\boxed{66}", True, "stop"), ("We begin by", False, "length")]),
    ("What is 8 times 8?", "54", [(f"{word}: \\boxed{{64}}", False, "stop") for word in ("one", "two", "three")]),  # the gold is wrong
    ("Prove that 2 is prime, and say why it is so.", "proof", [("It has no divisors. \\boxed{yes}", True, "stop")]),
    ("What is 20 plus 22?", "42", [("It is \\boxed{42}.", False, "stop")]),  # the same trace, labelled the other way
]  # fmt: skip
LEAK = "A train leaves at noon and travels 120 miles in 3 hours; how many miles does it travel in each hour of the way?"


def write(path: Path, rows=ROWS, **more) -> Path:
    lines = [
        {"problem": problem, "answer": gold, **more,
         "generations": [{"text": text, "correct": label, "finish_reason": finish, "teacher": "t1"} for text, label, finish in traces]}
        for problem, gold, traces in rows
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """(facts, folder) of one audit of the planted rows and a leak, with a benchmark of one problem."""
    folder = tmp_path_factory.mktemp("audit")
    leak = (LEAK, "40", [("\\boxed{40}", True, "stop")])
    write(folder / "mine.jsonl", [*ROWS, leak], note="nobody reads this")
    (folder / "exam.jsonl").write_text(json.dumps({"problem": LEAK, "answer": "40"}) + "\n")
    before = (folder / "mine.jsonl").read_bytes(), (folder / "mine.jsonl").stat().st_mtime_ns
    found = api.audit(
        folder / "mine.jsonl", out=folder / "out", benchmarks=[f"file:{folder / 'exam.jsonl'}"], workers=1
    )
    assert ((folder / "mine.jsonl").read_bytes(), (folder / "mine.jsonl").stat().st_mtime_ns) == before
    return found, folder


def test_what_is_planted_is_counted(audited):
    found, _ = audited
    assert found["accounts"]["traces"]["kept"] == 11 and found["accounts"]["traces"]["dropped"] == {
        "duplicate_trace": 1
    }
    assert found["unread_columns"] == {"note": 7}
    assert found["golds"]["ungradable"] == {"gold_placeholder": 1}
    (table,) = found["labels_and_verdicts"]
    assert (table["label_says_wrong"]["traces"], table["label_says_right"]["traces"]) == (1, 1)
    assert found["suspicious_golds"] == 1
    assert found["duplicates"]["traces"] == 1 and found["duplicates"]["labels_that_contradict"] == 1
    assert found["leaks"]["problems"] == 1 and found["leaks"]["looked_for"] == ["exam"]
    assert found["flaws"] == {"repetition": {"right": 1}, "truncated": {"undecided": 1}}
    # 20+22: its right trace has labels that contradict each other, so under `agree` it is undecided
    assert found["outcomes"] == {"correct": 2, "incorrect": 4, "disagree": 3, "truncated": 1, "ungradable": 1}
    assert found["sentence"] == (
        "11 traces of 6 problems; 2 right, 4 wrong, 5 undecided; 2 contradict a label; 0 problems with a right and a wrong trace to pair."
    )


def test_every_judged_trace_has_a_row_that_leads_back_to_the_file(audited):
    found, folder = audited
    rows = pq.read_table(found["verdicts_file"]).to_pylist()
    assert len(rows) == 11 and {row["file"] for row in rows} == {str(folder / "mine.jsonl")}
    by_row = {(row["row"], row["answer"]): row for row in rows}
    contradicted = by_row["mine.jsonl:1", "27"]
    assert (contradicted["suspect"], contradicted["verifier_outcome"], contradicted["label_teacher_label"]) == (
        "label_says_wrong", "correct", "incorrect",
    )  # fmt: skip
    assert [row["suspect"] for row in rows if row["row"] == "mine.jsonl:3"] == ["gold"] * 3
    assert [row["flaws"] for row in rows if row["row"] == "mine.jsonl:2"] in (
        [["repetition"], ["truncated"]],
        [["truncated"], ["repetition"]],
    )


class Words(HTMLParser):
    """The text of a page and the names of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_the_texts_and_runs_none_of_them(tmp_path):
    hostile = "<script>alert(1)</script>\u202e \\boxed{27}"
    rows = [
        *ROWS[:1],
        ("What is 3 times 9? <img src=x>", "27", [(hostile, False, "stop"), ("\\boxed{26}", True, "stop")]),
    ]
    found = api.audit(write(tmp_path / "<b>.jsonl", rows), out=tmp_path / "out", workers=1)
    page = Words()
    page.feed(Path(found["page"]).read_text("utf-8"))
    assert "<script>alert(1)</script>⟨U+202E⟩" in page.text and not {"script", "img", "b"} & page.tags
    assert "cascade says correct, teacher_label says wrong" in page.text
    assert len(Path(found["page"]).read_bytes()) < 3_000_000


def test_the_terminal_gets_the_sentence_and_json_the_counts(tmp_path, capsys):
    path = write(tmp_path / "mine.jsonl", ROWS[:1])
    main(["audit", str(path), "--out", str(tmp_path / "a"), "--workers", "1"])
    assert capsys.readouterr().out.startswith(
        "2 traces of 1 problem; 1 right, 1 wrong, 0 undecided; 0 contradict a label; 1 problem with"
    )
    main(
        ["audit", str(path), "--out", str(tmp_path / "a"), "--workers", "1", "--json"]
    )  # again: its own folder is replaced
    found = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert found["outcomes"] == kept["outcomes"] == {"correct": 1, "incorrect": 1}


def test_limits_take_whole_problems_and_are_said(tmp_path):
    rows = [
        (f"What is {n} plus 1000?", str(n + 1000), [(f"\\boxed{{{n + k}}}", k == 1000, "stop") for k in (1000, 7)])
        for n in range(30)
    ]
    path = write(tmp_path / "many.jsonl", rows)
    found = api.audit(path, out=tmp_path / "out", traces=10, rows=20, workers=1)
    assert found["accounts"]["rows"]["in"] == 20 and found["judged"] == {"traces": 10, "of": 40, "limit": 10}
    assert found["outcomes"] == {"correct": 5, "incorrect": 5}  # five problems, both traces of each
    assert any("Only the beginning of many.jsonl was read" in note for note in found["notes"])
    assert any("10 of 40 traces were verified" in note for note in found["notes"])


def test_labels_decide_where_no_gold_answer_is(tmp_path):
    rows = [(problem, None, traces) for problem, _, traces in ROWS[:2]]
    found = api.audit(write(tmp_path / "mine.jsonl", rows), out=tmp_path / "out", workers=1)
    assert found["verifiers"] == [] and found["outcomes"] == {"correct": 2, "incorrect": 2}
    assert "There are no gold answers to check the labels" in Path(found["page"]).read_text("utf-8")


def test_problems_without_traces_have_their_gold_answers_checked(tmp_path):
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps({"problem": f"{n}+1?", "answer": a}) + "\n" for n, a in enumerate(("1", "unknown")))
    )
    found = api.audit(tmp_path / "p.jsonl", out=tmp_path / "out", workers=1)
    assert found["golds"]["ungradable"] == {"gold_placeholder": 1} and found["outcomes"] == {}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.jsonl", "", "has no rows"),
        ("bad.jsonl", "not json\n", "none of 1 rows can be read"),
        ("other.jsonl", '{"a": 1}\n', "no source can read its columns (a)"),
        ("gone.jsonl", None, "there is no file or folder at"),
        ("mine.txt", "x", "is not a data file"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, name, text, words):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["audit", name])
    assert end.value.code == 2 and words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ([name] if text is not None else [])


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    path = write(tmp_path / "mine.jsonl", ROWS[:1])
    with pytest.raises(OperatorError, match="holds other files than those of an audit"):
        api.audit(path, out=tmp_path)
    with pytest.raises(OperatorError, match="is the input itself"):
        api.audit(path, out=path)


def test_the_share_of_longer_ones_by_hand():
    assert _share_longer([5, 1], [1, 3]) == (2 + 0.5) / 4  # 5>1, 5>3, 1=1, 1<3


def judged_group(gold, answers):
    problem = make_problem("q", answer=gold)
    traces = []
    for place, (outcome, answer) in enumerate(answers):
        traces.append(
            make_trace(problem.id, str(place)).with_verdict(
                "cascade", Verdict(Outcome(outcome), answer, verifier_version="1")
            )
        )
    return Group(problem, tuple(traces))


def test_a_gold_answer_is_suspicious_only_where_all_miss_it_and_agree():
    wrong = ("incorrect", "64")
    assert suspicious_gold(judged_group("54", [wrong] * 3)) is not None
    assert suspicious_gold(judged_group("54", [wrong] * 2)) is None  # too few
    assert suspicious_gold(judged_group("54", [*[wrong] * 3, ("correct", "54")])) is None  # somebody reaches it
    assert (
        suspicious_gold(judged_group("54", [*[wrong] * 3, *[("incorrect", str(n)) for n in range(4)]])) is None
    )  # 3 of 7


def test_the_way_in_which_unread_traces_end_is_shown(tmp_path):
    rows = [(f"{n}+{n}=", str(2 * n), [(f"sum\nE: {2 * n}", True, "stop")]) for n in range(9)]
    write(tmp_path / "mine.jsonl", [*rows, ("9+9=", "18", [("no idea", False, "stop")])])
    found = api.audit(tmp_path / "mine.jsonl", out=tmp_path / "out", workers=1)
    line = found["unread_end"]["line"]
    assert found["unread_end"] == {"line": line, "traces": 9, "of": 10} and line.startswith("E: ")
    (note,) = [note for note in found["notes"] if "end alike" in note]
    assert note.startswith(f"9 of the 10 traces without an answer end alike, for example in `{line}`")
