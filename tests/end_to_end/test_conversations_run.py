"""Conversations and tool calls through a run: what is trained on is what a mask written by hand says, to the loss of a step."""

import json
import string

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.model.loading import character_tokenizer
from redistill.pipeline.run import run
from redistill.train.guard_state import read_lines

CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] %}({{ c.function.name }}){% endfor %}<eos>"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
ADD = {"type": "function", "function": {"name": "add", "arguments": "{}"}}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


ROWS = [
    {"messages": [turn("user", "1+1?"), turn("assistant", "2"), turn("user", "2+2?"), turn("assistant", "4")]},
    {"messages": [turn("user", "3+3?"), turn("assistant", None, tool_calls=[ADD]), turn("tool", "6"), turn("assistant", "six")]},
    {"messages": [turn("user", "4+4?"), turn("assistant", "8")]},
]  # fmt: skip
# each row in parts, with whether they are learned; the end of the last turn is added by the stage
BY_HAND = [
    [("[user]1+1?<eos>[assistant]", False), ("2<eos>", True), ("[user]2+2?<eos>[assistant]", False), ("4", True)],
    [("[user]3+3?<eos>[assistant]", False), ("(add)<eos>", True), ("[tool]6<eos>[assistant]", False), ("six", True)],
    [("[user]4+4?<eos>[assistant]", False), ("8", True)],
]


def joined(parts):
    """The text of some parts."""
    return "".join(text for text, _ in parts)


def rows_of(where, stream):
    """The rows of one of select's streams, by prompt."""
    found = [row for part in (where / "select" / stream).glob("*.parquet") for row in read_records(part)]
    return sorted(found, key=lambda row: row.prompt)


@pytest.fixture
def folder(tmp_path):
    tokenizer = character_tokenizer(string.printable)
    tokenizer.chat_template = CHAT
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                                  num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256)  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path


def recipe_of(folder, source="messages", **changes):
    base = {
        "name": "talk",
        "student": {"model": str(folder / "student")},
        "prompt": {"template": "bare", "chat": True},
        "corpus": {"sources": [{"name": source, "path": str(folder / "rows.jsonl")}], "dev_fraction": 0},
        "verify": {"verifiers": [], "labels": ["teacher_label"], "policy": "teacher_label", "workers": 1},
        "train": {"sft": {"objective": "sft", "learning_rate": 1e-9, "steps": 1, "batch_size": 3, "warmup": 0}},
        "evaluate": {"benchmarks": []},
        "report": {"token_changes": False},
        "execution": {"workers": 1},
    }
    return parse_recipe({**base, **changes}, "test")


def loss_by_hand(folder, rows):
    """Mean of -log p over the learned tokens of all rows, one row at a time, with transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(folder / "student").eval()
    tokenizer = character_tokenizer(string.printable)
    total, count = 0.0, 0
    for parts in rows:
        ids, learned = [], []
        for text, is_learned in parts:
            for piece in text.replace("<eos>", "\0"):  # one token a character, and one for <eos>
                ids.append(tokenizer.eos_token_id if piece == "\0" else tokenizer.convert_tokens_to_ids(piece))
                learned.append(is_learned)
        ids, learned = [*ids, tokenizer.eos_token_id], [*learned, True]
        with torch.no_grad():
            logps = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for place in range(1, len(ids)):
            if learned[place]:
                total, count = total - float(logps[place - 1, ids[place]]), count + 1
    return total / count


def test_every_turn_is_learned_and_nothing_that_users_and_tools_said(folder):
    where = run(recipe_of(folder), runs_dir=folder / "runs")
    rows = rows_of(where, "examples")
    assert [(row.prompt, row.completion) for row in rows] == [(parts[0][0], joined(parts[1:])) for parts in BY_HAND]
    (step,) = read_lines(where / "train/sft/metrics.jsonl")
    assert step["loss"] == pytest.approx(loss_by_hand(folder, BY_HAND), rel=1e-5)
    assert json.loads((where / "select/ledger.json").read_text())["tallies"]["conversations"] == {"every_turn": 2}


def test_the_last_turn_alone_where_the_recipe_says_so(folder):
    where = run(recipe_of(folder, select={"turns": "last"}), runs_dir=folder / "runs")
    last = [[(joined(parts[:-1]), False), parts[-1]] for parts in BY_HAND]
    rows = rows_of(where, "examples")
    assert [(row.prompt, row.completion) for row in rows] == [(prompt, end) for (prompt, _), (end, _) in last]
    (step,) = read_lines(where / "train/sft/metrics.jsonl")
    assert step["loss"] == pytest.approx(loss_by_hand(folder, last), rel=1e-5)


def test_pairs_share_the_conversation(folder):
    talk = [turn("user", "1+1?"), turn("assistant", "2"), turn("user", "2+2?")]
    rows = [
        {"prompt": talk, "chosen": [turn("assistant", "4")], "rejected": [turn("assistant", "5")]},
        {"chosen": [*talk[:2], turn("user", "3+3?"), turn("assistant", "6")], "rejected": [*talk[:2], turn("user", "3+3?"), turn("assistant", "7")]},
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    train = {"redi": {"objective": "redi", "start": "base", "learning_rate": 1e-4, "steps": 1, "batch_size": 2}}
    where = run(recipe_of(folder, "preference", train=train), runs_dir=folder / "runs")
    pairs = rows_of(where, "pairs")
    begin = "[user]1+1?<eos>[assistant]2<eos>"
    assert [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs] == [
        (f"{begin}[user]2+2?<eos>[assistant]", "4", "5"),
        (f"{begin}[user]3+3?<eos>[assistant]", "6", "7"),
    ]


def test_without_a_chat_template_the_way_out_is_said(folder):
    with pytest.raises(
        OperatorError, match=r"conversation of several turns.*set prompt.chat to true.*conversations: false"
    ):
        run(recipe_of(folder, prompt={"template": "bare"}), runs_dir=folder / "runs")
