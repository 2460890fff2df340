"""The section about stages that learned from their own answers, on rounds made up by hand."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from made_up_run import RECIPE, write_scores
from test_report_costs import write_model

from redistill.io.parquet import write_records
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.report.blocks import Browser, Figure, Table, Text
from redistill.report.files import RunFiles
from redistill.report.page import render
from redistill.report.sections.costs import stage_cost
from redistill.report.sections.funnel import funnel
from redistill.report.sections.results import _role
from redistill.report.sections.rollouts import num_answers, rollouts, rounds_of
from redistill.report.sections.training import training

PROBLEM, OTHER = make_problem("1 + 1?", answer="2"), make_problem("7 * 8?", answer="56")


def figures(n: int, **more: float | None) -> dict[str, float | None]:
    usual = {"reward": 0.1 * n, "pass_rate": 0.1 * n - 0.05, "undecided": 0.0, "no_variance": 0.5, "length": 10.0 + n,
             "cut": 0.0, "entropy": 1.0 / n, "generated_tokens": 8 * (10 + n)}  # fmt: skip
    return {"round": n, **usual, **more}


def group(problem, number: int) -> Group:
    right = number > 2
    verdict = Verdict(Outcome.correct if right else Outcome.incorrect, str(number), "equal", "exact", "1")
    traces = [
        make_trace(
            problem.id,
            f"round {number} says {i}",
            author="grpo",
            scores={"reward": float(right)},
            verdicts={FINAL: verdict},
        )
        for i in range(2)
    ]
    return Group(problem, tuple(traces))


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    """The made-up run with one stage more, which drew six rounds of eight answers and took two steps on each."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    own = {"objective": {"name": "grpo", "options": {}}, "start": "sft", "learning_rate": 1e-4,
           "rollouts": {"problems": 2, "n": 4, "rounds": 6, "updates": 2}}  # fmt: skip
    recipe = {**RECIPE, "train": {**RECIPE["train"], "grpo": own}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (run / "train/grpo/rollouts/groups").mkdir(parents=True)
    lines = []
    for step in range(1, 13):
        line = {"step": step, "loss": 0.1, "chosen_logp": -0.2, "tokens": 100, "seconds": 1.0, "grad_norm": 1.0}
        lines.append({**line, **(figures((step + 1) // 2) if step % 2 else {})})
    (run / "train/grpo/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    account = {"unit": "answer", "in": 48, "kept": 40, "dropped": {"undecided": 8}}
    (run / "train/grpo/ledger.json").write_text(json.dumps({"start": "sft", "rows": account, "steps": 12}))
    for number in range(6):
        groups = [group(PROBLEM, number + 1), *([group(OTHER, number + 1)] if number == 0 else [])]
        write_records(run / f"train/grpo/rollouts/groups/part-{number:05d}.parquet", Group, groups)
    write_scores(run, "grpo", "dev", 0.9, [])
    return run


def tables(blocks):
    return [block for block in blocks if isinstance(block, Table)]


def titles(blocks):
    return [title for block in blocks if isinstance(block, Figure) for title, _ in block.panels]


def test_a_run_without_such_stages_has_no_such_section(run_folder: Path) -> None:
    run = RunFiles(run_folder)
    assert rollouts(run) == [] and "own-answers" not in render(run)


def test_the_table_counts_rounds_and_answers_and_shows_first_and_last_rounds(folder: Path) -> None:
    run = RunFiles(folder)
    assert num_answers(rounds_of(run, "grpo")) == 48
    rounds, costs = tables(rollouts(run))
    (row,) = rounds.rows
    # means of rounds 1 to 5 and 2 to 6: 0.3 and 0.4; pass rates 0.05 lower; lengths 13 and 14
    assert [str(cell) for cell in row[1:]] == ["6", "48", "0.300 → 0.400", "25.0 → 35.0", "0.0", "50.0", "13 → 14"]
    own = next(row for row in costs.rows if row[0].text == "grpo")
    # twelve steps of 100 tokens; 8 answers of 11 to 16 tokens: 8 x 81
    assert own[1:5] == ("sft", "648", "1,200", "1,848") and own[5] == "47.0 → 90.0 (dev)"
    assert {row[0].text for row in costs.rows} == {"sft", "control", "redi", "grpo"}


def test_a_figure_that_never_moved_from_zero_or_was_measured_once_is_not_drawn(folder: Path) -> None:
    drawn = titles(rollouts(RunFiles(folder)))
    assert "reward, mean of the answers" in drawn and "pass rate, %" in drawn and "tokens per answer" in drawn
    assert not any("cut" in title or "without a reward" in title or "KL" in title for title in drawn)
    path = folder / "train/grpo/metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["reference_kl"], lines[4]["cut"] = 0.5, 0.25
    for line in lines:
        line |= {"reward": line["pass_rate"]} if "pass_rate" in line else {}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawn = titles(rollouts(RunFiles(folder)))
    assert "answers cut at their limit, %" in drawn and not any("KL" in title for title in drawn)
    assert "reward, mean of the answers" not in drawn  # it is the pass rate


def test_importance_weights_of_a_servers_tokens_are_drawn_where_a_server_sampled(folder: Path) -> None:
    path = folder / "train/grpo/metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert not any("importance" in title for title in titles(rollouts(RunFiles(folder))))
    for line in lines:
        line |= {"importance_mean": 0.98, "importance_truncated": 0.01} if "round" in line else {}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawn = titles(rollouts(RunFiles(folder)))
    assert "importance weight of a server's token, mean" in drawn and "importance weights cut at their cap, %" in drawn


def test_offline_and_online_stages_stand_in_one_picture_over_tokens(folder: Path) -> None:
    blocks = rollouts(RunFiles(folder))
    (figure,) = [b for b in blocks if isinstance(b, Figure) and b.single]
    assert [tag.text for tag in figure.legend] == ["sft", "control", "grpo", "redi"]
    assert "a sampled token and a token trained on count the same" in figure.caption
    assert "sampled and trained on" in figure.panels[0][1]
    # two marks and no line are not a picture
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    for stage in ("control", "redi"):
        del recipe["train"][stage]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert not [b for b in rollouts(RunFiles(folder)) if isinstance(b, Figure) and b.single]


def test_a_problem_that_was_asked_again_is_shown_at_several_rounds(folder: Path) -> None:
    blocks = rollouts(RunFiles(folder))
    (browser,) = [b for b in blocks if isinstance(b, Browser)]
    (leaf,) = browser.leaves  # the other problem was asked once
    shown = [passage for passages in leaf.blocks for passage in passages.items]
    assert [passage.title for passage in shown] == ["problem", "round 1", "round 3", "round 4", "round 6"]
    assert [passage.tone for passage in shown[1:]] == ["wrong", "right", "right", "right"]
    assert "reward 1; mean of its 2 answers 1" in shown[2].facts
    assert any("round 6 says 0" in text for _, text in shown[4].spans)


def test_where_no_problem_was_asked_twice_dev_problems_stand_before_and_after(folder: Path) -> None:
    for number in range(1, 6):
        (folder / f"train/grpo/rollouts/groups/part-{number:05d}.parquet").unlink()
    shutil.copytree(folder / "evaluate/sft/dev/groups", folder / "evaluate/grpo/dev/groups", dirs_exist_ok=True)
    blocks = rollouts(RunFiles(folder))
    assert any(isinstance(b, Text) and "no problem was sampled twice" in b.text for b in blocks)
    (browser,) = [b for b in blocks if isinstance(b, Browser)]
    assert [p.title for p in browser.leaves[0].blocks[1].items] == ["before (sft)", "after (grpo)"]


def test_the_other_sections_say_what_such_a_stage_read(folder: Path) -> None:
    run = RunFiles(folder)
    (stages,) = tables(training(run))
    row = next(row for row in stages.rows if row[0].text == "grpo")
    assert row[3] == "40 own answers" and row[4] == "8 undecided"
    assert any(isinstance(b, Text) and "the answers that grpo sampled" in b.text for b in funnel(run))
    assert _role(run, "grpo") == "GRPO" and _role(run, "redi") == "REDI"
    assert stage_cost(run, "grpo").tokens == 1200 and stage_cost(run, "grpo").flops is None
    write_model(folder / "train/grpo/model")
    # 38 parameters; rounds with set updates take each of their 40 rows once: 30 tokens a row, whatever batch_size says
    assert stage_cost(RunFiles(folder), "grpo").flops == pytest.approx(1200 * (6 * 38 + 6 * 2 * 4 * 30))
    assert 'id="own-answers' in render(run)


def test_what_a_model_is_called_says_whose_answers_it_learned_from(folder: Path) -> None:
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    for name, role in (
        ("sft", "SFT on its own right answers"),
        ("redi", "REDI on its own answers"),
        ("dpo", "DPO on its own answers"),
        ("topr", "topr on its own answers"),
    ):
        recipe["train"]["grpo"]["objective"]["name"] = name
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        assert _role(RunFiles(folder), "grpo") == role
