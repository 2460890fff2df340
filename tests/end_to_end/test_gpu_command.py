"""benchmarks/gpu.py, the command for a GPU, end to end on a CPU with tiny shapes; and that each check sees what it is for."""

import functools
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mini import environment
from transformers import AttentionInterface

from redistill.model import logps
from redistill.rollout import ENGINES
from redistill.train.modifiers import MODIFIERS
from redistill.train.objectives import OBJECTIVES, redi

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "benchmarks" / "gpu.py"


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GPU = loaded(COMMAND, "gpu_command")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package of the sections, imported as the command imports it."""
    monkeypatch.syspath_prepend(str(COMMAND.parent))
    import gpu_checks.exact
    import gpu_checks.runs
    import gpu_checks.speed

    yield gpu_checks


def bench(checks, folder, seconds=600.0):
    table = sys.modules["gpu_checks.table"]
    return table.Bench(torch.device("cpu"), True, table.Table(folder / "out", {"device": "A CPU"}), folder, seconds)


def rows_of(checks, folder, section, **more):
    used = bench(checks, folder, **more)
    used.run("section", section, needs=1, later=0)
    return {row.what: row for row in used.table.rows}


@pytest.mark.recipes  # a minute: every section
def test_the_command_ends_with_every_check_passed_and_writes_its_table(tmp_path):
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--tiny", "--seconds", "1100", "--out", str(tmp_path)],
        capture_output=True, text=True, env=environment(), timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    (found,) = tmp_path.glob("*.json")
    table = json.loads(found.read_text())
    assert table["shapes"] == "tiny" and table["torch"] == torch.__version__
    assert all(row["ok"] is True for row in table["rows"]), [row for row in table["rows"] if row["ok"] is not True]
    assert list(dict.fromkeys(row["check"] for row in table["rows"])) == list(GPU.SECTIONS)
    measured = {row["what"] for row in table["rows"] if row["check"] == "objectives"}
    for precision in ("fp32", "bf16"):
        clips = (
            {"grpo", "actions"} if precision == "bf16" else set()
        )  # rounding may put a ratio on the other side of its clip
        # of critics, whose rows are labelled, and of a teacher's distributions: tests of their own
        clips |= {"outcome", "process", "implicit", "distill"}
        assert {f"{name}, {precision}" for name in OBJECTIVES if name not in clips} <= measured
    assert {f"redi with {name}, fp32" for name in MODIFIERS if name not in ("kl", "entropy", "token-credit")} | {
        "sft with kl, fp32"
    } <= measured
    page = found.with_suffix(".md").read_text()
    assert page in done.stdout and page.count("\n| ") == len(table["rows"]) + 1


def test_without_a_gpu_or_a_package_it_says_so_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert GPU.main(["--out", str(tmp_path)]) == 2
    assert "torch sees no CUDA device; --tiny runs" in capsys.readouterr().err
    absent = GPU.importlib.metadata.PackageNotFoundError
    real = GPU.importlib.metadata.distribution

    def without(name):
        if name in ("pyarrow", "math-verify"):
            raise absent(name)
        return real(name)

    monkeypatch.setattr(GPU.importlib.metadata, "distribution", without)
    assert GPU.main(["--tiny", "--out", str(tmp_path)]) == 2
    assert "lacks math-verify, pyarrow; install" in capsys.readouterr().err
    assert GPU.main(["--only", "speeed"]) == 2
    assert not list(tmp_path.iterdir())


def test_what_the_sections_are_promised_fits_into_eight_minutes():
    assert sum(promised for promised, _ in GPU.SECTIONS.values()) <= GPU.SECONDS - 20 <= 460


def only(checks, monkeypatch, *names, **more):
    """The section of objectives has these alone: each is two precisions and every modifier."""
    monkeypatch.setattr(checks.exact, "OBJECTIVES", {name: OBJECTIVES[name] for name in names} | more)


def test_a_weight_that_is_off_by_a_thousandth_is_seen_and_only_there(checks, tmp_path, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "redi", functools.partial(redi, rejected_weight=0.8008))
    only(checks, monkeypatch, "sft", "redi", "redi_bounded", "dpo_norm")
    rows = rows_of(checks, tmp_path, checks.exact.objectives)
    wrong = {what for what, row in rows.items() if row.ok is not True}
    assert "redi, fp32" in wrong and "redi with span-weights, fp32" in wrong
    assert all(what.startswith("redi") and what.endswith("fp32") and "redi_bounded" not in what for what in wrong)


def test_an_objective_without_a_second_formula_is_held_against_its_own_function_in_fp64(checks, tmp_path, monkeypatch):
    only(checks, monkeypatch, "sft", "redi", "dpo_norm", brand_new=redi)
    rows = rows_of(checks, tmp_path, checks.exact.objectives)
    assert rows["brand_new, fp32"].ok is True and "its own function" in rows["brand_new: second formula"].limit
    assert (
        rows["brand_new, fp32"].value == rows["redi, fp32"].value
    )  # the same function, so the same error of the device


def test_a_kernel_whose_gradient_is_off_is_seen(checks, tmp_path, monkeypatch):
    real = logps._Head.add_gradients

    def off(self, part, probs, coefficients, hidden_grad, weight_grad):
        real(self, part, probs, coefficients * 1.001, hidden_grad, weight_grad)

    monkeypatch.setattr(logps._Head, "add_gradients", off)
    only(checks, monkeypatch, "sft", "redi", "dpo_norm")
    rows = rows_of(checks, tmp_path, checks.exact.objectives)
    assert all(row.ok is False for what, row in rows.items() if what.endswith("fp32"))


def one_long_row(module, query, key, value, mask, *, runs=None, boundaries=None, scaling=None, **more):
    """Attention that forgets where rows begin: all of the pack is one causal row."""
    keys, values = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    out = torch.nn.functional.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scaling)
    return out.transpose(1, 2), None


def test_rows_that_see_their_neighbours_are_seen_in_every_precision(checks, tmp_path, monkeypatch):
    logps.register_packed()
    real = AttentionInterface()[logps.PACKED]
    monkeypatch.setattr(
        checks.exact, "prepare_for_packing", lambda model: model.set_attn_implementation(logps.PACKED) or True
    )
    try:
        AttentionInterface.register(logps.PACKED, one_long_row)
        rows = rows_of(checks, tmp_path, checks.exact.packed)
    finally:
        AttentionInterface.register(logps.PACKED, real)
    assert len(rows) == 17 and all(row.ok is False for row in rows.values())


def test_an_engine_that_casts_the_weights_in_place_is_seen(checks, tmp_path, monkeypatch):
    real = ENGINES["transformers"]

    def casting(student, requests, sampling, **options):
        model, tokenizer = student()
        return real(lambda: (model.to(torch.bfloat16).float(), tokenizer), requests, sampling, **options)

    monkeypatch.setitem(ENGINES, "transformers", casting)
    rows = rows_of(checks, tmp_path, checks.runs.sampling)
    assert {row.ok for what, row in rows.items() if what.startswith("weights")} == {False}


def test_a_section_that_raises_is_one_failed_row_and_what_has_no_time_left_is_named(checks, tmp_path):
    table = sys.modules["gpu_checks.table"]

    def broken(bench):
        yield table.below("first", 1.0, 2.0)
        raise ValueError("no\nsuch kernel")

    used = bench(checks, tmp_path)
    used.run("broken", broken, needs=1, later=0)
    used.run("late", broken, needs=1, later=600)
    used.run("after", lambda bench: iter([table.below("nan", float("nan"), 1.0)]), needs=1, later=0)
    found = [(row.check, row.ok, row.value) for row in used.table.rows[:2]]
    assert found == [("broken", True, 1.0), ("broken", False, "ValueError: no such kernel")]
    assert used.table.rows[2].ok is None and "not run: time" in str(used.table.rows[2].value)
    assert used.table.rows[3].ok is False and len(used.table.failed) == 2
    written = json.loads((tmp_path / "out" / "a-cpu.json").read_text())
    assert [row["check"] for row in written["rows"]] == ["broken", "broken", "late", "after"]
    assert "| late | all of it | not run: time" in (tmp_path / "out" / "a-cpu.md").read_text()


def test_the_search_for_the_longest_pair_closes_in_on_what_fits(checks, tmp_path, monkeypatch):
    """A device of 300 tokens: the search ends within an eighth of it, from above and from below."""
    tried = []

    def fits(student, rows):
        tried.append(int(rows.length(1)))
        return 0.01 if tried[-1] <= 300 else None

    monkeypatch.setattr(checks.speed, "_fits", fits)
    rows = rows_of(checks, tmp_path, lambda bench: checks.speed.longest(bench, 2, 0))
    (row,) = rows.values()
    good, bad = max(n for n in tried if n <= 300), min(n for n in tried if n > 300)
    assert row.value == f"{good:,} fit, {bad:,} do not" and (bad - good) * 8 <= good
