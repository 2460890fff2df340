"""Released layouts of process reward models on checkpoints with their published keys and shapes, each against a plain computation."""

import copy
import json
import logging
import math
import re
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
)

from local_servers import scripted_server
from redistill.config.tables import PromptText
from redistill.errors import OperatorError
from redistill.io.replies import Reply
from redistill.model.loading import character_tokenizer, save_model
from redistill.model.reward_heads import Origin, encode_qwen_prm, encoding_of, open_reader
from redistill.model.score_heads import new_critic
from redistill.records import Group, Span, make_problem, make_trace
from redistill.score import reason_of
from redistill.score.process import _probabilities, process

STEPS = ["2+2=4", "so 4+1=5", "#5"]
TEXT = "\n\n".join(STEPS)
RANGES = [(0, 7), (7, 17), (17, 19)]
PROBLEM = make_problem("2+2+1=")
GROUPS = [Group(PROBLEM, (make_trace(PROBLEM.id, TEXT), make_trace(PROBLEM.id, ""), make_trace(PROBLEM.id, "7" * 300)))]
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "max_position_embeddings": 128}  # fmt: skip


def characters():
    tokenizer = character_tokenizer("0123456789+-=#abcdefghijklmnopqrstuvwxyz \n")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_0>", "<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer


def seeded(module, seed):
    """Every weight drawn wide, so that scores differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def saved(folder, tokenizer, config, tensors, architecture):
    folder.mkdir()
    tokenizer.save_pretrained(folder)
    config.architectures = [architecture]
    config.save_pretrained(folder)
    save_file(
        {name: t.contiguous().clone() for name, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


def scored(folder, layout, groups=GROUPS, **options):
    return process(
        groups, model=str(folder), layout=layout, _into="prm", _prompt=PromptText(template="bare"), _held={}, **options
    )


def check(after, expected, ranges=RANGES):
    """The first trace has these step scores, the second none for it is empty, the third none for it is too long."""
    trace, empty, long = after[0].traces
    assert [span[:2] for span in trace.spans["prm"]] == list(ranges)
    assert [span.value for span in trace.spans["prm"]] == pytest.approx(expected, abs=1e-5)
    assert len(expected) == len(ranges) and (len(expected) == 1 or max(expected) - min(expected) > 1e-3)
    aggregates = {
        "prm_mean": sum(expected) / len(expected),
        "prm_min": min(expected),
        "prm_last": expected[-1],
        "prm_product": math.prod(expected),
    }
    assert {name: trace.scores[name] for name in aggregates} == pytest.approx(aggregates, abs=1e-5)
    assert reason_of(empty, "prm") == "empty" and reason_of(long, "prm") == "too_long"
    assert not empty.scores and not long.scores and not long.spans


# --- qwen-prm ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """Keys and shapes of Qwen/Qwen2.5-Math-PRM-7B: model.*, score.0 (hidden, hidden), score.2 (2, hidden), both with a bias."""
    tokenizer = characters()
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    config.auto_map = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel"}  # never run
    body = seeded(Qwen2Model(config), 1).eval()
    head = seeded(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)), 2)
    tensors = {f"model.{name}": t for name, t in body.state_dict().items()}
    tensors |= {f"score.{name}": t for name, t in head.state_dict().items()}
    folder = saved(tmp_path_factory.mktemp("qwen") / "prm", tokenizer, config, tensors, "Qwen2ForProcessRewardModel")
    return folder, AutoTokenizer.from_pretrained(folder), body.double(), head.double()


def official(qwen, pieces):
    """As the model card does it: one string, one forward pass, softmax, class 1 where the token is <extra_0>."""
    _, tokenizer, body, head = qwen
    messages = [
        {"role": "user", "content": PROBLEM.statement},
        {"role": "assistant", "content": "<extra_0>".join(pieces) + "<extra_0>"},
    ]
    ids = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        chances = head(body(input_ids=torch.tensor([ids])).last_hidden_state[0]).softmax(-1)
    marker = tokenizer.convert_tokens_to_ids("<extra_0>")
    return [float(chances[place, 1]) for place, id in enumerate(ids) if id == marker]


def test_qwen_prm_gives_the_published_scores(qwen):
    check(scored(qwen[0], "qwen-prm"), official(qwen, STEPS))


def test_alpha_adds_the_score_of_the_whole(qwen):
    trace = scored(qwen[0], "qwen-prm", alpha=0.5)[0].traces[0]
    (whole,) = official(qwen, [TEXT])
    assert trace.scores["prm_whole"] == pytest.approx(whole, abs=1e-5)
    assert trace.scores["prm"] == pytest.approx(trace.scores["prm_mean"] + 0.5 * whole, abs=1e-5)


def test_a_step_that_writes_the_marker_itself_shifts_no_score(qwen):
    trace = make_trace(PROBLEM.id, "1<extra_0>\n\n2")
    found = scored(qwen[0], "qwen-prm", [Group(PROBLEM, (trace,))])[0].traces[0].spans["prm"]
    inner = official(qwen, ["1<extra_0>", "2"])  # three markers: the first is the trace's own
    assert [span.value for span in found] == pytest.approx(inner[1:], abs=1e-5)


def test_a_score_of_exactly_0_does_not_shift_those_after_it(qwen):
    """The official extractor multiplies by a mask and drops zeros, so a chance that saturates to 0 breaks the rows after it."""
    encoding = encode_qwen_prm(qwen[1], None)
    outputs = torch.tensor([[0.0, 1.0], [0.0, -1e5], [0.0, 0.0]], dtype=torch.float64)
    assert encoding.read(outputs).tolist() == pytest.approx([1 / (1 + math.exp(-1)), 0.0, 0.5])


def test_a_head_of_another_width_or_none_is_one_sentence(qwen, tmp_path):
    _folder, tokenizer, body, head = qwen
    tensors = {f"model.{name}": t.float() for name, t in body.state_dict().items()}
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    none = saved(tmp_path / "none", tokenizer, config, tensors, "Qwen2ForCausalLM")
    with pytest.raises(
        OperatorError,
        match=r"score \(prm\): model: .*none has no weight score.0.weight, so it is not a model of this layout; a language model",
    ):
        scored(none, "qwen-prm")
    wide = {
        **{f"score.{n}": t.float() for n, t in head.state_dict().items()},
        "score.2.weight": torch.zeros(152, 16),
        "score.2.bias": torch.zeros(152),
    }
    with pytest.raises(OperatorError, match="gives 152 outputs, and layout qwen-prm has 2"):
        scored(saved(tmp_path / "wide", tokenizer, config, {**tensors, **wide}, "X"), "qwen-prm")


def test_heads_of_a_sharded_checkpoint_are_found_by_the_index(qwen, tmp_path):
    folder, tokenizer, body, head = qwen
    there = tmp_path / "sharded"
    there.mkdir()
    tokenizer.save_pretrained(there)
    (there / "config.json").write_text((folder / "config.json").read_text())
    parts = {
        "model-00001-of-00002.safetensors": {
            f"model.{n}": t.float().contiguous() for n, t in body.state_dict().items()
        },
        "model-00002-of-00002.safetensors": {
            f"score.{n}": t.float().contiguous() for n, t in head.state_dict().items()
        },
    }
    for file, tensors in parts.items():
        save_file(tensors, there / file, {"format": "pt"})
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {name: file for file, tensors in parts.items() for name in tensors},
    }
    (there / "model.safetensors.index.json").write_text(json.dumps(index))
    check(scored(there, "qwen-prm"), official(qwen, STEPS))


# --- math-shepherd ----------------------------------------------------------------------------------------------------


def test_math_shepherd_reads_two_tokens_at_each_marker(tmp_path):
    words = ["<s>", "</s>", "<unk>", "+", "-", "ки", "2+2+1=", "2+2=4", "so", "4+1=5", "#5", "7" * 300]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    config = LlamaConfig(vocab_size=len(words), pad_token_id=None, **{**SIZES, "max_position_embeddings": 14})
    model = seeded(AutoModelForCausalLM.from_config(config), 3).eval()
    folder = saved(tmp_path / "shepherd", tokenizer, config, model.state_dict(), "LlamaForCausalLM")
    text = f"{PROBLEM.statement} " + "\n".join(f"{step} ки" for step in STEPS)
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model.double()(torch.tensor([ids])).logits[0][:, [3, 4]].softmax(-1)[:, 0]
    expected = [float(logits[place]) for place, id in enumerate(ids) if id == 5]
    groups = [Group(PROBLEM, (*GROUPS[0].traces[:2], make_trace(PROBLEM.id, " ".join("7" * 20))))]
    check(scored(folder, "math-shepherd", groups), expected)
    with pytest.raises(
        OperatorError, match="alpha weights a score of the whole answer, which layout math-shepherd does not have"
    ):
        scored(folder, "math-shepherd", alpha=1.0)
    with pytest.raises(OperatorError, match="has no tokens for ки"):
        plain = saved(tmp_path / "plain", characters(), LlamaConfig(vocab_size=60, **SIZES), {}, "LlamaForCausalLM")
        scored(plain, "math-shepherd")


# --- last-token -------------------------------------------------------------------------------------------------------


def test_last_token_reads_one_score_of_the_whole_text_and_refuses_a_pickled_head(tmp_path):
    tokenizer = characters()
    model = seeded(AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(tokenizer), **SIZES)), 4).eval()
    folder = saved(tmp_path / "reasonflux", tokenizer, model.config, model.state_dict(), "LlamaForCausalLM")
    torch.save({"weight": torch.zeros(1, 16), "bias": torch.zeros(1)}, folder / "reward_head.pt")
    with pytest.raises(
        OperatorError,
        match=r"only reward_head.pt, a pickle, .* convert it: python -c .*save_file\(torch.load\('reward_head.pt', weights_only=True\)",
    ):
        scored(folder, "last-token")
    weight, bias = torch.randn(1, 16, generator=torch.Generator().manual_seed(5)), torch.tensor([0.3])
    save_file({"weight": weight, "bias": bias}, folder / "reward_head.safetensors")
    ids = tokenizer(PROBLEM.statement + TEXT)["input_ids"]
    with torch.no_grad():
        hidden = model.double().model(torch.tensor([ids])).last_hidden_state[0, -1]
        expected = float(torch.sigmoid(hidden @ weight.double()[0] + bias.double()))
    check(scored(folder, "last-token"), [expected], [(0, len(TEXT))])


# --- ours -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def critic(tmp_path_factory):
    tokenizer = characters()
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, **SIZES)
    model = seeded(AutoModelForTokenClassification.from_config(config), 6).eval()
    folder = saved(
        tmp_path_factory.mktemp("critic") / "model",
        tokenizer,
        config,
        model.state_dict(),
        "LlamaForTokenClassification",
    )
    return folder, tokenizer, model.double()


def test_a_critic_of_ours_is_read_at_the_last_token_of_each_step_and_at_the_end_of_turn(critic):
    folder, tokenizer, model = critic
    ids = [*tokenizer(PROBLEM.statement + TEXT, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        chances = torch.sigmoid(model(torch.tensor([ids])).logits[0, :, 0])
    first = len(PROBLEM.statement)  # a token per character
    expected = [float(chances[first + end - 1]) for _, end in RANGES]
    check(scored(folder, "ours"), expected)
    trace = scored(folder, "ours", alpha=1.0)[0].traces[0]
    assert trace.scores["prm_whole"] == pytest.approx(float(chances[-1]), abs=1e-5)


def test_a_critic_that_a_stage_saves_is_read_and_a_new_one_says_one_half_of_everything(tmp_path):
    tokenizer = characters()
    student = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(tokenizer), **SIZES))
    save_model(new_critic(student), tokenizer, tmp_path / "model", card="")
    trace = scored(tmp_path / "model", "ours", alpha=1.0)[0].traces[0]
    assert [span.value for span in trace.spans["prm"]] == [0.5] * 3 and trace.scores["prm_product"] == 0.125
    assert trace.scores["prm"] == 1.0 and trace.scores["prm_whole"] == 0.5
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(OperatorError, match="is not the file that was saved"):
        scored(tmp_path / "model", "ours")


def test_batches_of_any_size_give_the_same_scores(critic):
    small, large = (scored(critic[0], "ours", tokens_per_batch=size)[0].traces[0].scores for size in (1, 4096))
    assert small == pytest.approx(large, abs=1e-6)


def test_a_language_model_where_a_critic_is_asked_for_is_one_sentence(tmp_path):
    tokenizer = characters()
    config = LlamaConfig(vocab_size=len(tokenizer), **SIZES)
    model = AutoModelForCausalLM.from_config(config)
    folder = saved(tmp_path / "lm", tokenizer, config, model.state_dict(), "LlamaForCausalLM")
    with pytest.raises(
        OperatorError, match=r"score \(prm\): model: .*lm is not a critic \(it is a LlamaForCausalLM with 2 labels"
    ):
        scored(folder, "ours")
    with pytest.raises(OperatorError, match=r"score \(prm\): model: .*gone is neither a folder"):
        scored(tmp_path / "gone", "ours")


# --- a pooling server -------------------------------------------------------------------------------------------------


def test_a_pooling_server_is_sent_token_ids_and_read_at_the_same_places(critic, tmp_path):
    folder, tokenizer, _ = critic
    text = PROBLEM.statement + TEXT
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with scripted_server(tmp_path, outputs=1) as server:
        after = scored(folder, "ours", [Group(PROBLEM, GROUPS[0].traces[:2])], base_url=server.base_url)
        (body,) = server.asked()
    assert body == {"path": "/pooling", "model": str(folder), "task": "token_classify", "input": ids}
    # the server's number for a token is the last digit of its id, in tenths
    expected = [(ids[len(PROBLEM.statement) + end - 1] % 10) / 10 for _, end in RANGES]
    assert [span.value for span in after[0].traces[0].spans["prm"]] == expected
    assert reason_of(after[0].traces[1], "prm") == "empty"


def test_a_server_that_answers_per_step_is_read_in_order_and_another_shape_is_one_sentence(qwen, critic, tmp_path):
    group = [Group(PROBLEM, GROUPS[0].traces[:1])]
    marker = qwen[1].convert_tokens_to_ids("<extra_0>")
    with scripted_server(tmp_path, outputs=2, step_id=marker) as server:
        spans = scored(qwen[0], "qwen-prm", group, base_url=server.base_url)[0].traces[0].spans["prm"]
        assert [span.value for span in spans] == [((7 + marker) % 10) / 10] * 3
        with pytest.raises(
            OperatorError, match=r"score \(prm\): the server returns 0 x 0 numbers for 26 tokens with 3 steps"
        ):
            scored(critic[0], "ours", group, base_url=server.base_url)
    with pytest.raises(OperatorError, match="servers do not support the head of layout last-token"):
        scored(critic[0], "last-token", group, base_url="http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([[0.1], [None], [0.2]], "the server returns None where a number is expected"),
        ([[0.1], ["0.5"], [0.2]], "the server returns 0.5 where a number is expected"),
        ([[0.1], [{}], [0.2]], "the server returns {} where a number is expected"),
        ([[0.1], [-3.0], [0.2]], "raw outputs, not probabilities"),
        ([[0.1], [math.nan], [0.2]], None),
    ],
)
def test_what_is_no_probability_in_a_pooling_answer_is_one_sentence_or_a_reason(critic, said, found):
    origin = Origin(str(critic[0]), None, "score (prm): model")
    reply = Reply(json.dumps(said), None, None, None)
    read = partial(_probabilities, reply, ([1, 2, 3, 4], [0, 1, 3]), encoding_of("ours", origin), "score (prm)")
    if found is None:
        assert read() == "not_finite"
    else:
        with pytest.raises(OperatorError, match=re.escape(found)):
            read()


def test_a_critic_of_damaged_weights_scores_nothing_and_says_so(critic, tmp_path):
    _, tokenizer, model = critic
    damaged = copy.deepcopy(model)
    damaged.score.weight.data[0, 0] = math.nan
    folder = saved(tmp_path / "nan", tokenizer, model.config, damaged.state_dict(), "LlamaForTokenClassification")
    trace = scored(folder, "ours")[0].traces[0]
    assert reason_of(trace, "prm") == "not_finite" and not trace.scores and not trace.spans


def test_spans_survive_as_steps_of_the_text():
    assert [TEXT[start:end].strip() for start, end in RANGES] == STEPS and Span(*RANGES[0], 1.0).end == 7


def test_heads_are_loaded_without_a_word(tmp_path, qwen):
    """A head that is read here is no unexpected weight, and nothing was to be sharded over devices."""
    tokenizer = characters()
    student = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(tokenizer), **SIZES))
    save_model(new_critic(student), tokenizer, tmp_path / "critic", card="a card")
    said: list[logging.LogRecord] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = said.append
    logging.getLogger("transformers").addHandler(listener)
    try:
        scored(qwen[0], "qwen-prm")
        scored(tmp_path / "critic", "ours")
    finally:
        logging.getLogger("transformers").removeHandler(listener)
    assert [record.getMessage() for record in said] == []


def test_a_hub_that_cannot_be_reached_is_not_blamed_on_the_model(monkeypatch):
    monkeypatch.setattr("redistill.model.hub._answers", lambda model, revision: False)
    with pytest.raises(OperatorError, match=r"nobody/prm-7b is not a folder here, .* cannot be reached"):
        open_reader("qwen-prm", Origin("nobody/prm-7b", None, "score (prm): model"))
