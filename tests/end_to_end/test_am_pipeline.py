"""The pipeline of AM in miniature, on a corpus with planted defects: what each filter finds, and that the result depends on rows alone."""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from redistill import api
from redistill.corpus.sources import SOURCES
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.safety.sandbox import SandboxRefused, check_sandbox

ROWS = 100


def _load() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "planted_corpus.py"
    spec = importlib.util.spec_from_file_location("planted_corpus", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_corpus"] = module
    spec.loader.exec_module(module)
    return module


planted_corpus = _load()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(what was planted, its folder, the run's folder, the exported folder)."""
    try:
        check_sandbox()
    except SandboxRefused as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("planted")
    made = planted_corpus.plant(ROWS, seed=1)
    planted_corpus.write(made, folder)
    ran = planted_corpus.run(folder)
    return made, folder, ran, api.export(ran, to="am", out=folder / "kept")


def test_each_defect_is_found_by_its_own_filter_and_what_is_sound_stays(planted: Any) -> None:
    made, folder, ran, _ = planted
    lines = {line["defect"]: line for line in planted_corpus.table(made, planted_corpus.fates(ran, folder))}
    assert sum(line["rows"] for line in lines.values()) == ROWS
    for defect in (
        "copy",
        "leak",
        "wrong_answer",
        "loop",
        "language",
        "no_thinking",
        "code_wrong",
        "code_crash",
        "code_loop",
        "code_fork",
    ):
        assert lines[defect]["recall"] == 1.0, lines[defect]
    for defect in ("sound", "twin", "odd_notation", "code_right"):  # none of these is a defect
        assert lines[defect]["kept"] == lines[defect]["rows"], lines[defect]
    # a retold problem is found where it turns no word that the original lacks; a tag that a sentence mentions is none
    assert lines["retold"]["found"] > 0 and lines["broken_tags"]["found"] > 0
    assert all(
        line["precision"] == 1.0 for name, line in lines.items() if line["precision"] is not None and name != "retold"
    )


def test_nothing_is_lost_between_the_stages(planted: Any) -> None:
    _, _, _, kept = planted
    manifest = json.loads((kept / "manifest.json").read_text())
    for accounts in manifest["funnel"].values():
        for account in accounts.values():
            assert account["in"] == account["kept"] + sum(account["dropped"].values())
    assert manifest["rows"] == manifest["funnel"]["select"]["examples"]["kept"] == manifest["export"]["kept"]
    assert manifest["funnel"]["corpus"]["rows"]["in"] == ROWS


def test_the_export_is_read_back_by_parquet_datasets_and_our_own_source(planted: Any, tmp_path: Path) -> None:
    _, _, ran, kept = planted
    rows = pq.read_table(kept / "am.parquet").to_pylist()
    spec = importlib.util.spec_from_file_location("features", kept / "features.py")
    assert spec is not None and spec.loader is not None
    features = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(features)
    loaded = features.load(kept, cache_dir=str(tmp_path))
    assert loaded.to_list() == rows and loaded.features == features.FEATURES
    assert any(row["messages"][0]["info"]["test_case"] for row in rows) and any(
        row["messages"][0]["info"]["reference_answer"] for row in rows
    )
    examples = [row for path in sorted((ran / "select/examples").iterdir()) for row in read_records(path)]
    back = [group for group in SOURCES["am-deepseek-r1"](path=str(kept / "am.jsonl.zst"))]
    assert Counter(trace.completion for group in back for trace in group.traces) == Counter(
        row.completion for row in examples
    )
    problems = {g.problem.id: g.problem for path in (ran / "select/groups").iterdir() for g in read_records(path)}
    for group in back:
        known = problems[group.problem.id]
        tests = group.problem.metadata.get("tests")
        assert (group.problem.answer, group.problem.source) == (known.answer, known.source)
        assert (json.loads(tests) if tests else None) == (
            json.loads(known.metadata["tests"]) if "tests" in known.metadata else None
        )


@pytest.mark.recipes  # the whole pipeline again; what does not depend on order is tested filter by filter
def test_rows_in_another_order_give_the_same_bytes(planted: Any, tmp_path: Path) -> None:
    made, _, _, kept = planted
    planted_corpus.write(made, tmp_path, shuffle=5)
    again = api.export(planted_corpus.run(tmp_path), to="am", out=tmp_path / "kept")
    for name in ("am.jsonl.zst", "am.parquet"):
        assert (again / name).read_bytes() == (kept / name).read_bytes()


@pytest.mark.recipes
def test_a_second_pass_drops_nothing(planted: Any, tmp_path: Path) -> None:
    made, _, _, kept = planted
    planted_corpus.write(made, tmp_path)  # its benchmark
    sources = [{"name": "am-deepseek-r1", "path": str(kept / "am.jsonl.zst")}]
    second = api.export(planted_corpus.run(tmp_path, sources=sources), to="am", out=tmp_path / "kept")
    manifest = json.loads((second / "manifest.json").read_text())
    assert manifest["rows"] == json.loads((kept / "manifest.json").read_text())["rows"]
    assert all(not account["dropped"] for name, account in manifest["funnel"]["corpus"].items())
    assert not manifest["funnel"]["select"]["examples"]["dropped"] and not manifest["export"]["dropped"]


def test_an_export_of_data_takes_no_option_of_a_trainer(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="leave --stage, --loss and --code out"):
        api.export(tmp_path, to="am", out=tmp_path / "x", stage="sft")
    with pytest.raises(OperatorError, match="is not a run"):
        api.export(tmp_path, to="am", out=tmp_path / "x")
    (tmp_path / "recipe.yaml").write_text("name: x")
    (tmp_path / "layout.json").write_text("{}")
    with pytest.raises(OperatorError, match="has no examples yet"):
        api.export(tmp_path, to="am", out=tmp_path / "x")
    assert not (tmp_path / "x").exists() and not (tmp_path / "x.part").exists()
