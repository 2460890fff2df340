"""Sampling: what a student says depends on its prompt and seed alone, and the drawn tokens follow the distribution."""

import numpy as np
import pytest
import torch

from redistill.config.tables import StudentSettings
from redistill.model import loading
from redistill.records import make_problem
from redistill.rollout import ENGINES, Request, Sampling, requests_for, traces_of
from redistill.rollout.local_sampling import SeededSampler, draw_tokens
from redistill.rollout.transformers_engine import transformers_engine

CONTEXT = 48
SETTINGS = StudentSettings(
    from_config={
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
    },
    alphabet="0123456789+-*=;#",
)
WARM = Sampling(n=1, temperature=1.0, top_p=0.95, max_new_tokens=12)
GREEDY = Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=12)


@pytest.fixture(scope="module")
def student():
    tokenizer = loading.load_tokenizer(SETTINGS)
    model = loading.load_model(SETTINGS, tokenizer, seed=1)
    with torch.no_grad():  # a random tiny model is nearly uniform: sharpen it, so that rounding cannot change a draw
        model.lm_head.weight.mul_(12.0)
    return model.eval(), tokenizer


def ask(student, requests, sampling, **options):
    return transformers_engine(lambda: student, requests, sampling, **options)


def requests(count=9):
    return [Request("1+2=;3*4-5"[: 1 + i % 10], seed=100 + i) for i in range(count)]


def test_a_sample_depends_neither_on_the_batch_nor_on_the_order(student):
    asked = requests()
    alone = ask(student, asked, WARM, batch_size=1)
    assert ask(student, asked, WARM, batch_size=4) == alone
    assert ask(student, asked, WARM, batch_size=128) == alone
    assert ask(student, asked[::-1], WARM, batch_size=4) == alone[::-1]
    assert len({sample.text for sample in alone}) > 3


def test_another_seed_says_something_else_and_the_same_seed_the_same(student):
    said = ask(student, [Request("1+2=", seed) for seed in (1, 2, 3, 4, 1)], WARM)
    assert said[0] == said[4] and len({s.text for s in said}) > 1


def test_temperature_zero_is_the_model_s_own_greedy_search(student):
    model, tokenizer = student
    for request, sample in zip(requests(), ask(student, requests(), GREEDY)):
        ids = loading.encode_prompts(tokenizer, [request.prompt])
        out = model.generate(torch.tensor(ids), max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0)
        new = out[0, len(ids[0]) :].tolist()
        expected = new[: new.index(2)] if 2 in new else new
        assert sample.text == tokenizer.decode(expected, skip_special_tokens=True)


def test_a_hair_of_temperature_says_almost_what_greedy_says(student):
    cold = Sampling(n=1, temperature=1e-6, top_p=1.0, max_new_tokens=12)
    assert ask(student, requests(), cold) == ask(student, requests(), GREEDY)


def drawn(scores, uniforms, temperature, top_p):
    """The token each uniform number draws from one row of scores."""
    rows = len(uniforms)
    sampler = SeededSampler(torch.tensor(uniforms)[:, None], 0, temperature, top_p)
    left = sampler(torch.zeros((rows, 0), dtype=torch.long), scores.expand(rows, -1))
    assert (torch.isfinite(left).sum(-1) == 1).all()
    return left.argmax(-1).tolist()


def test_a_token_is_drawn_by_the_inverse_of_the_cumulative_distribution():
    # tokens 0..3 at .1, .4, .2, .3; from the likeliest: 1 up to .4, 3 up to .7, 2 up to .9, 0 up to 1
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64).log()
    assert drawn(scores, [0.0, 0.39, 0.41, 0.69, 0.71, 0.89, 0.91, 0.999], 1.0, 1.0) == [1, 1, 3, 3, 2, 2, 0, 0]


def test_top_p_keeps_the_smallest_set_whose_mass_reaches_it():
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64).log()
    # top_p .65: {1, 3} hold .7, so .4/.7 = .571 is where 1 ends and 3 begins
    assert drawn(scores, [0.0, 0.57, 0.573, 0.999], 1.0, 0.65) == [1, 1, 3, 3]
    assert drawn(scores, [0.0, 0.5, 0.999], 1.0, 0.01) == [1, 1, 1]  # the likeliest always stays


def test_temperature_is_taken_before_top_p():
    # at temperature .5 the weights are squared: .01, .16, .04, .09 of .30, so 1 has .533 and {1, 3} .833
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64).log()
    assert drawn(scores, [0.53 / 0.8333, 0.65, 0.999], 0.5, 0.8) == [1, 3, 3]


def test_many_draws_have_the_right_frequencies_by_chi_square():
    probabilities = np.array([0.1, 0.4, 0.2, 0.3])
    scores = torch.from_numpy(np.log(probabilities))[None]
    tokens = drawn(scores, np.random.default_rng(7).random(20_000).tolist(), 1.0, 1.0)
    counts = np.bincount(tokens, minlength=4)
    statistic = ((counts - 20_000 * probabilities) ** 2 / (20_000 * probabilities)).sum()
    assert statistic < 16.27  # chi-square, 3 degrees of freedom, 1 in 1,000


def test_a_vocabulary_wider_than_the_first_look_is_sorted_whole():
    flat = torch.zeros((1, 5000), dtype=torch.float64)  # 1,024 tokens hold a fifth of the mass
    assert len(set(drawn(flat, np.linspace(0, 0.9999, 2000).tolist(), 1.0, 0.95))) > 1900


def test_a_row_that_is_sorted_whole_draws_what_it_draws_beside_others():
    """Rows that the first look is enough for draw from it, the others from all their tokens."""
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn((6, 5000), generator=generator, dtype=torch.float64)
    scores[::2] *= 8  # every other row has its mass on a few tokens
    uniforms = torch.rand(6, generator=generator, dtype=torch.float64)
    expected = []
    for row, uniform in zip(scores.numpy(), uniforms.tolist(), strict=True):
        masses = np.exp(row) / np.exp(row).sum()
        order = np.argsort(-masses)
        sums = np.cumsum(masses[order])
        kept = int(np.searchsorted(sums, 0.9)) + 1
        expected.append(int(order[np.searchsorted(sums[:kept], uniform * sums[kept - 1], side="right")]))
    assert draw_tokens(scores, uniforms, 1.0, 0.9).tolist() == expected


def test_of_a_wide_vocabulary_without_top_p_nothing_is_sorted_and_every_token_has_its_share():
    """By the inverse of the cumulative distribution in the vocabulary's order."""
    generator = torch.Generator().manual_seed(6)
    scores = torch.randn((400, 3000), generator=generator) * 3
    uniforms = torch.rand(400, generator=generator, dtype=torch.float64)
    scores[:, 7] = -torch.inf  # a token that is never said
    found = draw_tokens(scores, uniforms, 0.7, 1.0).tolist()
    for row, uniform, token in zip(scores.double().numpy(), uniforms.tolist(), found, strict=True):
        masses = np.exp(row / 0.7) / np.exp(row / 0.7).sum()
        below, above = masses[:token].sum(), masses[: token + 1].sum()
        assert below - 1e-5 <= uniform <= above + 1e-5 and token != 7  # masses are fp32
    edges = draw_tokens(scores[:2], torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), 1.0, 1.0).tolist()
    assert edges == [0, 2999]


def always(student, token):
    """The same student, but its next token is always this one."""
    model, tokenizer = student

    class Stubborn(torch.nn.Module):
        def forward(self, hidden):
            scores = torch.full((*hidden.shape[:-1], model.config.vocab_size), -1e9)
            scores[..., token] = 0.0
            return scores

    import copy

    stubborn = copy.deepcopy(model)
    stubborn.lm_head = Stubborn()
    return stubborn, tokenizer


def test_a_student_that_ends_its_turn_has_stopped_and_one_that_does_not_was_cut(student):
    (ended,) = ask(always(student, 2), [Request("1+2=", 5)], WARM)  # 2 is <eos>
    assert (ended.text, ended.num_tokens, ended.finish_reason) == ("", 1, "stop")
    (cut,) = ask(always(student, 4), [Request("1+2=", 5)], WARM)  # 4 is "0"
    assert (cut.text, cut.num_tokens, cut.finish_reason) == ("0" * 12, 12, "length")


def test_the_context_cuts_one_row_and_none_of_its_neighbours(student):
    zeros = always(student, 4)
    long, short = Request("1" * (CONTEXT - 3), 5), Request("1+2=", 5)
    cut, whole = ask(zeros, [long, short], WARM, batch_size=2)
    assert (cut.text, cut.finish_reason) == ("000", "length") and whole.text == "0" * 12


def test_a_prompt_longer_than_the_context_gets_an_empty_sample(student):
    for length in (CONTEXT, CONTEXT + 30):
        said = ask(student, [Request("1" * length, 5), Request("1+2=", 5)], WARM)
        assert (said[0].text, said[0].num_tokens, said[0].finish_reason) == ("", 0, "length")
        assert said[1] == ask(student, [Request("1+2=", 5)], WARM)[0]


def test_the_prefill_opens_the_prompt_and_the_stored_completion(student):
    problem = make_problem("1+2=", answer="3")
    sampling = Sampling(n=2, temperature=1.0, top_p=0.95, max_new_tokens=5, prefill=";#")
    asked = requests_for(problem, "1+2=", sampling, seed=0)
    assert [r.prompt for r in asked] == ["1+2=;#"] * 2 and len({r.seed for r in asked}) == 2
    traces = traces_of(problem, ask(student, asked, sampling), asked, sampling, author="me")
    assert all(t.completion.startswith(";#") and t.author == "me" for t in traces)
    assert [t.sampling["sample_index"] for t in traces] == [0, 1]


def test_the_scripted_engine_answers_in_turn_and_loads_no_student():
    said = ENGINES["scripted"](lambda: 1 / 0, requests(3), WARM, answers=["####1", "no idea"])
    assert [s.text for s in said] == ["####1", "no idea", "####1"]
