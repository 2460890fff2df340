"""What is thought is told from what is answered, whatever the tags; and the model's turn from what follows it."""

import time

import pytest

from redistill.text.thinking import own_turn, read_thinking, split_thinking, thinking_state


def test_the_answer_is_what_follows_the_last_end_of_thought():
    assert split_thinking("<think>a</think>b") == ("a", "b")
    assert split_thinking("a</think>b") == ("a", "b")  # the opening mark stood in the prompt
    assert split_thinking("<think>a</think>b<think>c</think>d") == ("a</think>b<think>c", "d")
    assert split_thinking("no thought") == ("", "no thought")


def test_a_thought_that_never_ends_has_no_answer():
    assert split_thinking("<think>the answer is 4") == ("the answer is 4", "")


TAGS = [
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("< think >", "< / think >"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>\n", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<internal_monologue>", "</internal_monologue>"),
    ("<inner_thoughts>", "</inner_thoughts>"),
    ("<thought_process>", "</thought_process>"),
    ("<chain-of-thought>", "</chain-of-thought>"),
    ("<analysis>", "</analysis>"),
    ("<CoT>", "</CoT>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think|>", "<|/think|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|im_start|>think\n", "<|im_start|>answer\n"),
    ('<details type="reasoning" done="true">', "</details>"),
    ("Thinking...\n", "...done thinking.\n"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final <|constrain|>json<|message|>"),
    ("analysis", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), TAGS, ids=[opening for opening, _ in TAGS])
def test_every_spelling_of_the_tags_is_known(opening, closing):
    whole = read_thinking(f"{opening}Perhaps it is 5.{closing}It is 7.")
    assert (whole.thinking.strip(), whole.answer.strip(), whole.state) == ("Perhaps it is 5.", "It is 7.", "closed")
    assert read_thinking(f"{opening}Perhaps it is 5, but")[1:] == ("", "open")
    assert thinking_state("It is 7.") == "none"


def test_nested_and_second_thoughts_must_all_be_closed():
    assert thinking_state("<thinking>a<reflection>b</reflection>c") == "open"
    assert read_thinking("<thinking>a<reflection>b</reflection>c</thinking>d").answer == "d"
    assert thinking_state("<think>a</think> It is 7. <think>or") == "open"
    assert read_thinking("<think><think>a</think>b").answer == "b"  # the template opened it, and the model once more
    assert thinking_state("<think>a</thought>b") == "open"


@pytest.mark.parametrize(
    "text",
    [
        "The tag <think> is used by models. It is 7.",
        "Models write <think> and </think> tags. It is 7.",
        "I put it in `<think>` as asked. It is 7.",
        'A "<thinking>" block holds it. It is 7.',
        "I reasoned inside <reasoning> tags. It is 7.",
        "Use <think>...</think> for it. It is 7.",
        "It is [thinking] of 7.",
        "analysis of the case gives 7",
    ],
)
def test_a_mention_of_a_tag_opens_nothing(text):
    assert read_thinking(text) == ("", text, "none")


@pytest.mark.parametrize(
    "text", ["It is 7. <think>or 5", "It is 7\n<think> or 5", "Let me see <think> perhaps 5", "<think> is it 5"]
)
def test_what_may_be_a_thought_is_one(text):
    assert thinking_state(text) == "open"


ENDS = [
    "<|im_end|>", "<|im_start|>user\n", "<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "</s>", "<s>[INST] ", "[INST] ",
    "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<start_of_turn>user", "<eos>", "<|end|>", "<|user|>", "<|return|>",
    "<｜User｜>", "<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "[|endofturn|]", "<|start|>user<|message|>", "<extra_id_1>User",
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_the_turn_ends_at_the_token_of_every_template(end):
    assert own_turn(f"It is 7.{end}And 3*3? It is 9.") == "It is 7."


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>assistant\nIt is 7.<|im_end|>",
        "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nIt is 7.<|im_end|>",
        "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\nIt is 7.<|eot_id|>",
        "<start_of_turn>model\nIt is 7.<end_of_turn>",
        "<s>[INST] What? [/INST]It is 7.</s>",
        "<｜User｜>What?<｜Assistant｜>It is 7.<｜end▁of▁sentence｜>",
        "<|start|>assistant<|channel|>final<|message|>It is 7.<|return|>",
    ],
)
def test_the_header_of_the_turn_is_no_part_of_it(text):
    assert split_thinking(text)[1].strip() == "It is 7."


def test_inequalities_and_brackets_end_nothing():
    for text in ("x < 3 and y > [2]", "[1, 2], <1, 2>", "a <b> c", "list<int> [INSTANCE]"):
        assert split_thinking(text) == ("", text)


@pytest.mark.parametrize(
    "text",
    ["<" * 500_000, "<think>" * 60_000, "< " * 300_000, "<" + " " * 2_000_000, "<|channel|>" + "a" * 2_000_000, "[THINK" * 200_000,
     "<details " * 100_000, "<think> and </think>" * 40_000, "<|im_start|>assistant" * 50_000],
    ids=range(9),
)  # fmt: skip
def test_nonsense_takes_linear_time(text):
    started = time.process_time()
    read_thinking(text)
    assert time.process_time() - started < 20
