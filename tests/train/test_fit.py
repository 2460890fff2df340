"""What is saved for memory changes no step: activations made again, moments in host memory; 8-bit moments stay near."""

import pytest
import torch

from redistill.config.tables import GuardSettings, StageSettings
from redistill.errors import OperatorError
from redistill.train import trainer as trainer_module
from redistill.train.optimizers import OffloadedAdamW, make_optimizer

from .conftest import TINY, tiny_student
from .test_train_stage import SETTINGS, metrics, stage, weights
from .two_ranks import PowerCut


def changed(**changes):
    return SETTINGS.model_copy(update={"steps": 4, **changes})


def test_a_student_that_would_not_fit_makes_some_activations_again_and_takes_the_same_steps(tmp_path, capsys):
    plain = stage(tmp_path / "plain", changed())
    assert plain["memory"]["checkpointed_layers"] == 0 and "recomputed" not in capsys.readouterr().err
    need = sum(plain["memory"]["bytes"].values())
    ledger = stage(tmp_path / "tight", changed(memory_gib=need / 0.92 / 2**30 * 0.9))
    assert ledger["memory"]["checkpointed_layers"] in (1, 2)
    assert (
        f"activations of {ledger['memory']['checkpointed_layers']} of 2 layers are recomputed"
        in capsys.readouterr().err
    )
    assert weights(tmp_path / "tight") == weights(tmp_path / "plain")
    assert metrics(tmp_path / "tight") == metrics(tmp_path / "plain")


@pytest.mark.parametrize(("setting", "count"), [(True, 2), (1, 1), (False, 0)])
def test_only_as_many_layers_run_again_as_are_asked_for(tmp_path, monkeypatch, setting, count):
    from transformers.models.llama.modeling_llama import LlamaAttention

    real, calls = LlamaAttention.forward, []
    monkeypatch.setattr(LlamaAttention, "forward", lambda self, *a, **k: calls.append(1) or real(self, *a, **k))
    settings = changed(steps=1, batch_size=1, gradient_checkpointing=setting, tokens_per_micro_batch=1000)
    ledger = stage(tmp_path / "a", settings)
    assert ledger["memory"]["checkpointed_layers"] == count
    # 2 layers: 3 times alone and 2 behind a neighbour in the look before the stage, once in the step, and once again
    assert len(calls) == 2 * 4 + 2 + count


def test_moments_in_host_memory_take_the_steps_of_adamw_to_the_bit_also_after_a_cut(tmp_path, monkeypatch):
    stage(tmp_path / "plain", changed())
    cut_short(monkeypatch, lambda: stage(tmp_path / "a", changed(offload_optimizer=True)))
    ledger = stage(tmp_path / "a", changed(offload_optimizer=True))
    assert ledger["memory"]["offload_optimizer"] and weights(tmp_path / "a") == weights(tmp_path / "plain")
    student, _ = tiny_student()
    assert isinstance(make_optimizer(student, SETTINGS, offloaded=True), OffloadedAdamW)


def cut_short(monkeypatch, train):
    """Train, and lose the power in the middle of the fourth step."""
    real, seen = trainer_module.backward_step, []

    def cut(*arguments, **named):
        seen.append(1)
        if len(seen) == 4:
            raise PowerCut
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "backward_step", cut)
        with pytest.raises(PowerCut):
            train()


def wide_student():
    config = {**TINY.from_config, "hidden_size": 64, "intermediate_size": 128, "tie_word_embeddings": True}
    return tiny_student(TINY.model_copy(update={"from_config": config}))


def test_moments_of_8_bits_stay_near_adamw_and_go_on_to_the_same_bytes(tmp_path, monkeypatch):
    guard = GuardSettings(held_out_pairs=0, probe_every=0, update_norm_every=1)
    stage(tmp_path / "plain", changed(), student=wide_student)
    stage(tmp_path / "whole", changed(optimizer="adamw_8bit", guard=guard), student=wide_student)
    settings = changed(optimizer="adamw_8bit", guard=guard)
    cut_short(monkeypatch, lambda: stage(tmp_path / "a", settings, student=wide_student))
    stage(tmp_path / "a", changed(optimizer="adamw_8bit", guard=guard), student=wide_student)
    assert weights(tmp_path / "a") == weights(tmp_path / "whole") != weights(tmp_path / "plain")
    for ours, theirs in zip(metrics(tmp_path / "a"), metrics(tmp_path / "plain"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-3)
        assert "update_norm" not in ours  # it is read off moments of 32 bits


def test_8_bit_moments_without_their_library_are_one_sentence(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    student, _ = tiny_student()
    with pytest.raises(OperatorError, match=r"in the extra `eight-bit`"):
        make_optimizer(student, SETTINGS.model_copy(update={"optimizer": "adamw_8bit"}))


def test_what_cannot_be_saved_together_is_one_sentence(tmp_path):
    settings = changed(optimizer="adamw_8bit", offload_optimizer=True)
    with pytest.raises(OperatorError, match=r"train.redi.offload_optimizer: it works for adamw without FSDP2"):
        stage(tmp_path / "a", settings)


def test_a_device_that_runs_out_is_one_sentence_with_the_estimate(tmp_path, monkeypatch):
    def out(*arguments, **named):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer_module, "backward_step", out)
    with pytest.raises(OperatorError, match=r"out of memory in step 0 \(about 0.\d+ GiB of memory needed"):
        stage(tmp_path / "a")


def test_a_number_of_layers_true_false_and_auto_are_read_as_they_are_written():
    for value in (True, False, 3, "auto"):
        read = StageSettings(objective="redi", learning_rate=1.0, gradient_checkpointing=value).gradient_checkpointing
        assert read == value and type(read) is type(value)
