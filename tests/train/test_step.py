"""One step of training against an independent computation: fp64, one unpadded row at a time, transformers' own logits."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import threading

import numpy as np
import pytest
import torch

from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.model.score_heads import PackedScores, prepare_scores
from redistill.train import MODIFIERS
from redistill.train import step as step_module
from redistill.train.coefficients import gradient_is_row_local
from redistill.train.objectives import (
    OBJECTIVES,
    needs_behaviour,
    needs_lengths,
    needs_pairs,
    needs_reference,
    needs_scores,
    needs_teacher,
    redi,
    trains_critic,
)
from redistill.train.packing import first_fit_decreasing
from redistill.train.step import Ranks, Reference, StepFigures, all_finite, backward_step, find_token_logps
from redistill.train.token_batch import Side

from .conftest import TINY, drawn_critic, encoded, labelled_examples, some_examples, some_pairs, tiny_student


def our_step(student, objective, rows, numbers, budget, modifiers=(), reference=None):
    model, _ = student
    prepare_for_packing(model)
    policy = PackedPolicy(model)
    policy.zero_grad()
    figures = backward_step(
        policy,
        objective,
        rows,
        numbers,
        tokens_per_micro_batch=budget,
        modifiers=modifiers,
        reference=reference,
    )
    return figures, {name: p.grad.clone() for name, p in model.named_parameters()}


def reference_on(rows, seed=1):
    """A reference that is another student, on rows that are encoded."""
    model, _ = tiny_student(seed=seed)
    prepare_for_packing(model)
    run = functools.partial(
        find_token_logps, PackedPolicy(model), tokens_per_micro_batch=4000, device=torch.device("cpu"), ranks=Ranks()
    )
    others = [rows.mismatched(row) for row in range(len(rows))]
    sums = [part.sum() for part in run(others).split([len(ids) - prompt for ids, prompt in others])]
    logps = run([rows.sequence(n) for n in range(len(rows.prompt_tokens))])
    return Reference(logps.float().numpy(), torch.stack(sums).numpy())


def their_logp(model, tokenizer, prompt, completion):
    """log p(completion, end of turn | prompt) and its tokens, from the model's own logits on one unpadded row."""
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    logits = model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0]
    logps = torch.log_softmax(logits, -1)
    return sum(logps[len(ids) - 1 + i, token] for i, token in enumerate(answer)), len(answer)


def their_redi(pairs, weight):
    """The loss of Eq. 5 and every gradient, in fp64 with eager attention."""
    model, tokenizer = tiny_student()
    model = model.double()
    model.set_attn_implementation("eager")
    total, chosen, rejected = 0.0, [], []
    for pair in pairs:
        logp_w, tokens_w = their_logp(model, tokenizer, pair.prompt, pair.chosen)
        logp_l, tokens_l = their_logp(model, tokenizer, pair.prompt, pair.rejected)
        total = total + (-logp_w / tokens_w + weight * logp_l / tokens_l) / len(pairs)
        chosen.append(float(logp_w.detach()))
        rejected.append(float(logp_l.detach()))
    total.backward()
    return float(total.detach()), chosen, rejected, {name: p.grad for name, p in model.named_parameters()}


def relative(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.mark.parametrize("weight", [0.0, 0.8, 1.0])
def test_loss_logps_and_every_gradient_of_redi_equal_fp64_row_by_row(tmp_path, weight):
    pairs = some_pairs(9, longest=120)
    loss, chosen, rejected, gradients = their_redi(pairs, weight)
    student = tiny_student()
    rows = encoded(tmp_path, pairs, student[1])
    figures, ours = our_step(student, functools.partial(redi, rejected_weight=weight), rows, range(9), budget=300)
    assert figures.loss == pytest.approx(loss, rel=1e-6, abs=1e-6)
    assert figures.of(Side.chosen, figures.logps).tolist() == pytest.approx(chosen, rel=1e-6)
    assert figures.of(Side.rejected, figures.logps).tolist() == pytest.approx(rejected, rel=1e-6)
    worst = {name: relative(ours[name], gradient) for name, gradient in gradients.items()}
    assert max(worst.values()) < 1e-6, worst


def bins_for(rows, numbers, budget):
    return len(first_fit_decreasing([rows.length(n) for r in numbers for n in rows.sequences_of(r)], budget))


@functools.cache
def packed_student():
    model, _ = tiny_student()
    prepare_for_packing(model)
    return PackedPolicy(model)


@functools.cache
def packed_critic():
    model = drawn_critic()[0]
    prepare_scores(model)
    return PackedScores(model)


def split_three_ways(rows, reference, objective, modifiers=(), behaviour=None):
    numbers = range(len(rows))
    budgets = {bins_for(rows, numbers, b): b for b in range(2000, 20, -1)}
    policy, found = packed_critic() if needs_scores(objective) else packed_student(), {}
    for ways in (1, 2, 7):
        policy.zero_grad()
        figures = backward_step(
            policy,
            objective,
            rows,
            numbers,
            tokens_per_micro_batch=budgets[ways],
            modifiers=modifiers,
            reference=reference,
            behaviour=behaviour,
        )
        found[ways] = figures.loss, {name: p.grad.clone() for name, p in policy.named_parameters()}
    for ways in (2, 7):
        assert found[ways][0] == pytest.approx(found[1][0], rel=1e-6, abs=1e-7)
        for key, gradient in found[1][1].items():
            assert relative(found[ways][1][key], gradient) < 2e-6, (ways, key)


def test_figures_of_a_side_are_found_by_side_and_row_wherever_the_sequences_lie():
    none = torch.zeros(4)
    # rows 1 0 1 0, sides rejected, rejected, chosen, chosen
    figures = StepFigures(0.0, none, none, 0, none, none, torch.tensor([1, 0, 1, 0]), torch.tensor([2, 2, 1, 1]))
    values = torch.tensor([10.0, 20.0, 30.0, 40.0])
    assert figures.of(Side.chosen, values).tolist() == [40, 30]
    assert figures.of(Side.rejected, values).tolist() == [20, 10]
    examples = dataclasses.replace(figures, row=torch.tensor([3, 0, 2, 1]), side=torch.zeros(4).long())
    assert examples.of(Side.single, values).tolist() == [20, 40, 30, 10]


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if not needs_teacher(OBJECTIVES[name])])
def test_a_step_is_the_same_split_1_2_and_7_ways(tmp_path, name):
    """Micro-batches are a matter of memory: the budgets that cut the step into 1, 2 and 7 packs give one gradient."""
    records = some_pairs(8, seed=4, longest=110) if needs_pairs(OBJECTIVES[name]) else labelled_examples(12)
    spans = "target" if trains_critic(OBJECTIVES[name]) else "weight"
    rows = encoded(tmp_path, records, tiny_student()[1], spans=spans)
    tokens = int(rows.completion_starts()[-1])
    noise = np.random.default_rng(7).normal(size=(2, tokens))
    action = (np.arange(tokens) // 4 % 3).astype(float)  # a few actions a row, of up to four tokens at a time
    rows = dataclasses.replace(rows, values={**rows.values, "advantage": noise[0], "action": action})
    behaviour = None
    if needs_behaviour(OBJECTIVES[name]):  # an eighth of a nat away, so that some ratios are clipped and some are not
        behaviour = reference_on(rows).token_logps + 0.125 * noise[1]
    compares = needs_pairs(OBJECTIVES[name]) or needs_reference(OBJECTIVES[name])
    split_three_ways(rows, reference_on(rows) if compares else None, OBJECTIVES[name], behaviour=behaviour)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_which_objectives_find_their_coefficients_pack_by_pack(name):
    """KTO estimates a KL over the whole step; every other objective's rows stand alone, unless a modifier that divides
    by the tokens of the step reads log-probs."""
    assert gradient_is_row_local(OBJECTIVES[name], ()) == (name != "kto")
    if needs_pairs(OBJECTIVES[name]) and needs_lengths(OBJECTIVES[name]):
        floor = functools.partial(MODIFIERS["negative-floor"], min_probability=0.3, renormalise=True)
        assert not gradient_is_row_local(
            OBJECTIVES[name], (floor, functools.partial(MODIFIERS["aggregation"], by="token"))
        )


def test_the_body_is_run_once_where_rows_stand_alone_and_fit(tmp_path, monkeypatch):
    rows = encoded(tmp_path, some_pairs(4, longest=60), tiny_student()[1])
    policy, runs = packed_student(), []
    monkeypatch.setattr(policy.model.base_model, "forward", watched(policy.model.base_model.forward, runs))
    longest = max(rows.length(2 * i) + rows.length(2 * i + 1) for i in range(4))
    for budget, times in ((4000, 1), (longest, None), (longest - 1, "twice")):
        runs.clear()
        backward_step(policy, OBJECTIVES["simpo"], rows, range(4), tokens_per_micro_batch=budget)
        packs = bins_for(rows, range(4), budget)
        assert len(runs) == 2 * packs if times == "twice" else len(runs) == times if times else packs <= len(runs) <= 4


def watched(function, calls):
    """`function`, which writes down every call."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        calls.append(1)
        return function(*args, **kwargs)

    return call


# min_probability .06: near 1/20, what this untrained student gives a character, so the floor cuts through the tokens
EVERY_MODIFIER = {
    "shared-prefix-mask": functools.partial(MODIFIERS["shared-prefix-mask"], renormalise=True),
    "divergence-window": functools.partial(MODIFIERS["divergence-window"], window=3),
    "negative-floor": functools.partial(MODIFIERS["negative-floor"], min_probability=0.06),
    "span-weights": MODIFIERS["span-weights"],
    "aggregation": MODIFIERS["aggregation"],
    "nll-anchor": MODIFIERS["nll-anchor"],
}


def kindred_pairs(count, seed=0, longest=60):
    """Pairs whose sides share an opening of up to nine characters, with a span of weight on each side."""
    pairs = some_pairs(count, seed=seed, longest=longest)
    opened = [dataclasses.replace(p, chosen=p.prompt[:9] + p.chosen, rejected=p.prompt[:9] + p.rejected) for p in pairs]
    return [dataclasses.replace(p, chosen_spans=((0, 1, 0.25),), rejected_spans=((1, 2, 3.0),)) for p in opened]


def test_a_step_is_the_same_whatever_its_split_with_a_divergence_from_the_reference(tmp_path):
    rows = encoded(tmp_path, some_examples(12), tiny_student()[1])
    elsewhere = reference_on(rows, seed=3)
    split_three_ways(rows, elsewhere, OBJECTIVES["sft"], [functools.partial(MODIFIERS["kl"], beta=0.5)])


@pytest.mark.parametrize("name", EVERY_MODIFIER)
def test_a_step_is_the_same_whatever_its_split_with_every_objective_under_a_modifier(tmp_path, name):
    rows = encoded(tmp_path, kindred_pairs(5, seed=3, longest=40), tiny_student()[1])
    reference = reference_on(rows)
    for objective in OBJECTIVES.values():
        lengths_unread = not needs_lengths(objective)
        if needs_pairs(objective) and not (lengths_unread and name in ("aggregation", "shared-prefix-mask")):
            split_three_ways(rows, reference, objective, [EVERY_MODIFIER[name]])


def test_a_step_is_the_same_whatever_its_split_with_all_modifiers_at_once(tmp_path):
    rows = encoded(tmp_path, kindred_pairs(7, seed=2, longest=90), tiny_student()[1])
    reference = reference_on(rows)
    for key in ("redi", "unlikelihood", "dpo_norm", "topr"):
        split_three_ways(rows, reference, OBJECTIVES[key], list(EVERY_MODIFIER.values()))


# --- the truth, again row by row in fp64, with the formulas written out a second time ----------------------------


def their_token_logps(model, tokenizer, prompt, completion):
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    logps = torch.log_softmax(model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0], -1)
    return torch.stack([logps[len(ids) - 1 + i, token] for i, token in enumerate(answer)])


def fp64_student(seed=0):
    model, tokenizer = tiny_student(seed=seed)
    model.set_attn_implementation("eager")
    return model.double(), tokenizer


def their_step(pairs, loss_of, seed_of_reference=1):
    """Loss and gradients of loss_of(list of (w, l, ref_w, ref_l) token log-probs, list of mismatched log-ratios)."""
    model, tokenizer = fp64_student()
    before, _ = fp64_student(seed_of_reference)
    rows, ratios = [], []
    for number, pair in enumerate(pairs):
        sides = [
            their_token_logps(m, tokenizer, pair.prompt, s)
            for m in (model, before)
            for s in (pair.chosen, pair.rejected)
        ]
        rows.append((sides[0], sides[1], sides[2].detach(), sides[3].detach()))
        other = pairs[(number + len(pairs) // 2) % len(pairs)]
        text = other.rejected if number % 2 else other.chosen
        with torch.no_grad():
            ratios.append(
                sum(s * their_token_logps(m, tokenizer, pair.prompt, text).sum() for s, m in ((1, model), (-1, before)))
            )
    loss = loss_of(rows, ratios)
    loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in model.named_parameters()}


def truth_of_dpo(rows, ratios):
    total = 0.0
    for w, y, before_w, before_l in rows:
        total = total - torch.log(1 / (1 + torch.exp(-0.1 * ((w.sum() - before_w.sum()) - (y.sum() - before_l.sum())))))
    return total / len(rows)


def truth_of_orpo(rows, ratios):
    total = 0.0
    for w, y, _, _ in rows:
        p, q = torch.exp(w.mean()), torch.exp(y.mean())
        odds = (p / (1 - p)) / (q / (1 - q))
        total = total - torch.log(p) - 0.1 * torch.log(odds / (1 + odds))
    return total / len(rows)


def truth_of_unlikelihood(rows, ratios):
    return sum(-w.mean() - torch.log(1 - torch.exp(y)).mean() for w, y, _, _ in rows) / len(rows)


def truth_of_kto(rows, ratios):
    z0 = float(sum(ratios)) / len(ratios)
    assert z0 > 0.01  # or the test would not see the estimate
    total = 0.0
    for w, y, before_w, before_l in rows:
        total = total + 1 - 1 / (1 + torch.exp(-0.1 * (w.sum() - before_w.sum() - z0)))
        total = total + 1 - 1 / (1 + torch.exp(-0.1 * (z0 - (y.sum() - before_l.sum()))))
    return total / (2 * len(rows))


@pytest.mark.parametrize(
    "name,loss_of",
    [("dpo", truth_of_dpo), ("orpo", truth_of_orpo), ("unlikelihood", truth_of_unlikelihood), ("kto", truth_of_kto)],
)
def test_loss_and_every_gradient_equal_fp64_row_by_row(tmp_path, name, loss_of):
    pairs = some_pairs(6, seed=9, longest=50)
    loss, gradients = their_step(pairs, loss_of)
    student = tiny_student()
    rows = encoded(tmp_path, pairs, student[1])
    figures, ours = our_step(student, OBJECTIVES[name], rows, range(6), 150, reference=reference_on(rows))
    assert figures.loss == pytest.approx(loss, rel=2e-6, abs=2e-6)
    worst = {key: relative(ours[key], gradient) for key, gradient in gradients.items()}
    assert max(worst.values()) < 5e-6, worst


def test_mask_floor_spans_and_anchor_together_equal_fp64_row_by_row(tmp_path):
    """dpo_norm under four modifiers, the mask renormalised: every weight made again from the text itself."""
    pairs = kindred_pairs(6, seed=11, longest=40)

    def loss_of(rows, ratios):
        total = 0.0
        for pair, (w, y, before_w, before_l) in zip(pairs, rows):
            same = 0
            for a, b in zip([*pair.chosen, "end"], [*pair.rejected, "end"]):
                if a != b:
                    break
                same += 1
            left_w = torch.tensor([0.0 if i < same else 1.0 for i in range(len(w))]).double()
            left_l = torch.tensor([0.0 if i < same else 1.0 for i in range(len(y))]).double()
            span_w = torch.tensor([0.25 if i == 0 else 1.0 for i in range(len(w))]).double()
            span_l = torch.tensor([3.0 if i == 1 else 1.0 for i in range(len(y))]).double()
            floor = torch.tensor([1.0 if math.exp(v) >= 0.06 else 0.0 for v in y.tolist()]).double()
            up = (left_w * span_w * (w - before_w)).sum() / left_w.sum()
            down = (left_l * span_l * floor * (y - before_l)).sum() / left_l.sum()
            total = total - torch.log(torch.sigmoid(5 * (up - down))) - 0.4 * w.mean()
        return total / len(pairs)

    loss, gradients = their_step(pairs, loss_of)
    student = tiny_student()
    rows = encoded(tmp_path, pairs, student[1])
    names = ("shared-prefix-mask", "negative-floor", "span-weights")
    modifiers = [*(EVERY_MODIFIER[n] for n in names), functools.partial(MODIFIERS["nll-anchor"], alpha=0.4)]
    reference = reference_on(rows)
    figures, ours = our_step(student, OBJECTIVES["dpo_norm"], rows, range(6), 150, modifiers, reference)
    assert figures.loss == pytest.approx(loss, rel=2e-6, abs=2e-6)
    worst = {key: relative(ours[key], gradient) for key, gradient in gradients.items()}
    assert max(worst.values()) < 5e-6, worst


def test_the_order_of_rows_in_a_step_does_not_matter(tmp_path):
    rows = encoded(tmp_path, some_pairs(8, seed=5), tiny_student()[1])
    _, forward = our_step(tiny_student(), redi, rows, [0, 1, 2, 3, 4, 5], 200)
    _, backward = our_step(tiny_student(), redi, rows, [5, 3, 1, 4, 2, 0], 200)
    assert max(relative(backward[k], forward[k]) for k in forward) < 2e-6


def test_a_rows_logp_does_not_depend_on_what_it_is_packed_with(tmp_path):
    rows = encoded(tmp_path, some_pairs(6, seed=6), tiny_student()[1])
    together, _ = our_step(tiny_student(), redi, rows, range(6), 4000)
    for row in range(6):
        alone, _ = our_step(tiny_student(), redi, rows, [row], 4000)
        assert alone.logps.tolist() == pytest.approx(together.logps[2 * row : 2 * row + 2].tolist(), rel=1e-6)


def test_the_weight_of_a_pair_multiplies_its_loss(tmp_path):
    pairs = some_pairs(3, seed=7)
    weighted = [dataclasses.replace(p, weight=w) for p, w in zip(pairs, (1.0, 0.0, 3.0))]
    rows = encoded(tmp_path / "w", weighted, tiny_student()[1])
    figures, _ = our_step(tiny_student(), redi, rows, range(3), 4000)
    means = figures.logps / figures.tokens
    losses = -figures.of(Side.chosen, means) + 0.8 * figures.of(Side.rejected, means)
    assert figures.loss == pytest.approx(float((losses[0] + 3 * losses[2]) / 4), rel=1e-9)


def test_tied_embeddings_get_the_gradient_of_both_their_uses(tmp_path):
    settings = TINY.model_copy(update={"from_config": {**TINY.from_config, "tie_word_embeddings": True}})
    pairs = some_pairs(4, seed=8)
    rows = encoded(tmp_path, pairs, tiny_student()[1])
    _, ours = our_step(tiny_student(settings), redi, rows, range(4), 100)
    model, tokenizer = tiny_student(settings)
    model = model.double()
    total = 0.0
    for pair in pairs:
        (up, up_tokens), (down, down_tokens) = (
            their_logp(model, tokenizer, pair.prompt, side) for side in (pair.chosen, pair.rejected)
        )
        total = total + (-up / up_tokens + 0.8 * down / down_tokens) / len(pairs)
    total.backward()
    assert relative(ours["model.embed_tokens.weight"], model.get_input_embeddings().weight.grad) < 1e-6


# --- several ranks ------------------------------------------------------------------------------------------------


class TwoRanks:
    """Two ranks in two threads, each with a model of its own: sums meet at a barrier, gradients are averaged as by DDP.

    `backwards` and `unsynced` count, per rank, the backward passes and those of them that DDP was told not to sync.
    """

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=60)
        self.parts, self.backwards, self.unsynced = [None, None], [0, 0], [0, 0]

    def ranks(self, number):
        def total(tensor):
            self.parts[number] = tensor.clone()
            self.barrier.wait()
            found = self.parts[0] + self.parts[1]
            self.barrier.wait()  # nobody writes the next part before both have read
            return found

        def backward(loss):
            self.backwards[number] += 1
            loss.backward()

        @contextlib.contextmanager
        def no_sync():
            self.unsynced[number] += 1
            yield

        return Ranks(number, 2, sum=total, no_sync=no_sync, backward=backward)

    def step(self, objective, rows, numbers, budget, modifiers, reference):
        models = [tiny_student()[0] for _ in range(2)]  # before the threads, which share a random state

        def one(number):
            model = models[number]
            prepare_for_packing(model)
            figures = backward_step(
                PackedPolicy(model),
                objective,
                rows,
                numbers,
                tokens_per_micro_batch=budget,
                modifiers=modifiers,
                reference=reference,
                ranks=self.ranks(number),
            )
            return figures, {name: p.grad for name, p in model.named_parameters()}

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            (first, mine), (second, theirs) = pool.map(one, (0, 1))
        assert first.loss == second.loss and torch.equal(first.logps, second.logps)
        return first, {name: (mine[name] + theirs[name]) / 2 for name in mine}


def test_the_figures_have_the_coefficients_of_redi_by_hand_and_those_that_packs_found_for_themselves(tmp_path):
    rows = encoded(tmp_path, some_pairs(2), tiny_student()[1])
    known, _ = our_step(tiny_student(), functools.partial(redi, rejected_weight=0.8), rows, range(2), 4000)
    signed = torch.tensor([1, -0.8, 1, -0.8]).double() / known.tokens / 2
    assert known.coefficients.tolist() == pytest.approx(signed.tolist(), rel=1e-6)
    late, first_pass = (our_step(tiny_student(), OBJECTIVES["simpo"], rows, range(2), n)[0] for n in (4000, 1))
    assert (late.coefficients * signed > 0).all()
    assert late.coefficients.tolist() == pytest.approx(first_pass.coefficients.tolist(), rel=1e-5)


def test_values_are_finite_where_all_are():
    for values, finite in (((1.0, -2.0), True), ((1.0, math.inf), False), ((math.nan,), False)):
        assert all_finite(Ranks(), torch.device("cpu"), *values) is finite


# linear: coefficients are known before; late: each pack finds its own; first pass: a pass without gradient goes before
@pytest.mark.parametrize(
    ("name", "budget"),
    [("redi", 170), ("simpo", 230), ("simpo", 110), ("kto", 170), ("redi", 4000), ("sft", 130)],
    ids=["linear", "late", "first-pass", "mismatched", "one-pack", "examples"],
)
def test_two_ranks_take_the_step_of_one_whatever_their_shares(tmp_path, name, budget):
    """An odd number of packs, so that the second rank fills its last turn with a pack that must count for nothing: not in
    the gradient, whose average over ranks is the whole step's, nor in loss, log-probs and coefficients."""
    objective, pairs = OBJECTIVES[name], name != "sft"
    records = some_pairs(5, seed=4, longest=100) if pairs else some_examples(7)
    rows, numbers = encoded(tmp_path, records, tiny_student()[1]), range(len(records))
    reference = reference_on(rows) if pairs else None
    alone, gradients = our_step(tiny_student(), objective, rows, numbers, budget, (), reference)
    two = TwoRanks()
    together, averaged = two.step(objective, rows, numbers, budget, (), reference)
    turns = two.backwards[0]
    assert two.backwards == [turns, turns] and two.unsynced == [turns - 1, turns - 1]
    whole = name == "simpo" and budget == 230  # late: packs of whole rows
    lengths = [sum(rows.length(n) for n in rows.sequences_of(row)) for row in numbers]
    packs = len(first_fit_decreasing(lengths, budget)) if whole else bins_for(rows, numbers, budget)
    assert packs % 2 == 1 and turns == (packs + 1) // 2
    for key in ("loss", "logps", "coefficients", "top_probs"):
        ours, expected = (torch.as_tensor(getattr(figures, key)).double() for figures in (together, alone))
        assert ours.tolist() == pytest.approx(expected.tolist(), rel=1e-6), key
    worst = {key: relative(averaged[key], gradient) for key, gradient in gradients.items()}
    assert max(worst.values()) < 2e-6, worst


# --- singles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
def test_weights_and_spans_of_examples_equal_fp64_row_by_row(tmp_path, aggregation):
    """Row weights +1, +1, -1, -1 and signed token weights: the divisor counts four rows, or all their tokens."""
    weights = (1.0, 1.0, -1.0, -1.0)
    spans = ((0, 3, 0.5), (3, 5, -2.0))
    examples = [dataclasses.replace(e, weight=w, spans=spans) for e, w in zip(some_examples(4, seed=3), weights)]
    model, tokenizer = fp64_student()
    total, divisor = 0.0, 0.0
    for example in examples:
        logps = their_token_logps(model, tokenizer, example.prompt, example.completion)
        token_weights = torch.tensor([0.5] * 3 + [-2.0] * 2 + [1.0] * (len(logps) - 5)).double()
        loss = -(token_weights * logps).sum()
        total = total + example.weight * (loss if aggregation == "token" else loss / len(logps))
        divisor += len(logps) if aggregation == "token" else 1
    (total / divisor).backward()
    student = tiny_student()
    rows = encoded(tmp_path, examples, student[1])
    objective = functools.partial(OBJECTIVES["sft"], aggregation=aggregation)
    figures, ours = our_step(student, objective, rows, range(4), 100, [MODIFIERS["span-weights"]])
    assert figures.loss == pytest.approx(float((total / divisor).detach()), rel=2e-6)
    worst = {name: relative(ours[name], p.grad) for name, p in model.named_parameters()}
    assert max(worst.values()) < 5e-6, worst


# --- rows that teach nothing --------------------------------------------------------------------------------------------


def policy_step(rows, advantages, objective, modifiers=(), reference=None, budget=120):
    """Figures and gradients of a step on six examples, each row with one advantage on all its tokens."""
    counts = [rows.completion_tokens(number) for number in range(len(rows))]
    rows = dataclasses.replace(rows, values={"advantage": np.repeat(np.asarray(advantages, float), counts)})
    behaviour = np.linspace(-2.0, -0.5, sum(counts))
    policy = packed_student()
    policy.zero_grad()
    figures = backward_step(
        policy, objective, rows, range(len(rows)), tokens_per_micro_batch=budget, modifiers=modifiers,
        reference=reference, behaviour=behaviour,
    )  # fmt: skip
    return figures, {name: p.grad.clone() for name, p in policy.named_parameters()}


POLICY = [
    OBJECTIVES["reinforce"],
    OBJECTIVES["grpo"],
    functools.partial(OBJECTIVES["grpo"], ratio="sequence"),
    functools.partial(OBJECTIVES["grpo"], surrogate="cispo", per="token"),
]


@pytest.mark.parametrize("objective", POLICY, ids=["reinforce", "grpo", "gspo", "cispo"])
def test_rows_whose_advantages_are_all_zero_are_not_run_and_the_gradient_is_the_same(tmp_path, monkeypatch, objective):
    rows = encoded(tmp_path, some_examples(6), tiny_student()[1])
    advantages = [1.0, 0.0, -0.5, 0.0, 0.0, 2.0]
    figures, ours = policy_step(rows, advantages, objective)
    run = [n for n, advantage in enumerate(advantages) if advantage]
    assert figures.packed_tokens == sum(rows.length(n) for n in run) and figures.without_signal == 3
    assert figures.row.tolist() == run and len(figures.logps) == 3
    with monkeypatch.context() as patch:
        patch.setattr(step_module, "rows_without_signal", lambda rows, numbers: set())
        whole, theirs = policy_step(rows, advantages, objective)
    assert whole.without_signal == 0 and whole.packed_tokens == sum(rows.length(n) for n in range(6))
    assert figures.loss == pytest.approx(whole.loss, rel=1e-9)
    assert max(relative(ours[name], theirs[name]) for name in ours) < 1e-5
    assert torch.allclose(figures.logps, whole.logps[run], rtol=1e-5)


def test_with_a_divergence_to_the_reference_every_row_is_run(tmp_path):
    """Its loss asks for the rows without advantages too."""
    rows = encoded(tmp_path, some_examples(6), tiny_student()[1])
    reference = Reference(np.full(rows.completion_starts()[-1], -1.0, np.float32))
    for modifiers, idle in (((functools.partial(MODIFIERS["kl"], beta=0.1),), 0), ((), 5)):
        figures, _ = policy_step(rows, [1.0, 0, 0, 0, 0, 0], OBJECTIVES["grpo"], modifiers, reference)
        assert figures.without_signal == idle


def test_where_no_row_has_an_advantage_one_is_run_so_that_every_parameter_has_a_gradient_of_zero(tmp_path):
    rows = encoded(tmp_path, some_examples(6), tiny_student()[1])
    figures, gradients = policy_step(rows, [0.0] * 6, OBJECTIVES["grpo"])
    assert figures.packed_tokens == min(rows.length(n) for n in range(6)) and figures.without_signal == 5
    assert all(not gradient.any() for gradient in gradients.values())
