"""Token credit by hand: nothing from a critic that knows nothing, equal weights on a shared opening, and REDI at weight one."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch

from redistill.model.token_credit import credit
from redistill.records import Pair
from redistill.train import OBJECTIVES
from redistill.train.coefficients import token_coefficients, token_weights
from redistill.train.diagnostics import mean_token_weights
from redistill.train.modifiers import span_weights, token_credit
from redistill.train.objectives import redi
from redistill.train.stage import StageJob, train_stage
from redistill.train.step import find_token_logps

from .conftest import batch_of, drawn_critic, encoded, some_pairs, tiny_critic, tiny_student
from .test_train_stage import SETTINGS, metrics, weights

PAPER, RUNNING = token_credit, functools.partial(token_credit, form="running-mean")


def tensor(*values):
    return torch.tensor(values).double()


def test_the_papers_weights_by_hand():
    """2 sigmoid(ln 3) - 1 = 1/2 for a right answer's token; a score of -ln 3 is 1/2 for a wrong one's, 0 is neither."""
    right, wrong = credit(tensor(math.log(3), -math.log(3), 0.0))
    assert torch.allclose(right, tensor(0.5, 0, 0)) and torch.allclose(wrong, tensor(0, 0.5, 0))


def test_the_codes_running_mean_by_hand():
    """Means ln 3, 0 and -ln 3: (1/2, 0, 0) and (0, 0, 1/2)."""
    right, wrong = credit(tensor(math.log(3), -math.log(3), -3 * math.log(3)), form="running-mean")
    assert torch.allclose(right, tensor(0.5, 0, 0)) and torch.allclose(wrong, tensor(0, 0, 0.5))


def pair_batch(scores, ids=None):
    """A pair of two tokens a side."""
    return batch_of(
        [2, 2], ["chosen", "rejected"], ids=ids, logps=tensor(-1, -2, -3, -4), values={"critic_score": tensor(*scores)}
    )


def test_shuffled_weights_are_the_same_ones_elsewhere_and_of_a_seed():
    """The control: each side keeps its own weights and their sum; only their places change, alike in every pass."""
    scores = [math.log(k + 2) for k in range(12)] + [-math.log(k + 2) for k in range(12)]
    batch = batch_of(
        [12, 12], ["chosen", "rejected"], logps=-torch.ones(24).double(), values={"critic_score": tensor(*scores)}
    )
    plain, _ = token_weights([PAPER], batch)
    moved, shares = token_weights([functools.partial(token_credit, shuffle=3)], batch)
    assert torch.equal(shares, torch.ones(24).double())
    for side in (slice(0, 12), slice(12, 24)):
        assert torch.equal(plain[side].sort().values, moved[side].sort().values) and not torch.equal(
            plain[side], moved[side]
        )
        assert plain[side].all()
    assert torch.equal(moved, token_weights([functools.partial(token_credit, shuffle=3)], batch)[0])
    assert not torch.equal(moved, token_weights([functools.partial(token_credit, shuffle=4)], batch)[0])
    spans, ids = tensor(*range(1, 13)), torch.arange(12)
    assert torch.equal(span_weights(spans, ids).weights, spans)
    moved = span_weights(spans, ids, shuffle=0).weights
    assert torch.equal(moved.sort().values, spans) and not torch.equal(moved, spans)
    assert torch.equal(span_weights(tensor(0.5), torch.tensor([3]), shuffle=7).weights, tensor(0.5))


def test_shuffled_weights_favour_no_place_over_many_rows_of_one_length():
    """With one order for all rows of a length the control would itself say where to push: on equally built rows as much as a method."""
    spans = tensor(*[1.0] * 4 + [0.0] * 12)
    rows = [torch.tensor([number // 40, number % 40, *range(14)]) for number in range(1600)]
    moved = [span_weights(spans, ids, shuffle=0).weights for ids in rows]
    at_each_place = torch.stack(moved).mean(0)
    spread = math.sqrt(0.25 * 0.75 / len(rows))
    assert (at_each_place - 0.25).abs().max() < 4.5 * spread
    assert all(
        torch.equal(span_weights(spans, ids, shuffle=0).weights, row) for ids, row in zip(rows, moved, strict=True)
    )


def test_a_critic_that_says_nothing_leaves_no_token_any_weight_and_no_gradient():
    weighed, _ = token_weights([PAPER], pair_batch([0.0] * 4))
    assert not weighed.any()
    assert not token_coefficients(redi, [PAPER], pair_batch([0.0] * 4)).any()


def test_right_answers_are_weighed_by_what_speaks_for_them_and_wrong_ones_by_what_speaks_against():
    weighed, shares = token_weights([PAPER], pair_batch([math.log(3), -5.0, math.log(3), -math.log(3)]))
    assert torch.allclose(weighed, tensor(0.5, 0, 0, 0.5)) and torch.equal(shares, torch.ones(4).double())
    renormalised = functools.partial(token_credit, renormalise=True)
    assert torch.allclose(
        token_weights([renormalised], pair_batch([math.log(3), -5.0, 0.0, 1.0]))[1], tensor(0.5, 0, 0, 0)
    )


def test_weights_of_one_are_redi_itself():
    """A critic that is certain: +1,000 on right answers, -1,000 on wrong ones."""
    made = pair_batch([1000.0, 1000.0, -1000.0, -1000.0])
    assert torch.equal(token_coefficients(redi, [PAPER], made), token_coefficients(redi, [], made))


def credited(folder, pairs, critic, name="redi", **more):
    settings = SETTINGS.model_copy(update={"critic": "orm", "steps": 2})
    job = StageJob(folder / name, name, settings, OBJECTIVES["redi"], "f", seed=0, card="", modifiers=[PAPER])
    return train_stage(job, records=pairs, student=tiny_student, critic=lambda: critic, **more)


def test_a_stage_with_a_new_critic_does_not_move_its_student(tmp_path):
    ledger = credited(tmp_path, some_pairs(12), tiny_critic())
    assert ledger["mean_token_weights"] == {"chosen": 0.0, "rejected": 0.0}
    assert all(line["grad_norm"] == 0.0 for line in metrics(tmp_path / "redi"))


def test_the_scores_are_those_of_the_critic_kept_once_and_read_again(tmp_path, monkeypatch):
    pairs, seen = some_pairs(12), []

    def spy(*arguments, **named):
        seen.append(1)
        return find_token_logps(*arguments, **named)

    monkeypatch.setattr("redistill.train.reference.find_token_logps", spy)
    first = credited(tmp_path, pairs, drawn_critic())
    (path,) = (tmp_path / ".references").glob("*.scores.npy")
    assert seen == [1] and 0 < first["mean_token_weights"]["chosen"] < 1
    credited(tmp_path, pairs, drawn_critic(), name="again")
    assert seen == [1] and weights(tmp_path / "redi") == weights(tmp_path / "again")
    # against the critic's own head, one unpadded row at a time
    critic, tokenizer = drawn_critic()
    expected = []
    for pair in pairs:
        for side in (pair.chosen, pair.rejected):
            prompt, answer = tokenizer(pair.prompt)["input_ids"], tokenizer(side)["input_ids"]
            with torch.no_grad():
                logits = critic.eval()(input_ids=torch.tensor([[*prompt, *answer, tokenizer.eos_token_id]])).logits
            expected.append(logits[0, len(prompt) :, 0].numpy())
    assert np.allclose(np.load(path), np.concatenate(expected), atol=1e-5)


def test_an_opening_that_both_answers_share_has_equal_scores_and_the_deciding_token_differs(tmp_path):
    from redistill.train.ranks import make_accelerator
    from redistill.train.reference import with_critic_scores

    pair = Pair("p", "1+1=", "12;3", "12;4", "c", "r")
    critic, tokenizer = drawn_critic()
    rows = encoded(tmp_path / "rows", [pair], tokenizer)
    rows = with_critic_scores(
        make_accelerator(SETTINGS), rows, (critic, tokenizer), tmp_path, precision="no", tokens_per_micro_batch=200
    )
    chosen, rejected = np.split(np.asarray(rows.values["critic_score"]), 2)
    assert np.array_equal(chosen[:3], rejected[:3]) and abs(chosen[3] - rejected[3]) > 1e-3
    assert mean_token_weights(rows, [PAPER]).keys() == {"chosen", "rejected"}
    assert dataclasses.is_dataclass(rows)


def test_a_critic_with_another_tokenizer_is_one_sentence(tmp_path):
    from redistill.errors import OperatorError

    from .conftest import TINY

    other = tiny_critic(TINY.model_copy(update={"alphabet": "0123456789#;*=+-"}))
    with pytest.raises(
        OperatorError, match=r"train.redi.critic: the critic orm has another tokenizer than the student"
    ):
        credited(tmp_path, some_pairs(4), other)
