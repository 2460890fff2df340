"""`redistill init` writes no recipe whose run could only stop: files of every kind of trace that makes no row."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from redistill import api
from redistill.config.yaml_text import read_tree
from redistill.errors import OperatorError
from redistill.model.loading import character_tokenizer
from redistill.tools.init_answers import init_recipe


@pytest.fixture(autouse=True)
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student without a chat template, with a context of 512 characters."""
    monkeypatch.chdir(tmp_path)
    tokenizer = character_tokenizer(string.printable)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 512}
    AutoConfig.for_model("llama", vocab_size=len(tokenizer), **shape).save_pretrained("student")
    tokenizer.save_pretrained("student")


def init(rows: list[dict[str, Any]]) -> Any:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = init_recipe("rows.jsonl", "student", name="mine", out=None, split=None)
    return read_tree(written.path, [])


def problems(*says: str, **more: Any) -> list[dict[str, Any]]:
    """Twelve problems n+n, each with these traces, in which R stands for the right answer and W for a wrong one."""
    return [
        {
            "problem": f"What is {n}+{n}?",
            "answer": str(2 * n),
            "generations": [text.replace("R", str(2 * n)).replace("W", str(2 * n + 1)) for text in says],
            **more,
        }
        for n in range(12)
    ]


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (["so \\boxed{W}", "then \\boxed{W}"], "not_correct:incorrect"),
        (["so R", "so W"], "not_correct:no_answer"),
        (["x" * 3000 + "\\boxed{R}", "y" * 3000 + "\\boxed{W}"], "completion_too_long"),
    ],
    ids=["all wrong", "no answer to read", "longer than the context"],
)
def test_a_file_of_which_no_row_can_be_made_is_refused_with_the_reason(says: list[str], why: str) -> None:
    with pytest.raises(OperatorError, match=r"^rows\.jsonl: no example was made from 24 traces") as refused:
        init(problems(*says))
    assert why in str(refused.value) and not Path("mine.yaml").exists()


def test_where_the_students_tokens_are_shorter_than_most_the_context_is_named() -> None:
    with pytest.raises(OperatorError, match=r"none of the \d+ examples fits into the student's context of 512 tokens"):
        init(problems("x" * 900 + "\\boxed{R}", "y" * 900 + "\\boxed{W}"))


def test_conversations_are_refused_where_the_student_has_no_chat_template() -> None:
    turns = [{"role": role, "content": "so \\boxed{2}"} for role in ("user", "assistant", "user", "assistant")]
    with pytest.raises(OperatorError, match="chat template"):
        init([{"messages": [{**turns[0], "content": f"{n}?"}, *turns[1:]]} for n in range(8)])
    assert not Path("mine.yaml").exists()


def test_where_labels_and_verifier_leave_no_pair_the_recipe_has_no_stage_of_pairs() -> None:
    # the label calls the second trace wrong, and the verifier finds no answer in it: nobody is sure
    assert set(init(problems("so \\boxed{R}", "so W", correctness=[True, False]))["train"]) == {"sft"}
    Path("mine.yaml").unlink()
    assert "redi" in init(problems("so \\boxed{R}", "so \\boxed{W}", correctness=[True, False]))["train"]


def test_the_token_that_ends_turns_is_the_chat_templates(tmp_path: Path) -> None:
    # as of base models: the template ends turns with a token that is not the tokenizer's end token
    Path("student/chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}~{% endfor %}")
    assert init(problems("so \\boxed{R}", "so \\boxed{W}"))["student"]["end_of_turn"] == "chat-template"
    assert not api.doctor(recipe="mine.yaml").sentences
    Path("mine.yaml").unlink()
    Path("student/chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}<eos>{% endfor %}")
    assert "end_of_turn" not in init(problems("so \\boxed{R}", "so \\boxed{W}"))["student"]
