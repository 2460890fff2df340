"""The traps of tokens: each shown by a model folder that falls into it, beside one folder that is healthy."""

import dataclasses
import json
import string

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, PreTrainedTokenizerFast

from redistill.cli import main
from redistill.config.parsing import parse_recipe
from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model.loading import character_tokenizer, load_tokenizer
from redistill.pipeline.plan import make_plan
from redistill.tools.doctor import as_json, examine, picture
from redistill.train import token_checks
from redistill.train.token_checks import context_edit, token_rows

TURN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}"
HEALTHY = TURN + "{% if add_generation_prompt %}<assistant>{% endif %}"
STRIPS = TURN.replace("m.content", "m.content.split('</think>')[-1]") + "{% if add_generation_prompt %}<a>{% endif %}"
OPENS = TURN + "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
DATED = "[{{ strftime_now('%d %b') }}]" + HEALTHY


@pytest.fixture
def folder(tmp_path):
    """make(template=..., ...) -> a model folder without weights: a character tokenizer and the config of a small Llama."""

    def make(template=HEALTHY, tokenizer=None, kind="llama", context=512, **config):
        tokenizer = tokenizer or character_tokenizer(string.printable)
        tokenizer.chat_template = template
        config = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_attention_heads": 2, **config}
        AutoConfig.for_model(kind, max_position_embeddings=context, **config).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return StudentSettings(model=str(tmp_path / "model"))

    return make


def recipe_of(student, *, traces=(), tmp_path=None, **tables):
    """A recipe on this student; `traces` are completions of one problem each, written to a file."""
    source = {"name": "two-habits"}
    if traces:
        path = tmp_path / "rows.jsonl"
        rows = [
            {"problem": f"{i}?", "answer": "1", "generations": [{"text": t, "correct": True}]}
            for i, t in enumerate(traces)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = {"name": "traces", "path": str(path)}
    tree = {
        "name": "x",
        "student": student.model_dump(),
        "corpus": {"sources": [source]},
        "prompt": {"chat": True},
        "train": {"sft": {"objective": "sft", "learning_rate": 1e-3, "max_tokens": 512}},
    }
    return parse_recipe({**tree, **tables}, "x.yaml")


def failing(found):
    """{check: sentence} of what fails."""
    return {name: sentence for name, sentence in found.verdicts.items() if sentence}


def opened_by_bos(tokenizer):
    """The tokenizer, made to open every text with <bos>, as Llama's does."""
    processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = processor
    return tokenizer


def merging_tokenizer(gpt2=True):
    """Byte-level BPE. In GPT-2's manner two line breaks are one token, unless a word follows the second; without it
    ">\\n" is one token, as in Qwen's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<bos>", "<eos>", *alphabet, "ĊĊ", ">Ċ"]
    core = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [("Ċ", "Ċ"), (">", "Ċ")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=gpt2)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


# --- one healthy folder --------------------------------------------------------------------------------------------


def test_a_healthy_folder_passes_with_and_without_a_recipe(folder, tmp_path):
    student = folder(tokenizer=opened_by_bos(character_tokenizer(string.printable)))
    assert failing(examine(student, None)) == {}
    recipe = recipe_of(
        student, traces=["<think>a</think>1", "<think>b</think>2"], tmp_path=tmp_path, evaluate={"prefill": "<think>"}
    )
    found = examine(student, recipe)
    assert failing(found) == {} and found.origin == "the first 2 traces of corpus.sources.0"
    make_plan(recipe)


def test_rows_are_those_of_training_with_the_loss_mask_in_brackets_or_colour(folder):
    found = examine(folder(), None, num_rows=1)
    text = picture(found, colour=False)
    # the prompt as the chat template and `plain` write it, then what carries loss, the end token included
    # a character is a token and <eos> is one: 6 + 12 + 2 + 57 + 2 + 1 + 11 of prompt, 58 + 1 of completion
    assert "row 1: 150 tokens, 59 learned\n<user>What is 2+2?\n\nReason step by step" in text
    assert "<assistant>[<think>\n2 and 2 make 4.\n</think>\n\nThe answer is \\boxed{4}.<eos>]\n" in text
    assert "\x1b" not in text
    coloured = picture(found, colour=True)
    assert "<assistant>\x1b[0m\x1b[1;32m<think>" in coloured and ".<eos>\x1b[0m\n" in coloured
    (row,) = as_json(found)["rows"]
    completion = "<think>\n2 and 2 make 4.\n</think>\n\nThe answer is \\boxed{4}."
    assert len(completion) == 58 and row["learned"] == [False] * 91 + [True] * 59
    assert row["ids"][-1] == 2 and row["text"].endswith(completion + "<eos>")


# --- one folder a trap -----------------------------------------------------------------------------------------------


def test_a_template_that_deletes_thinking(folder):
    assert "deletes <think>...</think>" in failing(examine(folder(STRIPS), None))["thinking"]


@pytest.mark.parametrize("template", ["<bos><bos>" + HEALTHY, "\n<bos>" + HEALTHY])
def test_an_opening_token_that_stands_twice(folder, template):
    student = folder(template, opened_by_bos(character_tokenizer(string.printable)))
    found = failing(examine(student, None))
    assert list(found) == ["bos"] and "<bos> occurs 2 times in a training row" in found["bos"]
    with pytest.raises(OperatorError, match="<bos> occurs 2 times in a training row"):
        make_plan(recipe_of(student))


def test_an_opening_token_of_every_turn_is_no_double(folder):
    """SmolLM2: the opening token is <|im_start|>, and each turn begins with it."""
    assert failing(examine(folder(HEALTHY.replace("<{{", "<bos><{{")), None)) == {}


def test_an_end_token_that_is_not_the_templates(folder):
    tokenizer = character_tokenizer(string.printable)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    student = folder(HEALTHY.replace("<eos>", "<end>"), tokenizer)
    found = failing(examine(student, None))
    assert list(found) == ["turn"] and "set student.end_of_turn to '<end>'" in found["turn"]
    assert failing(examine(student.model_copy(update={"end_of_turn": "<end>"}), None)) == {}  # the advice helps


def test_an_end_token_that_is_absent(folder, monkeypatch):
    """Rows are made by the functions training calls; one that forgot the end is seen."""
    student = folder()
    whole = token_checks.loading.encode_completions
    monkeypatch.setattr(token_checks.loading, "encode_completions", lambda *a: [row[:-1] for row in whole(*a)])
    found = failing(examine(student, None))
    assert "a row ends in ., not in the end token <eos>" in found["end"]
    with pytest.raises(OperatorError, match="never learn to stop"):
        make_plan(recipe_of(student))


def test_a_folder_without_any_end_token(folder):
    tokenizer = character_tokenizer(string.printable)
    tokenizer.eos_token = None
    with pytest.raises(OperatorError, match="has no eos token; name the token that ends a turn"):
        examine(folder(tokenizer=tokenizer), None)


def test_an_end_token_that_the_traces_bring_already(folder, tmp_path):
    recipe = recipe_of(folder(), traces=["1", "1<eos>"], tmp_path=tmp_path)
    assert "holds the end token <eos> in its own text" in failing(examine(recipe.student, recipe))["end"]


def test_a_pad_token_that_is_the_end_token_is_seen_where_pad_is_masked(folder, monkeypatch):
    tokenizer = character_tokenizer(string.printable)
    tokenizer.pad_token = "<eos>"
    student = folder(tokenizer=tokenizer)
    found = examine(student, None)
    assert failing(found) == {}  # no row is padded: the mask goes by place, so the end keeps its loss
    assert "pad token: <eos>, the end token; no row is padded" in picture(found, colour=False)

    def masks_pad(tokenizer, texts, prefill=""):  # as a collator that pads and masks does it
        return [
            dataclasses.replace(r, learned=[a and i != tokenizer.pad_token_id for a, i in zip(r.learned, r.ids)])
            for r in token_rows(tokenizer, texts, prefill)
        ]

    monkeypatch.setattr("redistill.train.preflight.token_rows", masks_pad)
    sentence = failing(examine(student, None))["end"]
    assert "<eos> carries no loss (it is the pad token too" in sentence
    with pytest.raises(OperatorError, match="carries no loss"):
        make_plan(recipe_of(student))


def test_a_prompt_that_is_no_prefix_of_the_whole(folder):
    """Alone "\\n\\n" is one token; before a word the second line break goes its own way."""
    student = folder(template=None, tokenizer=merging_tokenizer())
    recipe = recipe_of(student, prompt={"chat": False, "template": "{problem}\n\n"})
    found = failing(examine(student, recipe))
    assert list(found) == ["prefix"] and r"apart it ends ['=', '\n\n']" in found["prefix"]
    assert r"together with the completion ['=', '\n', '\n']" in found["prefix"]
    assert r"for example in '\n' where it ends in '\n\n'" in found["prefix"]
    better = recipe_of(student, prompt={"chat": False, "template": "{problem}\n"})
    assert failing(examine(student, better)) == {}  # the advice helps


def test_a_generation_prompt_that_opens_thinking(folder, tmp_path):
    student = folder(OPENS)
    found = failing(examine(student, None))
    assert list(found) == ["opening"]
    template = "<user>{problem}\\n\\nReason step by step and put the final answer in \\\\boxed{}.\\n\\n<eos><assistant>"
    assert f'prompt: {{chat: false, template: "{template}"}}' in found["opening"]
    own = json.loads(found["opening"].partition("template: ")[2].removesuffix("}."))
    traces = ["<think>a</think>1", "<think>b</think>2"]
    healed = recipe_of(student, traces=traces, tmp_path=tmp_path, prompt={"chat": False, "template": own})
    assert failing(examine(student, healed)) == {}  # the advice helps
    without = recipe_of(student, traces=["a</think>1"], tmp_path=tmp_path)
    assert failing(examine(student, without)) == {}  # traces that leave the opening to the prompt are right
    with pytest.raises(OperatorError, match=r"and evaluate\.prefill opens it again"):
        make_plan(recipe_of(student, evaluate={"prefill": "<think>"}))


def test_a_run_stops_before_training_where_rows_would_open_thinking_twice(folder, tmp_path, capsys):
    traces = ["<think>a</think>\\boxed{1}"] * 3
    recipe = recipe_of(folder(OPENS), traces=traces, tmp_path=tmp_path)
    judged = {"verifiers": [], "labels": ["teacher_label"], "policy": "teacher_label"}
    tree = {**recipe.model_dump(mode="json"), "evaluate": {"benchmarks": []}, "verify": judged}
    tree["corpus"]["dev_fraction"] = 0
    (tmp_path / "x.yaml").write_text(json.dumps(tree))
    with pytest.raises(SystemExit) as end:
        main(["run", str(tmp_path / "x.yaml"), "--runs-dir", str(tmp_path / "runs")])
    err = capsys.readouterr().err
    assert end.value.code == 2 and "rows would hold it twice" in err and not (tmp_path / "runs/x/train").exists()


@pytest.mark.parametrize(
    ("prefill", "words"),
    [
        ("Let me", "evaluate.prefill is 'Let me', but a trace begins '<think>\\nso</think>1'"),
        ("<think>", r"rows have ['n', 'k', '>\n', 's']; end it at a token boundary, such as '<think>\n'"),
    ],
)
def test_an_evaluation_prompt_that_differs_from_the_training_prompt(folder, tmp_path, prefill, words):
    """In training ">\\n" is one token, and a prefill that stops at ">" asks in another."""
    student = folder(template=None, tokenizer=merging_tokenizer(gpt2=False))
    tables = {"prompt": {"chat": False, "template": "{problem}="}, "evaluate": {"prefill": prefill}}
    traces = ["<think>\nso</think>1"]
    found = failing(examine(student, recipe_of(student, traces=traces, tmp_path=tmp_path, **tables)))
    assert list(found) == ["evaluation"] and words in found["evaluation"]
    tables["evaluate"]["prefill"] = "<think>\n"
    assert failing(examine(student, recipe_of(student, traces=traces, tmp_path=tmp_path, **tables))) == {}


def test_a_prompt_with_todays_date_in_it(folder):
    assert "writes today's date into every prompt" in failing(examine(folder(DATED), None))["evaluation"]


def test_a_context_that_is_too_short_with_the_edit_of_the_paper(folder):
    """Qwen2.5-Math: 4,096 positions at rope_theta 10,000; REDI and Open-R1 train it at 32,768 and 300,000."""
    student = folder(kind="qwen2", context=4096, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    train = {"sft": {"objective": "sft", "learning_rate": 1e-3, "max_tokens": 32768}}
    words = (
        "train.sft.max_tokens is 32,768 tokens, but the model's context is 4,096; write less, or student.config_edits: "
        "{max_position_embeddings: 32768, rope_theta: 300000}."
    )
    recipe = recipe_of(student, train=train)
    assert words in failing(examine(student, recipe))["context"]
    with pytest.raises(OperatorError, match=r"write less, or student\.config_edits: {max_position_embeddings: 32768"):
        make_plan(recipe)
    edited = student.model_copy(update={"config_edits": {"max_position_embeddings": 32768, "rope_theta": 300000}})
    assert failing(examine(edited, recipe_of(edited, train=train))) == {}
    half = student.model_copy(update={"config_edits": {"max_position_embeddings": 32768}})
    found = failing(examine(half, recipe_of(half, train=train)))
    assert list(found) == ["rope"] and "rope_theta: 300000" in found["rope"]


def test_the_edit_of_a_model_that_nobody_has_edited():
    config = AutoConfig.for_model("llama", max_position_embeddings=2048, hidden_size=128, num_attention_heads=2)
    # heads of 64, context times 2.5 (5,120 holds 5,000): 10,000 * 2.5^(64/62) = 25,750, to two digits 26,000
    assert context_edit(config, 5000) == {"max_position_embeddings": 5120, "rope_theta": 26000}
    learned = AutoConfig.for_model("gpt2", n_positions=64)
    assert context_edit(learned, 100) == {}


def test_a_token_beyond_the_embedding(folder):
    student = folder(vocab_size=50)
    assert "but the model knows 50 tokens" in failing(examine(student, None))["vocabulary"]
    with pytest.raises(OperatorError, match="but the model knows 50 tokens"):
        make_plan(recipe_of(student))


def test_a_template_that_breaks_off_or_reaches_out_is_a_sentence(folder):
    for template in ("{{ raise_exception('only in turn') }}", "{{ 1 + 'a' }}", "{{ ''.__class__.__mro__ }}{% if"):
        with pytest.raises(OperatorError, match=r"chat template cannot be rendered"):
            examine(folder(template), None)
    # transformers' sandbox: nothing of Python is reachable
    with pytest.raises(OperatorError, match="unsafe"):
        examine(folder("{{ messages.__class__.__subclasses__() }}"), None)


# --- templates that lose something, and tokens that nobody wrote ------------------------------------------------------

USERS = "{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}<eos>{% else %}<assistant>{{ m.content }}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
PAST = (  # Qwen3's manner: thinking stays in the last turn only
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and not loop.last %}"
    "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize(
    "template",
    [
        USERS.replace("<user>{{ m.content }}", "<user>"),
        USERS.replace("<user>{{ m.content }}", "<user>{{ m.text }}"),
        USERS.replace("<user>{{ m.content }}", "<user>{{ m.content.upper()[:3] }}"),
        "<user>Reason step by "
        "step.<eos>{% for m in messages %}{% if m.role == 'assistant' %}<assistant>{{ m.content }}<eos>{% endif %}{% endfor %}<assistant>",
    ],
)
def test_a_template_that_drops_the_question(folder, template):
    student = folder(template)
    assert "the chat template drops the question" in failing(examine(student, None))["question"]
    with pytest.raises(OperatorError, match="drops the question"):
        make_plan(recipe_of(student))
    assert failing(examine(folder(USERS), None)) == {}


def test_a_template_that_keeps_a_part_of_the_question(folder):
    for part in ("m.content.split('\n')[0]", "m.content.split('\n')[-1]"):
        sentence = failing(examine(folder(USERS.replace("<user>{{ m.content }}", f"<user>{{{{ {part} }}}}")), None))[
            "question"
        ]
        assert "drops a part of the question" in sentence


def test_a_template_that_drops_the_answer(folder):
    student = folder(USERS.replace("<assistant>{{ m.content }}<eos>", "<assistant><eos>"))
    assert "drops the answer of the assistant's turn" in failing(examine(student, None))["thinking"]


def test_a_template_that_deletes_the_thinking_of_past_turns_is_told(folder):
    found = examine(folder(PAST), None)
    assert failing(found) == {}  # rows have one turn
    assert found.notes == [
        "the chat template deletes <think>...</think> from the turns before the last question; rows here have one turn and keep it."
    ]
    assert f"note: {found.notes[0]}" in picture(found, colour=False) and as_json(found)["notes"] == found.notes


@pytest.mark.parametrize(
    ("template", "header"),
    [
        (TURN, "<assistant>"),
        (TURN + "{% if add_generation_prompt %}\n{% endif %}", "<assistant>"),
        (TURN + "{% if add_generation_prompt %}<think>{% endif %}", "<assistant>"),
        (TURN.replace("<{{ m.role }}>", "## {{ m.role }}:\n"), "## assistant:\n"),
    ],
)
def test_a_template_without_a_generation_prompt(folder, template, header):
    sentence = failing(examine(folder(template), None))["header"]
    assert f"it opens an assistant's turn with {header!r}" in sentence
    advice = sentence.partition("end chat_template with ")[2].partition(", or set")[0]
    assert "header" not in failing(
        examine(folder(TURN.replace(TURN, template.partition("{% if add")[0]) + advice), None)
    )


@pytest.mark.parametrize(
    "template",
    [
        HEALTHY,
        TURN + "<assistant>",  # asks always
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}<eos>{% endif %}{% endfor %}",
        # a channel after the role, as gpt-oss has it; an empty thought, as Qwen3 has it
        USERS.replace("<assistant>{{ m.content }}", "<assistant><final>{{ m.content }}"),
        USERS.replace("<assistant>{{ m.content }}", "<assistant><think>\n\n</think>\n\n{{ m.content }}"),
    ],
)
def test_templates_that_open_the_assistants_turn_in_their_own_way(folder, template):
    assert "header" not in failing(examine(folder(template), None))


def test_a_generation_prompt_of_another_role_is_told(folder):
    (note,) = examine(folder(TURN + "{% if add_generation_prompt %}<bot>{% endif %}"), None).notes
    assert "opens an assistant's turn with '<assistant>', but a prompt ends in '<bot>'" in note


def metaspace_tokenizer(kind):
    """One token a character, a space written as \u2581, and a dummy prefix in the manner of `kind`."""
    characters = [c for c in string.printable if c != " "]
    core = Tokenizer(models.BPE({w: i for i, w in enumerate(["<pad>", "<bos>", "<eos>", "\u2581", *characters])}, []))
    if kind == "normalizer":  # Llama 2
        core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        core.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=False)
        core.decoder = decoders.Metaspace(prepend_scheme=kind, split=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


@pytest.mark.parametrize("kind", ["always", "first", "normalizer"])
@pytest.mark.parametrize("template", [HEALTHY, None])
def test_a_dummy_prefix_before_every_completion(folder, kind, template):
    sentence = failing(examine(folder(template, metaspace_tokenizer(kind)), None))["dummy"]
    assert "a trace begins '<think>\\n2 an' and its row '\u2581', which stands nowhere in the text" in sentence
    assert "dummy" not in failing(examine(folder(template, metaspace_tokenizer("never")), None))  # the advice helps


def test_a_space_that_byte_level_tokenizers_add(folder):
    words = {w: i for i, w in enumerate(["<pad>", "<bos>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    for adds in (True, False):
        core = Tokenizer(models.BPE(words, []))
        core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=adds), decoders.ByteLevel()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
        )
        assert ("dummy" in failing(examine(folder(HEALTHY, tokenizer), None))) == adds


def test_a_trace_that_begins_with_a_space_has_no_dummy_prefix(folder, tmp_path):
    recipe = recipe_of(folder(HEALTHY, metaspace_tokenizer("never")), traces=[" 1"], tmp_path=tmp_path)
    assert "dummy" not in failing(examine(recipe.student, recipe))


def test_an_end_marker_before_the_eos_token_never_gets_loss(folder):
    """The turn ends with a marker and the conversation with <eos>: rows would hold the second alone."""
    tokenizer = character_tokenizer(string.printable)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    student = folder(
        HEALTHY.replace("<eos>", "<end>\n") + "{% if not add_generation_prompt %}<eos>{% endif %}", tokenizer
    )
    assert "set student.end_of_turn to '<end>'" in failing(examine(student, None))["turn"]


def test_an_end_marker_that_is_no_token(folder):
    sentence = failing(examine(folder(HEALTHY.replace("<eos>", "###END")), None))["turn"]
    assert "'###END' is not a token but a text of 6, so no row teaches it" in sentence


def test_a_template_without_a_system_role_whose_turns_end_in_their_own_token(folder):
    """Gemma: a system message is refused, <end_of_turn> ends a turn and <eos> is another token."""
    tokenizer = character_tokenizer(string.printable)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    gemma = (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<start>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}"
    )
    student = folder(gemma, opened_by_bos(tokenizer))
    found = examine(student, None)
    assert list(failing(found)) == ["turn"] and "set student.end_of_turn to '<end_of_turn>'" in failing(found)["turn"]
    assert found.notes == [
        "the chat template trims whitespace at the end of a message, so that of prompt.template is lost."
    ]
    assert failing(examine(student.model_copy(update={"end_of_turn": "<end_of_turn>"}), None)) == {}


def test_a_system_message_of_the_templates_own_is_told(folder):
    """Qwen2.5's: a default where none is given, and the given one in its place."""
    own = "{% if messages[0].role != 'system' %}<system>Be brief.<eos>{% endif %}" + HEALTHY
    found = examine(folder(own), None)
    assert failing(found) == {}
    assert found.notes == [
        "the chat template adds its own system message to every prompt, in training and in evaluation: 'Be brief.'."
    ]
    assert examine(folder(HEALTHY), None).notes == []


def test_a_tokenizer_that_loses_text_is_told(folder, tmp_path):
    """transformers takes the tokenizer of a qwen2 folder for Qwen2's own, whatever its tokenizer.json says: here, no spaces."""
    found = examine(folder(kind="qwen2"), None)
    assert found.notes == [
        "the tokenizer does not keep every text: of a trace with '<think>\\n2 and 2 mak' its tokens read '<think>2and2make4.<'."
    ]
    recipe = recipe_of(
        folder(tokenizer=character_tokenizer("<think>01")),
        traces=["<think>10</think>"],
        tmp_path=tmp_path,
        prompt={"template": "bare"},
    )
    assert (
        "of a trace with 'hink>10</think>' its tokens read 'hink>10<<unk>think>'"
        in examine(recipe.student, recipe).notes[0]
    )


# --- a prompt for each use ---------------------------------------------------------------------------------------------


def test_two_prompts_of_a_recipe_are_no_difference(folder, tmp_path):
    """The paper's: the bare problem in training, an instruction in evaluation, both in the chat template."""
    prompt = {"chat": True, "train": {"template": "bare"}, "evaluate": {"template": "plain"}}
    traces = ["<think>a</think>1", "<think>b</think>2"]
    recipe = recipe_of(folder(), traces=traces, tmp_path=tmp_path, prompt=prompt, evaluate={"prefill": "<think>"})
    found = examine(recipe.student, recipe)
    assert failing(found) == {}
    (row, _), text = as_json(found)["rows"], picture(found, colour=False)
    asked = "<user>0?\n\nReason step by step and put the final answer in \\boxed{}.\n\n<eos><assistant>"
    assert row["text"] == "<user>0?<eos><assistant><think>a</think>1<eos>" and row["question"] == asked
    # a character is a token and <eos> is one: 6 + 2 + 2 + 57 + 2 + 1 + 11 of the prompt, 7 of <think>
    assert f"evaluation asks it so (88 tokens):\n{asked}<think>\n" in text and len(row["asked"]) == 88
    assert (
        "prompt: training in the tokenizer's chat template, evaluation another, in the tokenizer's chat template"
        in text
    )
    make_plan(recipe)
    wrong = recipe_of(recipe.student, traces=traces, tmp_path=tmp_path, prompt=prompt, evaluate={"prefill": "Let me"})
    assert "evaluate.prefill is 'Let me'" in failing(examine(wrong.student, wrong))["evaluation"]


def test_rows_in_the_chat_template_and_an_evaluation_outside_of_it(folder):
    student = folder()
    for use, words in (
        ("train", "outside of the chat template and evaluation asks in it"),
        ("evaluate", "in the chat template"),
    ):
        recipe = recipe_of(student, prompt={"chat": True, use: {"chat": False}})
        assert f"rows stand {words}" in failing(examine(student, recipe))["evaluation"]


def test_an_opening_token_that_stands_twice_in_the_evaluation_prompt_alone(folder):
    student = folder(tokenizer=opened_by_bos(character_tokenizer(string.printable)))
    recipe = recipe_of(student, prompt={"chat": False, "evaluate": {"template": "<bos><bos>{problem}"}})
    assert "<bos> occurs 2 times in an evaluation prompt" in failing(examine(student, recipe))["bos"]


# --- the command ----------------------------------------------------------------------------------------------------------


def test_the_verb_lists_every_failure_on_stderr_and_exits_with_2(folder, capsys):
    student = folder(STRIPS.replace("<a>", "<assistant><think>"), vocab_size=50)
    with pytest.raises(SystemExit) as end:
        main(["doctor", student.model, "--json"])
    out, err = capsys.readouterr()
    found = {check["name"] for check in json.loads(out)["checks"] if not check["ok"]}
    assert end.value.code == 2 and found == {"thinking", "vocabulary", "opening"}
    assert len(err.splitlines()) == 3 and err.startswith("redistill: the chat template deletes")
    main(["doctor", folder().model, "--rows", "0"])
    out, err = capsys.readouterr()
    assert "ok    thinking" in out and "FAILS" not in out and err == ""


def test_the_verb_wants_a_model_or_a_recipe(capsys):
    for arguments in (["doctor"], ["doctor", "x", "--set", "seed=1"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2 and "doctor: " in capsys.readouterr().err


def test_the_quickstarts_student_is_healthy(capsys):
    recipe = "quickstart"
    main(["doctor", "--recipe", recipe])
    assert "the first 64 traces of corpus.sources.0" in capsys.readouterr().out
    assert load_tokenizer(StudentSettings(from_config={}, alphabet="01")).eos_token == "<eos>"
