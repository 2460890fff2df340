"""What `redistill init` shows of a file, and the recipe that follows from it. Its runs are in tests/end_to_end/test_init.py."""

import json
import shutil
import string
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from redistill.config.binding import options_of
from redistill.config.yaml_text import read_text
from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import SECOND, Survey, survey
from redistill.errors import OperatorError
from redistill.model.loading import character_tokenizer
from redistill.tools.init import Judged, judge, recipe_text, table

NUMBERS = range(2, 8)
OPENS = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tokenizer without a chat template, and one whose template opens <think>."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = character_tokenizer(string.printable)
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=16, num_attention_heads=2)
    for name, template in (("plain", None), ("opens", OPENS)):
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder / name)
        config.save_pretrained(folder / name)
    return {name: str(folder / name) for name in ("plain", "opens")}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder a user stands in: the recipe's path is read from here, to count the file."""
    monkeypatch.chdir(tmp_path)


def look(tmp_path: Path, rows: list[dict[str, Any]]) -> Survey:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return survey(str(tmp_path / "rows.jsonl"), SOURCES)


def recipe(found: Survey, model: str) -> dict[str, Any]:
    return dict(read_text(recipe_text(found, judge(found.best), traces="rows.jsonl", model=model, name="mine"), "it"))


def row(n: int, right: bool, **more: Any) -> dict[str, Any]:
    return {
        "problem": f"What is {n}+{n}?",
        "answer": str(2 * n),
        "response": f"so \\boxed{{{2 * n if right else 1}}}",
        **more,
    }


def test_the_recipe_has_the_line_that_editors_take_their_schema_from(tmp_path: Path, models: dict[str, str]) -> None:
    found = look(tmp_path, [row(n, right) for n in NUMBERS for right in (True, False)])
    text = recipe_text(found, judge(found.best), traces="rows.jsonl", model=models["plain"], name="mine")
    assert "# yaml-language-server: $schema=recipe.schema.json" in text.splitlines()


def test_the_table_shows_every_source_and_two_examples_and_what_is_left_out(tmp_path: Path) -> None:
    rows = [row(n, right, uuid=n) for n in NUMBERS for right in (True, False)]
    rows += [{"problem": "?", "answer": "1", "response": 5}]
    found = look(tmp_path, rows)
    best = judge(found.best)
    per_problem = {"right_per_problem": 1.0, "pairs_per_problem": 1.0}
    assert best == Judged(right=6, wrong=6, undecided=0, pairs=6, by="gold answers", **per_problem)
    lines = table(found, best).splitlines()
    assert lines[0].split() == ["source", "rows", "traces", "right", "wrong", "dropped"]
    assert lines[1].split()[:7] == ["completions", "12", "of", "13", "12", "6", "6"]
    assert "wrong_type 1 (rows.jsonl:12: column `response` holds 5" in lines[1]
    readers = {name for name, source in SOURCES.items() if "path" in options_of(source)} - set(SECOND)
    assert {line.split()[0] for line in lines[1 : len(readers) + 1]} == readers
    assert lines.count("  What is 2+2?") == lines.count("  so \\boxed{4}") == 1 and "  What is 3+3?" in lines
    assert lines[-2:] == ["columns that are not read: uuid", "no source reads the columns: uuid"]


def test_labels_that_say_wrong_are_heard_beside_the_gold_answers(tmp_path: Path, models: dict[str, str]) -> None:
    found = look(tmp_path, [row(n, right, correct=right) for n in NUMBERS for right in (True, False)])
    made = recipe(found, models["plain"])
    assert made["verify"] == {"verifiers": ["cascade"], "labels": ["teacher_label"], "policy": "agree"}
    assert list(made["train"]) == ["sft", "control", "redi"]
    all_right = look(tmp_path, [row(n, right, correct=True) for n in NUMBERS for right in (True, False)])
    assert recipe(all_right, models["plain"])["verify"] == {
        "verifiers": ["cascade"],
        "labels": [],
        "policy": "cascade",
    }


def test_a_file_that_holds_no_pair_gets_no_stage_that_needs_one(tmp_path: Path, models: dict[str, str]) -> None:
    right_only = look(tmp_path, [row(n, True) for n in NUMBERS])
    assert list(recipe(right_only, models["plain"])["train"]) == ["sft"]
    cut = look(
        tmp_path,
        [row(n, right, finish_reason="stop" if right else "length") for n in NUMBERS for right in (True, False)],
    )
    assert list(recipe(cut, models["plain"])["train"]) == ["sft"]  # what was cut off is not wrong


def test_thinking_is_opened_where_the_students_template_does_not(tmp_path: Path, models: dict[str, str]) -> None:
    rows = [{**row(n, True), "response": f"work\n</think>\n\\boxed{{{2 * n}}}"} for n in NUMBERS]
    (source,) = recipe(look(tmp_path, rows), models["plain"])["corpus"]["sources"]
    assert source["open_thinking"] is True
    (source,) = recipe(look(tmp_path, rows), models["opens"])["corpus"]["sources"]
    assert "open_thinking" not in source


def test_gold_answers_that_are_the_traces_own_are_refused(tmp_path: Path, models: dict[str, str]) -> None:
    rows = [{**row(n, right), "answer": str(2 * n if right else 1)} for n in NUMBERS for right in (True, False)]
    with pytest.raises(
        OperatorError,
        match=r"column `answer` holds different answers to the same problem, for 6 of 6 problems .*write the gold answer there",
    ):
        recipe(look(tmp_path, rows), models["plain"])


def test_a_known_data_set_and_columns_of_a_list_come_back_from_the_recipe(
    tmp_path: Path, models: dict[str, str]
) -> None:
    rows = [
        {
            "question": f"{n}?",
            "final_answer": str(n),
            "r1_solution_1": f"\\boxed{{{n}}}",
            "r1_solution_2": "\\boxed{1}",
            "r1_solution_3": "no",
        }
        for n in NUMBERS
    ]
    found = look(tmp_path, rows)
    text = recipe_text(found, judge(found.best), traces="rows.jsonl", model=models["plain"], name="mine")
    assert "the columns are those of zwhe99/DeepMath-103K" in text
    (source,) = read_text(text, "it")["corpus"]["sources"]
    assert source["completions_column"] == ["r1_solution_1", "r1_solution_2", "r1_solution_3"]


def test_a_chat_template_that_cannot_be_rendered_is_named(tmp_path: Path, models: dict[str, str]) -> None:
    broken = Path(shutil.copytree(models["opens"], tmp_path / "broken"))
    (broken / "chat_template.jinja").write_text("{{ messages }")
    found = look(tmp_path, [row(n, n % 2 == 0) for n in NUMBERS])
    text = recipe_text(found, judge(found.best), traces="rows.jsonl", model=str(broken), name="mine")
    assert "chat: false      # the tokenizer's chat template cannot be rendered" in text
