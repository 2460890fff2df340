"""The section about students whose answers are search queries, on baselines and gains made up by hand."""

import json
import shutil
from pathlib import Path

import pytest
from made_up_run import write_scores

from redistill.io.parquet import write_records
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.report.blocks import Browser, Table
from redistill.report.files import RunFiles
from redistill.report.page import render
from redistill.report.sections.retrieval import retrieval

UP, DOWN = make_problem("warm coat", answer="d1"), make_problem("red <b>shoe</b>", answer="d2")


def answered(problem, query: str, score: float) -> Group:
    verdict = Verdict(
        Outcome.correct if score > 0.5 else Outcome.incorrect, query, "ndcg", "retrieval", "1", 0.0, score
    )
    return Group(problem, (make_trace(problem.id, query, author="redi", verdicts={FINAL: verdict}),))


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (run / "retrieval").mkdir()
    problems = {UP.id: {"raw": 0.25, "feedback": 0.5}, DOWN.id: {"raw": 0.75, "feedback": 0.75}}
    (run / "retrieval/baselines.json").write_text(json.dumps({"dev": {"measure": "ndcg@100", "problems": problems}}))
    raw = {"query_by": "raw", "mean": 0.5, "interval95": [0.25, 0.75]}
    redi = {"query_by": "redi", "mean": 0.625, "interval95": [0.5, 0.75], "gain": 0.125, "gain_interval95": [-0.5, 0.75], "better": 1, "worse": 1}  # fmt: skip
    (run / "retrieval/gains.json").write_text(json.dumps({"dev": [raw, redi]}))
    shutil.rmtree(run / "evaluate/redi/dev", ignore_errors=True)
    write_scores(run, "redi", "dev", 0.5, [])
    (run / "evaluate/redi/dev/groups").mkdir(parents=True, exist_ok=True)
    found = [answered(UP, "parka down", 1.0), answered(DOWN, "shoe", 0.5)]
    write_records(run / "evaluate/redi/dev/groups/part-00000.parquet", Group, found)
    return run


def test_a_run_whose_answers_are_no_queries_has_no_such_section(run_folder: Path) -> None:
    assert retrieval(RunFiles(run_folder)) == []


def test_a_student_stands_beside_the_raw_query_with_its_gain(folder: Path) -> None:
    (table,) = [block for block in retrieval(RunFiles(folder)) if isinstance(block, Table)]
    rows = [[getattr(cell, "text", cell) for cell in row] for row in table.rows]
    assert rows == [
        ["raw query", "50.0", "25.0 to 75.0", None, None, None, None],
        ["redi", "62.5", "50.0 to 75.0", "+12.5", "-50.0 to +75.0", "1", "1"],
    ]


def test_queries_are_shown_by_their_gain_and_cannot_write_the_page(folder: Path) -> None:
    (browser,) = [block for block in retrieval(RunFiles(folder)) if isinstance(block, Browser)]
    assert [leaf.label for leaf in browser.leaves] == ["+75.0 warm coat", "-25.0 red <b>shoe</b>"]
    page = render(RunFiles(folder))
    assert "raw query 25.0%, rewrite 100.0% (+75.0 points)" in page and "red <b>shoe</b>" not in page
