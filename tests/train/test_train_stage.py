"""The loop: resumed to the same bytes, same on one process and two, and honest about rows and steps it cannot use."""

import functools
import json
from pathlib import Path

import pytest
import torch

from redistill.config.tables import StageSettings, StudentSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.precision import precision_of
from redistill.train import OBJECTIVES
from redistill.train.objectives import Losses, redi
from redistill.train.rollout_supply import TIMES
from redistill.train.stage import StageJob, is_finished, train_stage
from redistill.train.trainer import Trainer, learning_rate

from .conftest import TINY, interrupted, some_examples, some_pairs, tiny_student

SETTINGS = StageSettings(
    objective="redi", learning_rate=1e-3, batch_size=4, steps=9, save_every=2, tokens_per_micro_batch=200
)


def stage(folder, settings=SETTINGS, objective=redi, records=None, fingerprint="f", student=tiny_student, **more):
    """One stage under the name "redi"; `more` goes to the job and to train_stage, by the names of their parameters."""
    of_job = {name: more.pop(name) for name in ("modifiers", "trial") if name in more}
    job = StageJob(Path(folder), "redi", settings, objective, fingerprint, seed=0, card="a card", **of_job)
    return train_stage(job, records=some_pairs(20) if records is None else records, student=student, **more)


def weights(folder):
    return (Path(folder) / "model" / "model.safetensors").read_bytes()


def metrics(folder):
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second", *TIMES)} for line in lines]


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_a_stage_cut_short_at_any_step_ends_with_the_same_bytes(tmp_path, monkeypatch, stop_at):
    stage(tmp_path / "whole")
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > stop_at:
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        stage(tmp_path / "cut")
    monkeypatch.setattr(Trainer, "step", real)
    stage(tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_stage_that_is_interrupted_twice_takes_the_same_steps(tmp_path):
    stage(tmp_path / "whole")
    for steps, done in ((3, 3), (2, 5)):
        with interrupted(after=steps):
            stage(tmp_path / "cut")
        assert len(metrics(tmp_path / "cut")) == done
        assert not (tmp_path / "cut" / "model").exists()
    stage(tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, monkeypatch):
    stage(tmp_path / "whole")
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > 7:
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(RuntimeError):
        stage(tmp_path / "cut")
    monkeypatch.setattr(Trainer, "step", real)
    newest = sorted((tmp_path / "cut" / "checkpoints").iterdir())[-1]
    damaged = next(newest.glob("*.bin"))
    damaged.write_bytes(damaged.read_bytes()[:-7] + b"garbage")
    stage(tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_another_fingerprint_starts_afresh(tmp_path):
    stage(tmp_path / "a")
    assert is_finished(tmp_path / "a", "f") and not is_finished(tmp_path / "a", "g")
    stage(tmp_path / "a", settings=SETTINGS.model_copy(update={"steps": 3}), fingerprint="g")
    assert len(metrics(tmp_path / "a")) == 3


def test_a_checkpoint_with_a_changed_byte_is_not_finished(tmp_path):
    stage(tmp_path / "a")
    path = tmp_path / "a" / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not is_finished(tmp_path / "a", "f")
    with pytest.raises(OperatorError, match=r"checksum differs"):
        loading.load_folder(tmp_path / "a" / "model")


def test_the_checkpoint_is_an_ordinary_folder_that_transformers_loads(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stage(tmp_path / "a")
    folder = tmp_path / "a" / "model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("2+3=")["input_ids"]) == "2+3="
    assert model.generate(torch.tensor([[5, 6]]), max_new_tokens=2, do_sample=False).shape[0] == 1
    assert (folder / "README.md").read_text() == "a card"


def test_rows_longer_than_the_context_are_dropped_with_a_reason(tmp_path):
    settings = SETTINGS.model_copy(update={"max_tokens": 60})
    ledger = stage(tmp_path / "a", settings=settings)
    account = ledger["accounts"]["rows"]
    assert account["dropped"]["too_long"] > 0
    assert account["in"] == 20 == account["kept"] + account["dropped"]["too_long"]


def test_no_row_left_is_one_sentence_with_the_reasons(tmp_path):
    with pytest.raises(OperatorError, match=r"no row is left to train on \(of 20: 20 too_long; the limit is 3 tokens"):
        stage(tmp_path / "a", settings=SETTINGS.model_copy(update={"max_tokens": 3}))


def test_a_step_without_a_finite_gradient_is_skipped_and_three_in_a_row_stop_the_run(tmp_path):
    def broken(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens):
        losses = (chosen_logps - rejected_logps) * float("nan")
        return Losses(losses, torch.ones_like(losses))

    with pytest.raises(
        OperatorError,
        match=r"three steps in a row without a finite gradient \(steps 1 to 3; in the last, rows c\d+ r\d+",
    ):
        stage(tmp_path / "a", objective=broken)
    assert [line["skipped"] for line in metrics(tmp_path / "a")] == [True, True, True]


def test_the_rate_warms_up_and_decays_to_almost_nothing():
    settings = StageSettings(objective="sft", learning_rate=1.0, warmup=0.2)
    # 10 steps: 2 of warm-up at 1/3 and 2/3, then 8 of decay: 8/8, 7/8, ... 1/8
    rates = [learning_rate(settings, step, 10) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, *(n / 8 for n in range(8, 0, -1))])


def test_a_cosine_falls_slowly_at_first_and_at_the_end():
    settings = StageSettings(objective="sft", learning_rate=1.0, warmup=0.2, decay="cosine")
    rates = [learning_rate(settings, step, 10) for step in range(10)]
    # after 2 of warm-up the share s = 8/8, 7/8, ..., 1/8 of the steps is left: (1 - cos(pi s)) / 2
    by_hand = [1.0, 0.96194, 0.85355, 0.69134, 0.5, 0.30866, 0.14645, 0.03806]
    assert rates == pytest.approx([1 / 3, 2 / 3, *by_hand], abs=1e-5)


def test_auto_precision_is_what_the_device_has(monkeypatch):
    assert precision_of("no") == "no" and precision_of("bf16") == "bf16"
    for there, has, found in ((False, False, "no"), (True, False, "no"), (True, True, "bf16")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert precision_of("auto") == found


def test_an_adapter_is_kept_on_request_and_merged_it_is_the_student(tmp_path):
    peft = pytest.importorskip("peft")
    lora = {"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}}
    stage(tmp_path / "plain", settings=SETTINGS.model_copy(update=lora))
    stage(tmp_path / "kept", settings=SETTINGS.model_copy(update={**lora, "keep_adapter": True}))
    assert not (tmp_path / "plain/adapter").exists()
    merged = peft.PeftModel.from_pretrained(tiny_student()[0], tmp_path / "kept/adapter").merge_and_unload()
    student = loading.load_folder(tmp_path / "kept/model")[0].state_dict()
    for name, tensor in merged.state_dict().items():
        assert torch.allclose(tensor, student[name], atol=1e-6), name


def test_lora_trains_on_the_same_path_and_leaves_a_whole_model(tmp_path):
    settings = SETTINGS.model_copy(update={"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}})
    stage(tmp_path / "a", settings=settings)
    before, after = tiny_student()[0].state_dict(), loading.load_folder(tmp_path / "a" / "model")[0].state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("q_proj" in name or "v_proj" in name for name in changed)


def test_an_adapter_begins_with_the_same_random_numbers_in_every_run(tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 2, "lora": {"r": 2, "target_modules": ["q_proj"]}})
    stage(tmp_path / "a", settings=settings)
    torch.rand(7)  # another state of the process's own generator
    stage(tmp_path / "b", settings=settings)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_sft_lowers_its_loss(tmp_path):
    settings = StageSettings(objective="sft", learning_rate=1e-2, batch_size=8, steps=20)
    from redistill.train.objectives import sft

    stage(tmp_path / "a", settings=settings, objective=sft, records=some_examples(8))
    losses = [line["loss"] for line in metrics(tmp_path / "a")]
    assert losses[-1] < losses[0] - 0.1


def test_a_stage_of_bf16_keeps_fp32_master_weights(tmp_path):
    """At a rate of 1e-6 every single update is below bf16's resolution; the weights must move all the same."""
    settings = SETTINGS.model_copy(update={"mixed_precision": "bf16", "learning_rate": 1e-6, "steps": 3})
    stage(tmp_path / "a", settings=settings)
    before, after = tiny_student()[0].state_dict(), loading.load_folder(tmp_path / "a" / "model")[0].state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) == len(before) and all(t.dtype == torch.float32 for t in after.values())


def test_a_partial_of_an_objective_trains_like_the_objective(tmp_path):
    stage(tmp_path / "a", objective=functools.partial(redi, rejected_weight=0.8))
    stage(tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert TINY.from_config is not None


MAMBA = StudentSettings(
    from_config={"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    alphabet=TINY.alphabet,
)


@pytest.mark.parametrize("name", ["redi", "dpo"])
def test_a_model_that_cannot_be_packed_trains_row_by_row_on_the_same_loss(tmp_path, capsys, name):
    """Against autograd through the model's own logits, one row at a time, with the objective called on plain sums."""
    objective, records = OBJECTIVES[name], some_pairs(4, longest=12)
    settings = SETTINGS.model_copy(update={"steps": 1, "warmup": 0.0})
    ledger = stage(tmp_path / "a", settings, objective, records, student=lambda: tiny_student(MAMBA))
    assert ledger["packed"] is False and "each row runs alone" in capsys.readouterr().err
    model, tokenizer = tiny_student(MAMBA)

    def logps(prompt, completion):
        start = loading.encode_prompts(tokenizer, [prompt])[0]
        end = loading.encode_completions(tokenizer, [completion])[0]
        logits = model(torch.tensor([start + end]), use_cache=False).logits[0, len(start) - 1 : -1]
        return logits.log_softmax(-1).gather(-1, torch.tensor(end)[:, None]).sum(), torch.tensor(float(len(end)))

    chosen, chosen_tokens = map(torch.stack, zip(*(logps(p.prompt, p.chosen) for p in records)))
    rejected, rejected_tokens = map(torch.stack, zip(*(logps(p.prompt, p.rejected) for p in records)))
    if name == "redi":
        found = objective(chosen, rejected, chosen_tokens, rejected_tokens)
    else:
        found = objective(chosen, rejected, chosen.detach(), rejected.detach())
    loss = found.losses.sum() / found.weights.sum()
    loss.backward()
    (line,) = metrics(tmp_path / "a")
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert line["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert line["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
