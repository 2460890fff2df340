"""A score head's verdicts on labelled steps: by a reader that is a table, and of a critic trained here, against the head read alone."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from redistill.config.parsing import parse_recipe
from redistill.config.tables import CriticSettings
from redistill.errors import OperatorError
from redistill.evaluate.step_benchmarks import step_scores
from redistill.evaluate.step_heads import P_YES, head_judgements
from redistill.io.parquet import read_records
from redistill.model.score_heads import load_critic
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import run
from redistill.text.judgements import VERDICT_LINE
from redistill.text.labelled_steps import Solution
from redistill.text.step_problems import problems_of
from tiny_recipe import RECIPE

RIGHT = Solution("1+1+1?", ("1+1=2", "2+1=3"), (True, True), "gsm8k", "gsm8k-0")
WRONG = Solution("1+1+1?", ("1+1=2", "2+1=4", "so 4"), (True, False, None), "gsm8k", "gsm8k-1")
LONG = Solution("2*3?", ("2*3=5" * 9, "so 5"), (False, None), "math", "math-0")
SAID = {"1+1=2": 0.9, "2+1=3": 0.5, "2+1=4": 0.25}


@dataclass
class Table:
    """A reader whose score of a step is looked up; rows of more than 40 characters are too long."""

    asked: list[str] = field(default_factory=list)

    @property
    def encoding(self):
        return self

    def steps(self, problem, prompt, completion, ranges):
        self.asked.append(completion)
        return "too_long" if len(completion) > 40 else [SAID[completion[start:end]] for start, end in ranges]

    def values(self, rows):
        return rows


def test_verdicts_and_scores_of_a_head_by_hand() -> None:
    table = Table()
    groups = head_judgements(
        table, lambda p: p.statement, [RIGHT, WRONG, LONG], author="prm", line=VERDICT_LINE, join="line"
    )
    assert table.asked == ["1+1=2\n2+1=3", "1+1=2\n2+1=4\nso 4", f"{LONG.steps[0]}\nso 5"]
    said = {g.problem.statement.rpartition("Now Step:\n")[2]: g.traces[0] for g in groups}
    assert said["2+1=3"].completion == f"{VERDICT_LINE} Yes" and said["2+1=4"].completion == f"{VERDICT_LINE} No"
    silent = said[LONG.steps[0]]
    assert (silent.completion, silent.finish_reason, dict(silent.scores)) == ("", "length", {})
    p_yes = {g.traces[0].id: g.traces[0].scores.get(P_YES) for g in groups}
    _, judged = problems_of([RIGHT, WRONG, LONG], join="line")
    found = step_scores(judged, groups, p_yes, CriticSettings(analyses=1))
    assert found["per_solution"] == [
        ["gsm8k-0", "gsm8k", -1, -1],
        ["gsm8k-1", "gsm8k", 1, 1],
        ["math-0", "math", 0, None],
    ]
    # one of two errors is found, and the solution without one is passed: F1 2/3
    assert found["f1"]["value"] == pytest.approx(2 / 3) and found["unjudged"] == 1


def mistakes(path: Path, count: int, first: int) -> str:
    """Sums of two digits in two steps; every other one says 0 in its second step, which is the wrong one."""
    rows = []
    for i in range(first, first + count):
        a, b = i % 4, i // 4 % 4
        wrong = i % 2 == 1
        steps = [f"{a}+{b}=", f"{0 if wrong else 9};"]
        rows.append({"input": f"{i}+{a}", "steps": steps, "target": "9", "answer": "9", "mistake_index": 1 if wrong else None})  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    tree = {
        **RECIPE,
        "corpus": {
            "sources": [{"name": "labelled-steps", "path": mistakes(folder / "train.jsonl", 60, 0), "join": "line"}],
            "dev_fraction": 0.0,
            "near_duplicates": "off",
        },
        "verify": {"verifiers": [], "labels": ["step_labels"]},
        "select": {"labelled": {"spans": "steps"}},
        "train": {"prm": {"objective": "process", "start": "base", "learning_rate": 2e-2, "steps": 40, "batch_size": 16}},
        "evaluate": {
            "benchmarks": [{"name": "bigbench-mistake", "file": mistakes(folder / "test.jsonl", 20, 60)}],
            "critic": {"join": "line"},
        },
    }  # fmt: skip
    tree["student"] = {**tree["student"], "alphabet": tree["student"]["alphabet"] + "\n"}
    return run(parse_recipe(tree, "here"), runs_dir=folder), tree


def test_a_recipe_that_trains_only_a_critic_measures_it_on_labelled_steps(done) -> None:
    folder, tree = done
    assert make_plan(parse_recipe(tree, "here")).scored == ["prm"]
    scores = json.loads((folder / "evaluate/prm/bigbench-mistake/scores.json").read_text())
    # the sign of a wrong step is one character, which a model of one layer learns in forty steps
    assert scores["steps"]["f1"]["value"] == 1.0 and scores["steps"]["analyses"] == 1
    assert scores["num_problems"] == 40 and "Labelled steps" in (folder / "report.html").read_text()


def test_the_scores_are_those_of_the_model_read_one_unpadded_row_at_a_time(done) -> None:
    folder, _ = done
    critic, tokenizer = load_critic(folder / "train/prm/model")
    stored = json.loads((folder / "evaluate/prm/bigbench-mistake/p_yes.json").read_text())["p_yes"]
    ids = tokenizer("61+1" + "1+3=\n0;", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = critic.double()(torch.tensor([ids])).logits[0, :, 0]
    expected = [1 / (1 + math.exp(-logits[place].item())) for place in (len("61+11+3=") - 1, len(ids) - 1)]
    groups = [
        g for part in sorted(folder.glob("evaluate/prm/bigbench-mistake/groups/*.parquet")) for g in read_records(part)
    ]
    asked = [g for g in groups if g.problem.statement.startswith("Question:\n61+1\n")]
    found = {g.problem.metadata["step"]: stored[g.traces[0].id] for g in asked}
    assert [found[0], found[1]] == pytest.approx(expected, abs=1e-5)


def test_an_implicit_critic_and_a_benchmark_without_steps_are_one_sentence(done) -> None:
    _, tree = done
    for change, said in (
        ({"train": {"prm": {**tree["train"]["prm"], "objective": "implicit"}}}, "is an implicit critic"),
        ({"evaluate": {**tree["evaluate"], "benchmarks": ["dev"]}}, "use only benchmark files of labelled steps"),
    ):
        wrong = {**tree, **change}
        wrong["evaluate"] = {**wrong["evaluate"], "models": ["prm"]}
        with pytest.raises(OperatorError, match=said):
            make_plan(parse_recipe(wrong, "here"))
