"""The page as a whole: self-contained, the same bytes again, inert whatever the traces hold, honest about what is missing."""

import dataclasses
import inspect
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_run import write_hostile
from made_up_run import judged, make_group, write_run

from drawn_charts import CHARTS
from redistill.errors import OperatorError
from redistill.io.atomic import write_json
from redistill.io.parquet import write_records
from redistill.records import Group, Pair
from redistill.report import SECTIONS, charts, write_report
from redistill.report.blocks import Text
from redistill.report.files import RunFiles
from redistill.report.page import render
from redistill.report.render import MAX_BYTES


class Tags(HTMLParser):
    """Every tag and attribute of a page, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def assert_inert(html: str) -> None:
    """No script, no handler, no address: only references within the page."""
    page = Tags(html)
    assert not {"script", "iframe", "object", "embed", "img", "link", "base", "form", "foreignobject"} & set(page.tags)
    assert [a for a in page.attributes if a[1].startswith("on")] == []
    assert all(value.startswith("#") for _, name, value in page.attributes if name.endswith(("href", "src")))
    assert html.count("<style>") == page.tags.count("style") == 1
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "@import" not in style and "url(" not in style


def copy(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


@pytest.fixture(scope="module")
def html(run_folder: Path) -> str:
    return write_report(run_folder).read_text("utf-8")


def test_the_page_is_self_contained(html: str) -> None:
    assert html.startswith("<!doctype html>")
    assert_inert(html)
    assert "http://" not in html and "https://" not in html


def test_the_same_folder_gives_the_same_bytes(run_folder: Path, html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHARTS:  # draw, and take none that was drawn before
        monkeypatch.setattr(charts, name, inspect.unwrap(getattr(charts, name)))
    assert write_report(run_folder).read_bytes() == html.encode()


def test_every_section_appears_and_none_is_missing(html: str, run_folder: Path) -> None:
    # of other runs, and tested in test_report_rollouts.py, test_retrieval_section.py, test_choosing_section.py, ...
    elsewhere = {
        "Own answers",
        "Retrieval",
        "Choosing among samples",
        "Labelled steps",
        "Trace scores",
        "Difficulty",
        "Self-correction",
    }
    for title, section in SECTIONS.items():
        if title in elsewhere:
            assert f">{title}</h2>" not in html
            continue
        assert f">{title}</h2>" in html
        blocks = section(RunFiles(run_folder))
        assert blocks, title
        assert not [b for b in blocks if isinstance(b, Text) and b.tone == "missing"], title


def test_every_chart_follows_the_page_and_has_a_name(html: str) -> None:
    charts = [value for tag, name, value in Tags(html).attributes if (tag, name) == ("svg", "aria-label")]
    assert len(charts) >= 12 and all(charts)  # 2 scores, 1 comparison, 1 lengths, 4 of sft, 6 of control and redi
    assert "#0102" not in html  # no sentinel colour is left
    assert "var(--s3)" in html and "currentColor" in html and "prefers-color-scheme: dark" in html


def test_ids_are_unique_within_what_refers_to_them(html: str) -> None:
    attributes = Tags(html).attributes
    ids = {value for _, name, value in attributes if name == "id"}
    assert {value[1:] for tag, name, value in attributes if name == "href" and tag == "a"} <= ids


def test_a_toy_run_is_labelled_and_another_is_not(html: str, run_folder: Path, tmp_path: Path) -> None:
    label = "says nothing about the paper&#39;s numbers"
    assert label in html
    run = copy(run_folder, tmp_path)
    (run / "recipe.yaml").write_text("name: real\nstudent: {model: some/model}\n")
    assert label not in write_report(run).read_text()


def test_the_empty_folder_says_which_stages_have_not_run(tmp_path: Path) -> None:
    html = write_report(tmp_path).read_text()
    assert_inert(html)
    for stage_dir in ("corpus", "verify", "select", "train", "evaluate"):
        assert f"the stage {stage_dir} has not run" in html


def test_a_run_stopped_after_select_shows_what_there_is(run_folder: Path, tmp_path: Path) -> None:
    run = copy(run_folder, tmp_path)
    shutil.rmtree(run / "train")
    shutil.rmtree(run / "evaluate")
    html = write_report(run).read_text()
    assert "the stage evaluate has not run" in html and "the stage train has not run" in html
    assert "the stage select has not run" not in html and "problems that gave pairs" in html


def test_hostile_text_is_inert_and_visible(run_folder: Path, tmp_path: Path) -> None:
    html = write_report(write_hostile(run_folder, tmp_path / "run")).read_text("utf-8")
    assert_inert(html)
    text = "".join(Tags(html).text)
    assert "alert(1)</script></pre>" in text and "{{ 7*7 }}" in text and "&lt;script&gt; &#x3c;b" in text
    assert "⟨U+202E⟩right to left⟨U+202C⟩" in text and "␀␛[31m" in text and "⟨U+200B⟩" in text and "⟨U+D800⟩" in text
    assert not set("\u202e\u202c\u2066\u200b\x00\x1b\x07") & set(html)
    assert "characters left out" in text and len(html.encode()) < 3_000_000


def test_a_page_with_too_many_long_texts_shows_fewer_of_them(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(run_folder, tmp_path)
    (run / "select/part-00000.done").unlink(missing_ok=True)
    pairs = list(RunFiles(run).sample("select/pairs", max_shards=2, max_records=20))
    wide = "\U0001f9ee" * 1500  # four bytes a character, and every token has a tone of its own: a tag each
    long = [dataclasses.replace(p, chosen="a" + wide, rejected="b" + wide) for p in pairs]
    write_records(run / "select/pairs/part-00000.parquet", Pair, long)
    sides = [(i, i + 1, -1.0, -1.0 + (9 if i % 2 else -9)) for i in range(1501)]
    found = [{"chosen_id": p.chosen_id, "rejected_id": p.rejected_id, "chosen": sides, "rejected": sides} for p in long]
    write_json(run / "train/redi/token_changes.json", {"stage": "redi", "start": "sft", "pairs": found})
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("example_traces: 3", "example_traces: 8"))
    sizes: list[int] = []

    def measured(files: RunFiles) -> str:
        html = render(files)
        sizes.append(len(html.encode()))
        return html

    monkeypatch.setattr("redistill.report.page.render", measured)
    monkeypatch.setattr("redistill.report.render.MAX_BYTES", 500_000)
    page = write_report(run).read_text("utf-8")
    assert page.count('name="pairs"') == 4 and sizes[0] > 500_000 >= sizes[1] == len(page.encode())
    each = (sizes[0] - sizes[1]) / 4
    assert sizes[0] + 42 * each <= MAX_BYTES  # the most that a recipe can ask for, 50, would fit under the real limit


def test_a_big_run_stays_under_three_megabytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", problems=40)
    row = '{"step": %d, "loss": 1.0, "chosen_logp": -0.5, "grad_norm": 1.5, "lr_x_grad_norm": 1e-6, "seconds": 1}\n'
    (run / "train/sft/metrics.jsonl").write_text("".join(row % i for i in range(8_000)))
    long = [make_group(i) for i in range(20)]
    long = [
        Group(g.problem, tuple(judged(g.problem.id, t.completion * 300, t.verdict.outcome, 0, "x") for t in g.traces))
        for g in long
    ]
    write_records(run / "evaluate/redi/dev/groups/part-00000.parquet", Group, long)
    tally = {f"reason {i}": 1 for i in range(5000)}
    write_json(run / "verify/ledger.json", {"tallies": {"outcomes:judge": {"correct": 5000}, "reasons:judge": tally}})
    write_json(run / "run.json", {"inputs": {f"file-{i}": "0" * 64 for i in range(5000)}})
    page = write_report(run)
    assert page.stat().st_size < 3_000_000
    html = page.read_text()
    assert "4,988 more reasons" in html and "the first 40 of 5,000" in html and "mean over 20 steps" in html


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        ("verify/ledger.json", "{not json", "verify/ledger.json"),
        ("select/ledger.json", '{"accounts": {"pairs": {"in": "many"}}}', "accounts.pairs.in"),
        ("evaluate/redi/dev/scores.json", "[]", "scores.json"),
        ("evaluate/comparisons.json", '[{"a": 3}]', "comparisons.json"),
        ("train/redi/metrics.jsonl", "{}\n", "metrics.jsonl"),
        ("train/redi/metrics.jsonl", 'nonsense\n{"step": 2}\n', "metrics.jsonl"),
        ("recipe.yaml", "a: [", "recipe.yaml"),
        ("select/pairs/part-00000.parquet", "no parquet", "part-00000.parquet"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(
    run_folder: Path, tmp_path: Path, file: str, content: str, word: str
) -> None:
    run = copy(run_folder, tmp_path)
    (run / file).write_text(content)
    with pytest.raises(OperatorError, match=word):
        for section in SECTIONS.values():
            section(RunFiles(run))


def test_a_torn_parquet_file_is_named(run_folder: Path, tmp_path: Path) -> None:
    run = copy(run_folder, tmp_path)
    path = run / "select/pairs/part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[40:2000] = bytes(1960)  # the pages are gone, the footer still reads
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=r"part-00000\.parquet is corrupt"):
        SECTIONS["Teacher pairs"](RunFiles(run))


def test_no_folder_is_an_operator_error(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no run folder"):
        write_report(tmp_path / "nowhere")
