"""The shipped recipes of critics, each as it is but a hundredth of its size, with the direction of its result."""

import json
import math

import numpy as np
import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.run import run

pytestmark = pytest.mark.recipes

STUDENT = {
    "from_config": {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128},
    "alphabet": "0123456789+-*=;#",
}  # fmt: skip
# nine in ten jumps end wrong, so a small critic can learn in a few steps what a wrong answer looks like
TEACHER = {"name": "two-habits", "problems": 260, "traces": 6, "digits": 5, "slip_jump": 0.9, "slip_step": 0.0}


def lines(folder, stage):
    return [json.loads(line) for line in (folder / "train" / stage / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tree = yaml.safe_load((SHIPPED / "outcome-critic-redi.yaml").read_text())
    tree |= {"student": STUDENT, "corpus": {"sources": [TEACHER], "dev_fraction": 0.1}}
    for stage in tree["train"].values():
        stage |= {"steps": 4, "batch_size": 8}
        stage.pop("epochs", None)
    tree["train"]["orm"] |= {
        "steps": 60,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "guard": {"every": 30, "held_out_pairs": 64},
    }
    return run(parse_recipe(tree, "here"), runs_dir=tmp_path_factory.mktemp("runs"), until="train")


def test_the_critic_tells_right_from_wrong_on_pairs_it_has_not_seen(folder):
    """Of one right and one wrong trace a problem, so chance is .5 and a critic that says nothing costs log 2."""
    last = lines(folder, "orm")[-1]
    assert last["held_out_loss"] < math.log(2) - 0.1 and last["held_out_accuracy"] > 0.7


def test_its_scores_become_token_weights_of_redi(folder):
    ledger = json.loads((folder / "train" / "credit" / "ledger.json").read_text())
    means = ledger["mean_token_weights"]
    assert 0.05 < means["chosen"] < 1 and 0.05 < means["rejected"] < 1
    plain, credited, moved = (lines(folder, stage) for stage in ("redi", "credit", "shuffled"))
    assert plain[0]["chosen_logp"] == pytest.approx(credited[0]["chosen_logp"])  # the same rows in the same order
    assert len({plain[0]["grad_norm"], credited[0]["grad_norm"], moved[0]["grad_norm"]}) == 3
    control = json.loads((folder / "train" / "shuffled" / "ledger.json").read_text())["mean_token_weights"]
    assert control == pytest.approx(means)  # the same weights, elsewhere


@pytest.fixture(scope="module")
def prm(tmp_path_factory):
    tree = yaml.safe_load((SHIPPED / "reasonflux-prm.yaml").read_text())
    teacher = {**TEACHER, "problems": 200, "step_truth": True}
    tree |= {"student": STUDENT, "corpus": {"sources": [teacher], "dev_fraction": 0.0}}
    tree["train"]["prm"] |= {
        "steps": 80,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "guard": {"every": 40, "held_out_pairs": 64},
    }
    return run(parse_recipe(tree, "here"), runs_dir=tmp_path_factory.mktemp("runs"))


def test_the_targets_of_every_thinking_step_have_three_channels_and_reach_the_critic(prm):
    ledger = json.loads((prm / "scorers" / "reasonflux" / "ledger.json").read_text())
    assert ledger["accounts"]["scored:reasonflux"]["dropped"] == {}
    selected = json.loads((prm / "select" / "ledger.json").read_text())["accounts"]
    assert selected["labelled"]["kept"] == ledger["accounts"]["scored:reasonflux"]["kept"]
    groups = list(StageFolder(prm / "score", "").read("groups"))
    spans = [t.spans for g in groups for t in g.traces]
    channels = ("reasonflux_alignment", "reasonflux_coherence", "reasonflux_quality", "reasonflux")
    assert all(len(found[name]) == len(found["truth"]) for found in spans for name in channels)
    # the program's quality reaches the target: slipped lines have the lower ones
    target = {1.0: [], 0.0: []}
    for found in spans:
        for truth, merged in zip(found["truth"], found["reasonflux"], strict=True):
            target[truth.value].append(merged.value)
    assert sum(target[1.0]) / len(target[1.0]) > sum(target[0.0]) / len(target[0.0]) + 0.2


def test_the_process_reward_model_learns_them_on_traces_it_has_not_seen(prm):
    """A model that says 1/2 of everything has the loss of the first look; the last must be a good deal below."""
    first, last = lines(prm, "prm")[0], lines(prm, "prm")[-1]
    assert last["held_out_loss"] < 0.8 * first["held_out_loss"]


def ranks(values):
    """Ranks from 0, ties at their mean."""
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values))
    found[order] = np.arange(len(values))
    for value in np.unique(values):
        found[values == value] = found[values == value].mean()
    return found


def spearman(one, other):
    return float(np.corrcoef(ranks(np.array(one)), ranks(np.array(other)))[0, 1])


def test_the_model_ranks_traces_of_other_problems_by_their_slips_and_selects_from_the_top(prm, tmp_path):
    tree = yaml.safe_load((SHIPPED / "reasonflux-select.yaml").read_text())
    teacher = {**TEACHER, "problems": 60, "seed": 1, "step_truth": True}
    tree |= {"student": STUDENT, "corpus": {"sources": [teacher], "dev_fraction": 0.1}}
    (scorer,) = tree["score"]
    scorer["model"] = str(prm / "train" / "prm" / "model")
    tree["select"]["keep"] = {"by": "process", "share": 0.25}
    tree["train"]["sft"] |= {"steps": 2, "batch_size": 4}
    folder = run(parse_recipe(tree, "here"), runs_dir=tmp_path, until="train")
    traces = [t for g in StageFolder(folder / "score", "").read("groups") for t in g.traces]
    sound = [np.mean([span.value for span in t.spans["truth"]]) for t in traces]
    # of this size and so few steps; with this teacher length alone would do as well, for jumps make a trace short
    assert spearman([t.scores["process"] for t in traces], sound) > 0.3
    kept = [row.trace_id for row in StageFolder(folder / "select", "").read("examples")]
    right = {t.id: t.scores["process"] for t in traces if t.verdict.outcome == "correct"}
    left = [value for id, value in right.items() if id not in kept]
    assert np.mean([right[id] for id in kept]) > np.mean(left)
