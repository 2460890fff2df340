"""Numbers at the edge: nothing that is not finite is ever stepped on, and the smallest inputs there are train."""

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.logps import token_logps
from redistill.records import Example, Pair
from redistill.train import OBJECTIVES, checkpoints
from redistill.train.packing import rows_of_step
from redistill.train.step import suspects
from redistill.train.trainer import Trainer
from train.conftest import some_examples, some_pairs, tiny_student
from train.test_train_stage import SETTINGS, metrics, stage, weights

SFT, REDI = OBJECTIVES["sft"], OBJECTIVES["redi"]


def spoil(monkeypatch: Any, calls: set[int], value: float) -> None:
    """The norm of the gradient is not a number in these of the steps to come."""
    real, seen = Accelerator.clip_grad_norm_, []

    def spoilt(self: Any, *arguments: Any) -> Any:
        seen.append(1)
        return torch.tensor(value) if len(seen) in calls else real(self, *arguments)

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", spoilt)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_skipped_counted_and_moves_nothing(
    tmp_path: Path, monkeypatch: Any, value: float
) -> None:
    """Two steps of which the second is skipped end where the first ended."""
    settings = SETTINGS.model_copy(update={"steps": 2, "save_every": 1})
    states, real = [], checkpoints.save

    def spy(accelerator: Any, policy: Any, *rest: Any, **named: Any) -> None:
        states.append({k: v.clone() for k, v in policy.model.state_dict().items()})
        real(accelerator, policy, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", spy)
        stage(tmp_path / "taken", settings=settings)
    spoil(monkeypatch, {2}, value)
    stage(tmp_path / "skipped", settings=settings)
    found = loading.load_folder(tmp_path / "skipped" / "model")[0].state_dict()
    assert len(states) == 1 and all(torch.equal(found[name], states[0][name]) for name in found)
    assert [line["skipped"] for line in metrics(tmp_path / "skipped")] == [False, True]


def test_a_row_whose_loss_is_not_finite_costs_the_steps_that_hold_it_and_is_named(tmp_path: Path) -> None:
    pairs = some_pairs(20)
    pairs[7] = replace(pairs[7], weight=math.inf)  # inf/inf: the loss of every step that holds it
    stage(tmp_path / "a", records=pairs)
    lines = metrics(tmp_path / "a")
    holds = [7 in rows_of_step(seed=0, step=step, batch_size=4, num_rows=20) for step in range(9)]
    assert 1 <= sum(holds) <= 2  # 36 places, 20 rows
    assert [line["skipped"] for line in lines] == holds
    for line, corrupted in zip(lines, holds, strict=True):
        assert ("c7 r7" in line["rows"] and len(line["rows"]) == 4) if corrupted else "rows" not in line
    model = loading.load_folder(tmp_path / "a" / "model")[0]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())


def test_three_in_a_row_stop_the_stage_with_the_rows_and_cut_short_it_counts_on(
    tmp_path: Path, monkeypatch: Any
) -> None:
    settings = SETTINGS.model_copy(update={"save_every": 1})
    pairs = [replace(pair, weight=math.inf) for pair in some_pairs(20)]
    said = r"three steps in a row without a finite gradient \(steps 1 to 3; in the last, rows (c\d+ r\d+(, )?){4}; see "
    with pytest.raises(OperatorError, match=said):
        stage(tmp_path / "whole", settings=settings, records=pairs)
    lines = metrics(tmp_path / "whole")
    assert [line["skipped"] for line in lines] == [True] * 3 and all(len(line["rows"]) == 4 for line in lines)
    real, seen = Trainer.step, []

    def cut(*arguments: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise RuntimeError("power cut")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            stage(tmp_path / "cut", settings=settings, records=pairs)
    with pytest.raises(OperatorError, match=said):
        stage(tmp_path / "cut", settings=settings, records=pairs)
    for ours, theirs in zip(metrics(tmp_path / "cut"), lines, strict=True):
        assert repr(ours) == repr(theirs)  # NaN is not equal to itself


def test_rows_are_named_by_the_log_probs_that_are_not_finite(tmp_path: Path) -> None:
    """Where some log-probs are not a number, their rows are the ones to look at."""
    rows: Any = type("R", (), {"ids": ["a", "b", "c"]})
    logps = torch.tensor([-1.0, -2.0, math.nan, -1.0, -1.0, -math.inf])
    figures: Any = type("F", (), {"logps": logps, "row": torch.tensor([0, 0, 1, 1, 2, 2])})
    assert suspects(rows, [2, 0, 1], figures) == "a, b"
    figures.logps = torch.full((6,), -1.0)
    assert suspects(rows, [2, 0, 1], figures) == "c, a, b"


# --- the smallest inputs --------------------------------------------------------------------------------------------


def one_step(folder: Path, objective: Any, records: Any, **changes: Any) -> dict[str, Any]:
    settings = SETTINGS.model_copy(update={"steps": 1, "batch_size": 1, **changes})
    stage(folder, settings=settings, objective=objective, records=records)
    (line,) = metrics(folder)
    assert math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]) and not line["skipped"]
    return line


def nll(prompt: str, completion: str) -> list[float]:
    """-log p of each completion token and of the end of the turn, by an ordinary forward pass of the student."""
    model, tokenizer = tiny_student()
    ids = [*tokenizer(prompt)["input_ids"], *tokenizer(completion)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logps = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1)
    first = len(tokenizer(prompt)["input_ids"])
    return [-float(logps[place - 1, ids[place]]) for place in range(first, len(ids))]


def test_a_batch_of_one_has_the_loss_of_its_row(tmp_path: Path) -> None:
    example = some_examples(1)[0]
    found = nll(example.prompt, example.completion)
    line = one_step(tmp_path, SFT, [example])
    assert line["loss"] == pytest.approx(sum(found) / len(found), rel=1e-5)


def test_a_completion_of_no_length_is_the_end_of_the_turn_alone(tmp_path: Path) -> None:
    assert len(nll("1+1=", "")) == 1
    line = one_step(tmp_path / "example", SFT, [Example("p", "t", "1+1=", "")])
    assert line["loss"] == pytest.approx(nll("1+1=", "")[0], rel=1e-5)
    line = one_step(tmp_path / "pair", REDI, [Pair("p", "1+1=", "2", "", "c", "r")])
    assert line["rejected_logp"] == pytest.approx(-nll("1+1=", "")[0], rel=1e-5)


def test_a_pair_of_two_equal_sides_at_weight_one_pulls_nowhere(tmp_path: Path) -> None:
    """REDI at weight 1: +1/|y| on every token of the one and -1/|y| on the same tokens of the other."""
    line = one_step(tmp_path, functools.partial(REDI, rejected_weight=1.0), [Pair("p", "1+1=", "22", "22", "c", "r")])
    assert (
        line["loss"] == pytest.approx(0, abs=1e-6) and line["grad_norm"] < 1e-5 and line["margin"] == pytest.approx(0)
    )


def test_a_vocabulary_of_one_token_is_certain_and_has_no_gradient() -> None:
    hidden, weight = torch.randn(5, 4, requires_grad=True), torch.randn(1, 4, requires_grad=True)
    found = token_logps(hidden, weight, torch.zeros(5, dtype=torch.long))
    found.sum().backward()
    assert found.tolist() == [0.0] * 5
    assert hidden.grad is not None and weight.grad is not None
    assert float(hidden.grad.abs().max()) < 1e-6 and float(weight.grad.abs().max()) < 1e-6


def test_rows_of_just_the_limit_are_trained_on_and_one_token_more_is_dropped(tmp_path: Path) -> None:
    """Four prompt tokens, n characters and the end of the turn: n + 5 tokens; the student has 256 places."""
    for limit in (40, 256):
        records = [Example(f"p{n}", f"t{n}", "1+1=", "2" * n) for n in (limit - 5, limit - 4)]
        settings = SETTINGS.model_copy(update={"steps": 1, "batch_size": 1, "max_tokens": limit})
        ledger = stage(tmp_path / str(limit), settings=settings, objective=SFT, records=records)
        assert ledger["rows"] == {"unit": "row", "in": 2, "kept": 1, "dropped": {"too_long": 1}}
        (line,) = metrics(tmp_path / str(limit))
        assert line["tokens"] == limit and not line["skipped"] and weights(tmp_path / str(limit))
