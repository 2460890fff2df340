"""The shipped toy of S2R, as it is but a hundredth of its size: rows, masks, both kinds of rewards, metrics, page."""

import json

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.run import run
from redistill.text.segments import CUES, segments
from redistill.tools.cross_run import compare_runs

pytestmark = pytest.mark.recipes
COMPACT = CUES["compact"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tree = yaml.safe_load((SHIPPED / "s2r-toy.yaml").read_text())
    tree["student"]["from_config"] |= {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    tree["student"]["from_config"]["num_key_value_heads"] = 2
    tree["corpus"] = {
        "sources": [{**tree["corpus"]["sources"][0], "problems": 150, "digits": 2, "slip_step": 0.3}],
        "dev_fraction": 0.1,
    }
    tree["train"]["sft"] |= {"steps": 120, "batch_size": 16, "learning_rate": 1e-2}
    for stage in ("prl", "orl"):
        tree["train"][stage]["rollouts"] |= {"problems": 4, "n": 4, "rounds": 2, "max_new_tokens": 70}
    tree["evaluate"] |= {"n": 2, "max_new_tokens": 70}
    return run(parse_recipe(tree, "here"), runs_dir=tmp_path_factory.mktemp("runs"))


def read(path):
    return json.loads(path.read_text())


def test_rows_try_verify_and_try_again_with_true_verdicts_only(folder):
    ledger = read(folder / "select" / "ledger.json")
    attempts = ledger["tallies"]["attempts"]
    assert sum(attempts.values()) == ledger["accounts"]["examples"]["kept"] and {"1", "2"} <= attempts.keys()
    golds = {group.problem.id: group.problem.answer for group in StageFolder(folder / "verify", "").read("groups")}
    seen = 0
    for row in StageFolder(folder / "select", "").read("examples"):
        parts = segments(row.completion, cues=COMPACT)
        assert [span.value for span in row.spans] == [0.0, 1.0] * (len(parts) // 2 - 1) + [1.0, 1.0, 1.0]
        for solve, check in zip(parts[0::2], parts[1::2], strict=True):
            answer = row.completion[solve.start : solve.end].partition("####")[2].strip()
            assert (check.verdict == "correct") == (answer == golds[row.problem_id])
            seen += 1
    assert seen > 100


def test_both_kinds_of_rewards_train_and_count_what_they_leave_out(folder):
    for stage in ("prl", "orl"):
        ledger = read(folder / "train" / stage / "ledger.json")
        rows = ledger["rows"]
        assert ledger["steps"] == 2 and rows["in"] == 32 == rows["kept"] + sum(rows["dropped"].values())
        groups = list(StageFolder(folder / "train" / stage / "rollouts", "").read("groups"))
        cut = [t for g in groups for t in g.traces if "solve" in t.spans]
        unread = [t.notes["segments_unread"] for g in groups for t in g.traces if "segments_unread" in t.notes]
        assert len(cut) + len(unread) == 32 and cut
        if stage == "prl":
            assert sum(n for reason, n in rows["dropped"].items() if reason.startswith("unparsed:")) == len(unread)


def test_scores_comparisons_and_page_have_the_metrics(folder):
    for student in ("sft", "prl", "orl"):
        found = read(folder / "evaluate" / student / "dev" / "scores.json")["self_correction"]
        assert found["segmented"] > 0.3 and found["verification_accuracy"]["of"] > 0 and found["attempts"] >= 1
    assert "Self-correction" in (folder / "report.html").read_text()
    (found,) = compare_runs(folder, folder, students=("prl", "sft"))
    assert found["names"] == ["prl", "sft"]
