"""The scorer `outcome`: its chance is the critic's own, its spans are the token weights of OREAL, and select makes rows of them."""

import itertools
import math

import pytest
import torch
from transformers import AutoModelForTokenClassification, LlamaConfig

from redistill.config.tables import PromptText, TokenWeightSettings
from redistill.errors import OperatorError
from redistill.model.loading import character_tokenizer, save_model
from redistill.model.token_credit import credit
from redistill.records import Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.score import reason_of
from redistill.score.outcome import outcome, spans_of
from redistill.select import SelectTask, select_shard
from redistill.train.rows import _span_weights

PROBLEM = make_problem("2+2+1=")
TEXTS = ["2+2=4;\n4+1=5;\n#5", "2+2=4;\n4+1=6;\n#6", " ", "7" * 300]
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "max_position_embeddings": 128}  # fmt: skip


@pytest.fixture(scope="module")
def critic(tmp_path_factory):
    tokenizer = character_tokenizer("0123456789+-=#; \n")
    model = AutoModelForTokenClassification.from_config(
        LlamaConfig(vocab_size=len(tokenizer), num_labels=1, architectures=["LlamaForTokenClassification"], **SIZES)
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    folder = tmp_path_factory.mktemp("critic") / "model"
    save_model(model.eval(), tokenizer, folder, card="")
    return folder, tokenizer, model


def scored(folder, texts=TEXTS, **options):
    group = Group(PROBLEM, tuple(make_trace(PROBLEM.id, text) for text in texts))
    (after,) = outcome(
        [group], model=str(folder), _into="orm", _prompt=PromptText(template="bare"), _held={}, **options
    )
    return after.traces


@pytest.mark.parametrize("form", ["paper", "running-mean"])
def test_chance_and_weights_are_those_of_the_critics_own_head(critic, form):
    folder, tokenizer, model = critic
    right, *_ = scored(folder, form=form)
    prompt, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (PROBLEM.statement, TEXTS[0]))
    with torch.no_grad():
        scores = model(torch.tensor([[*prompt, *ids, tokenizer.eos_token_id]])).logits[0, len(prompt) :, 0].double()
    assert right.scores == {"orm": pytest.approx(float(scores.mean().sigmoid()), abs=1e-5)}
    for name, weights in zip(("orm_plus", "orm_minus"), credit(scores, form=form), strict=True):
        spans = right.spans[name]
        assert [spans[0].start, spans[-1].end] == [0, len(TEXTS[0]) + 1]
        assert all(one.end == other.start and one.value != other.value for one, other in itertools.pairwise(spans))
        values = [span.value for span in spans for _ in range(span.start, span.end)]  # a token per character
        assert values == pytest.approx(weights.tolist(), abs=1 / 128 + 1e-5)
    assert any(span.value for name in ("orm_plus", "orm_minus") for span in right.spans[name])


def test_texts_that_begin_alike_have_equal_weights_until_they_part(critic):
    right, wrong, *_ = scored(critic[0])
    parting = TEXTS[0].index("5")

    def values(trace):
        plus, minus = (
            [s.value for s in trace.spans[f"orm_{side}"] for _ in range(s.start, s.end)] for side in ("plus", "minus")
        )
        return [one - other for one, other in zip(plus, minus, strict=True)]

    assert values(right)[:parting] == values(wrong)[:parting] and values(right)[parting:] != values(wrong)[parting:]


def test_what_cannot_be_scored_has_a_reason(critic, tmp_path):
    folder, tokenizer, model = critic
    *_, empty, long = scored(folder)
    assert (reason_of(empty, "orm"), reason_of(long, "orm")) == ("empty", "too_long") and not empty.spans
    torch.nn.init.constant_(model.score.weight, math.nan)
    save_model(model, tokenizer, tmp_path / "nan", card="")
    assert reason_of(scored(tmp_path / "nan")[0], "orm") == "not_finite"
    with pytest.raises(OperatorError, match=r"score \(orm\): model: .* is neither a folder"):
        scored(tmp_path / "gone")


def test_a_character_of_several_tokens_has_their_mean_and_one_of_none_changes_nothing():
    """é is two tokens, the space between the words is in none."""
    spans = spans_of([0.5, 1.0, 0.0, 0.25], [(0, 1), (0, 1), (2, 4)], "é ab")
    assert spans == [Span(0, 2, 0.75), Span(2, 4, 0.0), Span(4, 5, 0.25)]


# --- select.weights ---------------------------------------------------------------------------------------------------


def verdict(outcome):
    return {"final": Verdict(outcome, None, "x", verifier="t", verifier_version="1")}


def a_group():
    spans = {"plus": (Span(0, 2, 0.5),), "minus": (Span(0, 2, 0.25),)}
    right = make_trace(PROBLEM.id, "4#5", verdicts=verdict(Outcome.correct), spans=spans)
    plain = make_trace(PROBLEM.id, "5#5", verdicts=verdict(Outcome.correct))
    wrong = make_trace(PROBLEM.id, "4#6", verdicts=verdict(Outcome.incorrect), spans=spans)
    return Group(PROBLEM, (right, plain, wrong)), right, plain, wrong


def select(weights):
    task = SelectTask(
        render=lambda problem: problem.statement,
        encode=lambda texts: [[1] * len(text) for text in texts],
        is_dev=lambda problem: False,
        pairing=lambda g: [(g.traces[0], g.traces[2]), (g.traces[1], g.traces[2])],
        weights=weights,
    )
    return select_shard([a_group()[0]], task)


def test_rows_bring_the_spans_as_weights_and_a_trace_without_them_makes_no_row():
    _, right, _plain, _ = a_group()
    shard = select(TokenWeightSettings(right="plus", wrong="minus"))
    (example,), (pair,) = shard.records["examples"][1], shard.records["pairs"][1]
    assert (example.trace_id, tuple(example.spans)) == (right.id, (Span(0, 2, 0.5),))
    assert (pair.chosen_id, pair.chosen_spans, pair.rejected_spans) == (
        right.id,
        (Span(0, 2, 0.5),),
        (Span(0, 2, 0.25),),
    )
    assert shard.accounts["examples"].dropped["no_weight_spans"] == 1
    assert shard.tallies["extra_pairs"] == {"no_weight_spans": 1}
    weights = _span_weights(pair, lambda texts: [[(at, at + 1) for at in range(len(text))] for text in texts])
    assert weights is not None and [list(side) for side in weights] == [[0.5, 0.5, 1, 1], [0.25, 0.25, 1, 1]]


def test_only_the_wrong_side_may_be_weighed():
    shard = select(TokenWeightSettings(wrong="minus"))
    assert [example.spans for example in shard.records["examples"][1]] == [(), ()]
    assert [(pair.chosen_spans, pair.rejected_spans) for pair in shard.records["pairs"][1]] == [
        ((), (Span(0, 2, 0.25),))
    ] * 2
