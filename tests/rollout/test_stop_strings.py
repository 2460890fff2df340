"""Stop strings: a sample ends with the token that completes one, its text before it, and says which it was."""

from dataclasses import replace

import pytest
import torch

from local_servers import scripted_server
from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.rollout import ENGINES, Request, Sampling, draw, slots
from redistill.rollout.requests import Sample
from redistill.rollout.stop_strings import StopStrings
from redistill.rollout.transformers_engine import transformers_engine

LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
FREE = Sampling(n=1, temperature=1.0, top_p=1.0, max_new_tokens=9, logprobs=True)
REQUESTS = [Request("1+2=;3*4-5"[: 1 + i % 7], seed=i) for i in range(16)]


class Pieces:
    """A tokenizer whose token i is spelled PIECES[i]."""

    all_special_ids, added_tokens_decoder = (), {}
    PIECES = ("a\n", "\nb", "x", "\n\n", "é", " STOP", "ST", "OP")

    def decode(self, tokens, **options):
        return "".join(self.PIECES[token] for token in tokens)


@pytest.mark.parametrize(
    ("tokens", "ends_at", "text", "stop"),
    [
        ([2, 0, 1, 2], 3, "xa", "\n\n"),  # half in one token, half in the next
        ([2, 3], 2, "x", "\n\n"),  # a whole token
        ([0, 2, 0, 2], None, "a\nxa\nx", ""),  # never two line breaks in a row
        ([4, 6, 7, 2], 3, "é", "STOP"),
        ([5, 3], 1, " ", "STOP"),  # the first of two that come
    ],
)
def test_a_row_ends_with_the_token_that_completes_a_stop_string(tokens, ends_at, text, stop):
    stops = StopStrings(Pieces(), ("STOP", "\n\n"))
    seen = [count for count in range(1, len(tokens) + 1) if stops.completed(tokens[:count])]
    assert (seen[0] if seen else None) == ends_at
    assert stops.cut(Pieces().decode(tokens[:ends_at])) == (text, stop)


def test_only_the_last_tokens_are_decoded_after_each_token():
    decoded = []

    class Counting(Pieces):
        def decode(self, tokens, **options):
            decoded.append(len(tokens))
            return super().decode(tokens)

    assert not StopStrings(Counting(), ("STOP",)).completed([2] * 1000)
    assert decoded == [6]  # four bytes can be four tokens, and two more for decoders that strip blanks


@pytest.fixture(scope="module")
def student():
    settings = StudentSettings(from_config=LLAMA, alphabet="0123456789+-*=;#")
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=1)
    tokenizer.eos_token = "4"  # which it says now and then
    with torch.no_grad():  # sharpened, so that rounding cannot change a draw
        model.lm_head.weight.mul_(6.0)
    return model, tokenizer


@pytest.mark.parametrize("way", ["slots", "generate"])
def test_stop_strings_cut_what_the_student_would_have_said_without_them(student, way, monkeypatch):
    if way == "generate":
        monkeypatch.setattr(slots, "fits", lambda model: False)
    tokenizer, stops = student[1], ("+", "35")
    free = transformers_engine(lambda: student, REQUESTS, FREE, batch_size=5)
    cut = transformers_engine(lambda: student, REQUESTS, replace(FREE, stop=stops), batch_size=5)
    ways = set()
    for whole, sample in zip(free, cut, strict=True):
        # a token is a character here, or special and no text: the text ends with the character that completes a stop
        ends = {whole.text.index(stop) + len(stop): stop for stop in stops if stop in whole.text}
        if ends:
            end = min(ends)
            assert sample.text == whole.text[: end - len(ends[end])] and sample.stop == ends[end]
            spoken = [
                i for i, token in enumerate(whole.token_ids) if tokenizer.decode([token], skip_special_tokens=True)
            ]
            count = spoken[end - 1] + 1
            assert (sample.num_tokens, sample.finish_reason) == (count, "stop")
            assert sample.token_ids == whole.token_ids[:count] and len(sample.logprobs) == count
        else:
            assert (sample.text, sample.token_ids, sample.finish_reason) == (
                whole.text,
                whole.token_ids,
                whole.finish_reason,
            )
            assert sample.stop == ""
        ways.add((bool(ends), sample.finish_reason))
    assert ways == {(True, "stop"), (False, "stop"), (False, "length")}  # all ways to end were seen


def test_a_sample_with_stop_strings_is_not_taken_for_one_without(tmp_path):
    def engine(student, requests, sampling, *, _finished):
        samples = [Sample("x", 1, "stop", stop=None if sampling.stop else "") for _ in requests]
        for place, sample in enumerate(samples):
            _finished(place, sample)
        return samples

    def drawn(sampling):
        return draw(engine, lambda: None, REQUESTS[:1], sampling, journal=tmp_path / "j.jsonl")[0].stop

    assert [drawn(FREE), drawn(replace(FREE, stop=("a",))), drawn(replace(FREE, stop=("b",)))] == ["", None, None]
    assert len((tmp_path / "j.jsonl").read_text().splitlines()) == 3
    assert [drawn(FREE), drawn(replace(FREE, stop=("a",)))] == ["", None]  # read back as they were


@pytest.mark.parametrize(
    ("key", "ended", "open_"), [("stop_reason", "!", ""), ("matched_stop", "!", ""), ("", None, None)]
)
def test_a_server_is_sent_the_stop_strings_and_says_which_ended_a_sample(tmp_path, key, ended, open_):
    with scripted_server(tmp_path, answers='{"p0": "one! two", "p1": "one"}', stop_key=key) as server:
        asked = [Request("p0", 1), Request("p1", 2)]
        options = {"base_url": server.base_url, "model": "m"}
        samples = ENGINES["openai"](lambda: None, asked, replace(FREE, stop=("!",)), **options)
        assert [body["stop"] for body in server.asked()] == [["!"], ["!"]]
        assert [(s.text, s.stop) for s in samples] == [("one", ended), ("one", open_)]
        with pytest.raises(OperatorError, match="leave `stop` out"):
            ENGINES["openai"](lambda: None, asked, replace(FREE, stop=("!",)), **options, extra={"stop": ["?"]})
