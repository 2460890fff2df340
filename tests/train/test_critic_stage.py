"""A critic is trained by the same loop as a student: resumed to the same bytes, guarded, adapted, saved as it was trained."""

import json
import math
import random

import pytest
import torch

from redistill.config.plugin_tables import Plugin
from redistill.config.tables import GuardSettings, StageSettings
from redistill.errors import OperatorError
from redistill.model.score_heads import PackedScores, load_critic
from redistill.records import Example, Span
from redistill.train import OBJECTIVES
from redistill.train.stage import StageJob, train_stage
from redistill.train.step import Ranks, find_token_logps
from redistill.train.trainer import Trainer

from .conftest import labelled_examples, tiny_critic

SETTINGS = StageSettings(
    objective="outcome", learning_rate=1e-2, batch_size=8, steps=6, save_every=2, tokens_per_micro_batch=400
)


def stage(folder, objective="outcome", settings=SETTINGS, records=None, student=tiny_critic):
    job = StageJob(folder, "orm", settings, OBJECTIVES[objective], "f", seed=0, card="a card")
    return train_stage(job, records=labelled_examples(24) if records is None else records, student=student)


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("objective", ["outcome", "process"])
def test_the_first_loss_is_log_2_and_no_score_says_anything_yet(tmp_path, objective):
    """A step with target 1/2 and a label: log 2 each."""
    stage(tmp_path, objective, SETTINGS.model_copy(update={"steps": 1}))
    (line,) = metrics(tmp_path)
    assert line["loss"] == pytest.approx(math.log(2) * (1 if objective == "outcome" else 2), abs=1e-12)
    assert line["right_score"] == line["wrong_score"] == 0.0 and line["chosen_logp"] is None


def test_a_critic_cut_short_ends_with_the_same_bytes(tmp_path, monkeypatch):
    stage(tmp_path / "whole")
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > 3:
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        stage(tmp_path / "cut")
    monkeypatch.setattr(Trainer, "step", real)
    stage(tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def last_token_decides(count, seed=0):
    """Right where the completion holds a 7 in its second half, and what stands before says nothing."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        right = i % 2
        text = "".join(rng.choice("012") for _ in range(4)) + ("7" if right else "3") + rng.choice("012")
        rows.append(Example(f"p{i}", f"t{i}", f"{i // 2 % 10}=", text, spans=(Span(6, 7, float(right)),)))
    return rows


def test_a_critic_learns_which_token_decides_and_says_so_on_rows_it_has_not_seen(tmp_path):
    guard = GuardSettings(every=40, held_out_pairs=16, probe_every=0)
    settings = SETTINGS.model_copy(update={"steps": 40, "batch_size": 16, "guard": guard})
    ledger = stage(tmp_path, settings=settings, records=last_token_decides(160))
    last = metrics(tmp_path)[-1]
    assert last["loss"] < 0.45 and last["held_out_loss"] < 0.45 and last["held_out_accuracy"] == 1.0
    assert ledger["rows"]["dropped"] == {"held_out_for_guard": 16}
    critic, tokenizer = load_critic(tmp_path / "model")
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in ("0=012171", "0=012131")]
    policy = PackedScores(critic.eval(), packs=False)
    right, wrong = find_token_logps(
        policy, [(row, 2) for row in ids], tokens_per_micro_batch=1, device=torch.device("cpu"), ranks=Ranks()
    ).split(7)
    # "0121" opens both: equal scores, though the labels differ; the deciding token is the fifth
    assert torch.equal(right[:4], wrong[:4]) and right[4] > 0.5 > -0.5 > wrong[4]


def test_an_adapted_critic_trains_its_head_whole_and_is_saved_merged(tmp_path):
    settings = SETTINGS.model_copy(update={"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}})
    stage(tmp_path, settings=settings)
    critic, _ = load_critic(tmp_path / "model")
    start, _ = tiny_critic()
    moved = {name for name, tensor in critic.state_dict().items() if not torch.equal(tensor, start.state_dict()[name])}
    assert moved == {"score.weight", "score.bias"} | {
        f"model.layers.{layer}.self_attn.{part}_proj.weight" for layer in (0, 1) for part in "qv"
    }


def test_rows_without_a_target_are_counted_and_none_left_is_a_sentence(tmp_path):
    bare = [Example(f"p{i}", f"t{i}", "1=", "22") for i in range(4)]
    ledger = stage(
        tmp_path / "some", settings=SETTINGS.model_copy(update={"steps": 1}), records=[*labelled_examples(8), *bare]
    )
    assert ledger["rows"]["dropped"] == {"no_target": 4}
    with pytest.raises(
        OperatorError, match=r"a critic needs targets: name the spans with the targets in select.labelled.spans"
    ):
        stage(tmp_path / "none", records=bare)


@pytest.mark.parametrize(
    ("objective", "loss", "value", "refused"),
    [
        ("process", None, 7.0, True),
        ("process", None, -1.0, True),  # labels of -1 and 1
        ("outcome", None, -1.0, True),
        ("process", "mse", 1.5, True),
        ("process", "mse", -0.01, False),  # ReasonFlux's logarithm of coherence
        ("process", None, 1.0, False),
    ],
)
def test_targets_that_no_probability_reaches_are_one_sentence(tmp_path, objective, loss, value, refused):
    rows = [
        Example(row.problem_id, row.trace_id, row.prompt, row.completion, spans=(*row.spans[:-1], row.spans[-1]._replace(value=value)))
        for row in labelled_examples(8)
    ]  # fmt: skip
    plugin = Plugin(name=objective, options={"loss": loss} if loss else {})
    settings = SETTINGS.model_copy(update={"steps": 1, "objective": plugin})
    if not refused:
        assert stage(tmp_path, objective, settings, rows)["steps"] == 1
        return
    with pytest.raises(
        OperatorError, match=rf"train\.orm: 8 targets lie outside 0 to 1, such as {value:g}; write 1 for"
    ):
        stage(tmp_path, objective, settings, rows)
