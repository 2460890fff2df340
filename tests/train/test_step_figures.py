"""What a step says for the log and of rows whose log-probs are not finite, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from redistill.train.objectives import redi, sft
from redistill.train.step import StepFigures, pair_figures, suspects
from redistill.train.token_batch import Side

TWO_PAIRS = [-2.0, -6.0, -3.0, -8.0]


def figures(logps, *, tokens=(2, 3, 1, 4), row=(0, 0, 1, 1), sides=(Side.chosen, Side.rejected) * 2, critic=None):
    return StepFigures(
        loss=0.5,
        logps=torch.tensor(logps, dtype=torch.float64),
        tokens=torch.tensor(tokens),
        packed_tokens=10,
        coefficients=torch.zeros(len(logps)),
        top_probs=torch.zeros(len(logps)),
        row=torch.tensor(row),
        side=torch.tensor([int(side) for side in sides]),
        critic=critic,
    )


def test_the_log_has_means_per_token_of_each_side():
    said = pair_figures(redi, figures(TWO_PAIRS))
    assert said["chosen_logp"] == pytest.approx((-1 - 3) / 2)  # -2 over 2 tokens, -3 over 1
    assert said["rejected_logp"] == pytest.approx((-2 - 2) / 2)
    assert said["margin"] == pytest.approx(0.0)
    alone = pair_figures(sft, figures([-2.0, -6.0], tokens=(2, 3), row=(0, 1), sides=(Side.single,) * 2))
    assert alone == {"chosen_logp": pytest.approx(-1.5), "rejected_logp": None, "margin": None}


def test_the_log_of_a_critic_has_its_figures_and_no_log_probs():
    said = pair_figures(sft, figures(TWO_PAIRS, critic={"accuracy": 0.75}))
    assert said == {"chosen_logp": None, "rejected_logp": None, "margin": None, "accuracy": 0.75}


def test_rows_that_are_not_finite_are_named_and_eight_at_most():
    rows = SimpleNamespace(ids=[f"r{n}" for n in range(20)])
    assert suspects(rows, [7, 3], figures([-1.0, -2.0, math.nan, -1.0])) == "r3"
    assert suspects(rows, [7, 3], figures(TWO_PAIRS)) == "r7, r3"  # all logs are finite, so any of them may be it
    many = figures([math.inf] * 9, tokens=(1,) * 9, row=range(9), sides=(Side.single,) * 9)
    assert suspects(rows, range(9), many) == "r0, r1, r2, r3, r4, r5, r6, r7 ..."
    assert suspects(rows, range(8), many) == "r0, r1, r2, r3, r4, r5, r6, r7"
