"""P(Yes) of a written judgement and its mean over analyses: closed forms on a model with known logits, and a server's alternatives."""

import json
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from local_servers import scripted_server
from redistill.config.tables import CriticSettings, StudentSettings
from redistill.errors import OperatorError
from redistill.io.client import Kept
from redistill.model import loading
from redistill.model.next_word import next_word, word_ids
from redistill.rollout import ENGINES
from redistill.rollout.step_rewards import Analysis, forced_text, step_reward, words_of, yes_probabilities
from redistill.text.judgements import VERDICT_LINE

RIGHT = Analysis("Q\n", "", f"Fine.\n{VERDICT_LINE} Yes")
WRONG = Analysis("Q\n", "", f"2+2 is 4.\n{VERDICT_LINE} No")
SILENT = Analysis("Q\n", "", "I cannot say")


class Words:
    """A tokenizer of whole words, " Yes" and " No" among them; every other text is one token of its length."""

    pad_token_id = 0

    def __call__(self, text, add_special_tokens=True):
        one = {" Yes": [1], " No": [2], "Yes": [3, 4], "No": [5, 4]}.get
        if isinstance(text, list):
            return {"input_ids": [one(t) or [10 + len(t) % 50] for t in text]}
        return {"input_ids": one(text) or [10 + len(text) % 50]}


class Known(torch.nn.Module):
    """A model whose logits behind the last token t are t / 100 for Yes (token 1) and 0 for No (token 2)."""

    config = SimpleNamespace(max_position_embeddings=64)
    device = torch.device("cpu")

    def forward(self, input_ids, attention_mask, use_cache=False):
        logits = torch.zeros(*input_ids.shape, 64)
        logits[..., 1] = input_ids / 100
        return SimpleNamespace(logits=logits)


def test_r_is_its_closed_form_on_a_model_of_known_logits(monkeypatch):
    monkeypatch.setattr(
        "redistill.model.next_word.encode_prompts", lambda tokenizer, texts: tokenizer(texts)["input_ids"]
    )
    monkeypatch.setattr("redistill.model.next_word.context_length", lambda model: 64)
    engine = partial(ENGINES["transformers"], batch_size=4)
    found = yes_probabilities(engine, lambda: (Known(), Words()), [RIGHT, WRONG, SILENT], CriticSettings())
    tokens = [10 + len(f"Fine.\n{VERDICT_LINE}") % 50, 10 + len(f"2+2 is 4.\n{VERDICT_LINE}") % 50]
    expected = [math.exp(t / 100) / (math.exp(t / 100) + 1) for t in tokens]
    assert found[:2] == pytest.approx(expected, abs=1e-7) and found[2] is None
    assert step_reward(found) == pytest.approx(sum(expected) / 2, abs=1e-7)


def test_the_probability_is_that_of_the_full_vocabulary_of_a_real_model():
    settings = StudentSettings(
        from_config={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
        alphabet="abcYN? ",
    )  # fmt: skip
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=0)
    rows = [("ab?", "c? "), ("a", "bcbcbc? "), ("b", "? ")]
    found = next_word(model, tokenizer, rows, ("Y", "N"), tokens_per_batch=20)
    yes, no = word_ids(tokenizer, ("Y", "N"))
    for (prompt, text), value in zip(rows, found, strict=True):  # each row alone, by the whole softmax
        ids = [*loading.encode_prompts(tokenizer, [prompt])[0], *tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            p = model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)
        assert value == pytest.approx(float(p[yes] / (p[yes] + p[no])), abs=1e-5)
    assert next_word(model, tokenizer, [("a" * 10_000, "")], ("Y", "N")) == [None]


def test_words_of_several_tokens_are_refused_unless_the_first_is_to_be_compared():
    with pytest.raises(OperatorError, match=r"'Yes' is 2 tokens and 'No' is 2 tokens.*first_piece: true"):
        word_ids(Words(), ("Yes", "No"))
    assert word_ids(Words(), ("Yes", "No"), first_piece=True) == (3, 5)
    with pytest.raises(OperatorError, match="begin with the same token"):
        word_ids(Words(), ("Yes", "Yes"), first_piece=True)
    assert words_of("Right?") == (" Yes", " No") and words_of("Right? ") == ("Yes", "No")


def test_an_analysis_is_cut_right_behind_its_line_and_one_without_may_get_the_line():
    assert forced_text(WRONG, CriticSettings()) == f"2+2 is 4.\n{VERDICT_LINE}"
    assert (
        forced_text(Analysis("Q", "<think>", f"<think>ok {VERDICT_LINE} Yes"), CriticSettings()) == f"ok {VERDICT_LINE}"
    )
    assert forced_text(SILENT, CriticSettings()) is None
    assert forced_text(SILENT, CriticSettings(no_marker="drop")) is None
    assert forced_text(SILENT, CriticSettings(no_marker="append")) == f"I cannot say\n{VERDICT_LINE}"


@pytest.mark.parametrize(
    ("values", "undecided", "drop"),
    [
        ([0.9, 0.7, None], 0.8, 0.8),
        ([0.9, None], None, 0.9),  # half of them say nothing
        ([0.2, None, None, None], None, 0.2),
        ([None, None], None, None),  # the paper's search code divides by zero here
    ],
)
def test_analyses_that_say_nothing_are_no_votes(values, undecided, drop):
    assert step_reward(values, "undecided") == (pytest.approx(undecided) if undecided is not None else None)
    assert step_reward(values, "drop") == (pytest.approx(drop) if drop is not None else None)


def test_written_verdicts_are_counted_where_no_probability_is_read():
    engine = partial(ENGINES["scripted"], answers=["x"])
    settings = CriticSettings(read="verdict")
    assert yes_probabilities(engine, never, [RIGHT, WRONG, SILENT], settings) == [1.0, 0.0, None]
    with pytest.raises(OperatorError, match="this engine gives no next-token probabilities"):
        yes_probabilities(engine, never, [RIGHT], CriticSettings())


def never():
    raise AssertionError("nobody loads a student here")


def test_a_server_is_asked_for_the_token_behind_the_line(tmp_path):
    tops = {
        "Fine.": {" Yes": math.log(0.6), " No": math.log(0.2), " So": -3.0},
        "2+2": {" No": -0.1, " It": -2.0, "!": -4.0},
    }
    with scripted_server(tmp_path, tops=json.dumps(tops)) as server:
        engine = partial(ENGINES["openai"], base_url=server.base_url, model="m")
        with Kept(tmp_path / "kept.jsonl") as kept:
            found = yes_probabilities(engine, never, [RIGHT, WRONG, SILENT], CriticSettings(), kept=kept)
        asked = server.asked()
        with Kept(tmp_path / "kept.jsonl") as kept:  # what was paid for is not asked again
            assert yes_probabilities(engine, never, [RIGHT, WRONG, SILENT], CriticSettings(), kept=kept) == found
        assert len(server.asked()) == 2
    assert found == [
        pytest.approx(0.75),
        pytest.approx(1 / (1 + math.exp(3.9))),
        None,
    ]  # Yes: as likely as the rarest, at most
    assert {body["prompt"] for body in asked} == {f"Q\nFine.\n{VERDICT_LINE}", f"Q\n2+2 is 4.\n{VERDICT_LINE}"}
    assert all((body["max_tokens"], body["logprobs"]) == (1, 20) for body in asked)


@pytest.mark.parametrize(
    ("alternatives", "expected"),
    [
        ({" Yes": -9999.0, " No": 0.0}, 0.0),  # vLLM's word for impossible
        ({" Yes": 0.0, " No": -9999.0}, 1.0),
        ({" Yes": 0.0, " No": -math.inf}, 1.0),
        ({" Yes": -math.inf, " No": -0.5}, 0.0),
        ({" Yes": -math.inf, " No": -math.inf}, 0.5),
        ({" Yes": math.nan, " No": -0.1, " So": -9000.0}, 0.0),
        ({" Yes": None, " No": None, " So": -1.0}, None),
    ],
)
def test_log_probs_of_any_size_and_none_are_a_probability_or_say_nothing(tmp_path, alternatives, expected):
    with scripted_server(tmp_path, tops=json.dumps({"Fine.": alternatives})) as server:
        engine = partial(ENGINES["openai"], base_url=server.base_url, model="m")
        (found,) = yes_probabilities(engine, never, [RIGHT], CriticSettings())
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("value", [5.0, math.inf])
def test_a_log_prob_above_0_is_none_and_one_sentence(tmp_path, value):
    with scripted_server(tmp_path, tops=json.dumps({"Fine.": {" Yes": value, " No": -1.0}})) as server:
        engine = partial(ENGINES["openai"], base_url=server.base_url, model="m")
        with pytest.raises(OperatorError, match=rf"returns {value} as the log-probability of a token, which is none"):
            yes_probabilities(engine, never, [RIGHT], CriticSettings())


def test_a_text_that_the_server_refuses_says_nothing_and_the_others_are_read(tmp_path):
    tops = {"2+2": {" No": 0.0, " Yes": 0.0}}
    with scripted_server(tmp_path, tops=json.dumps(tops), refuse=json.dumps({"Fine.": 400})) as server:
        engine = partial(ENGINES["openai"], base_url=server.base_url, model="m")
        assert yes_probabilities(engine, never, [RIGHT, WRONG], CriticSettings()) == [None, 0.5]


def test_a_model_whose_logits_are_no_numbers_says_nothing(monkeypatch):
    monkeypatch.setattr("redistill.rollout.step_rewards._in_process", lambda *given: [math.nan, 0.5])
    engine = partial(ENGINES["transformers"], batch_size=4)
    assert yes_probabilities(engine, never, [RIGHT, WRONG], CriticSettings()) == [None, 0.5]


def test_a_server_without_log_probabilities_is_one_sentence(tmp_path):
    with scripted_server(tmp_path) as server:
        engine = partial(ENGINES["openai"], base_url=server.base_url, model="m")
        with pytest.raises(OperatorError, match=r"returns no log-probabilities.*read: verdict"):
            yes_probabilities(engine, never, [RIGHT], CriticSettings())
        with pytest.raises(OperatorError, match="api: chat cannot continue a given text"):
            yes_probabilities(partial(engine, api="chat"), never, [RIGHT], CriticSettings())
