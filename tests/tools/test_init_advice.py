"""What init advises beside a file's own pairs: own answers where they can be judged, and a stage that only needs its # taken away."""

import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import read_text
from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import survey
from redistill.model.loading import character_tokenizer
from redistill.tools.init import advice_for, choices_for, judge, recipe_text

PAGE = Path(__file__).parents[2] / "docs/how-to/which-recipe.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = character_tokenizer(string.printable)
    tokenizer.save_pretrained(folder)
    AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=16, num_attention_heads=2).save_pretrained(
        folder
    )
    return str(folder)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*, gold: bool, wrong: bool) -> list[dict[str, Any]]:
    found = []
    for n in range(2, 10):
        for right in (True, False) if wrong else (True, True):
            row = {"problem": f"What is {n}+{n}?", "response": f"so {n} and {n} \\boxed{{{2 * n if right else 1}}}"}
            found.append(row | ({"answer": str(2 * n)} if gold else {"correct": right}))
    return found


def look(model: str, **kind: bool) -> tuple[str, str]:
    """(the advice, the recipe) for a file with or without gold answers and wrong traces."""
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(**kind)))
    found = survey("rows.jsonl", SOURCES)
    judged = judge(found.best)
    choices = choices_for(found, judged, "rows.jsonl", model)
    return advice_for(found, judged, choices).why, recipe_text(
        found, judged, traces="rows.jsonl", model=model, name="mine", choices=choices
    )


def test_with_gold_answers_own_answers_are_advised_and_the_stage_is_a_comment(model: str) -> None:
    why, text = look(model, gold=True, wrong=True)
    assert "gained more than the teacher's wrong traces" in why and "5,120 answers" in why
    assert set(read_text(text, "it")["train"]) == {"sft", "control", "redi"}


@pytest.mark.parametrize("wrong", [True, False])
def test_the_stage_is_a_recipes_once_its_marks_are_taken_away(model: str, wrong: bool) -> None:
    _, text = look(model, gold=True, wrong=wrong)
    start = text.index("  # own:")
    block = text[start : text.index("\n\n", start)]
    recipe = parse_recipe(read_text(text.replace(block, re.sub(r"(?m)^  # ", "  ", block)), "it"), "it")
    own = recipe.train["own"]
    assert own.objective.name == "topr" and own.start == "sft" and own.rollouts is not None
    assert own.rollouts.problems * own.rollouts.n * own.rollouts.rounds == 5120


def test_without_gold_answers_none_is_advised_and_the_wrong_traces_are(model: str) -> None:
    why, text = look(model, gold=False, wrong=True)
    assert "they cannot be verified" in why and "topr and redi" in why and "own:" not in text


def test_without_wrong_traces_own_answers_make_the_pairs(model: str) -> None:
    why, text = look(model, gold=True, wrong=False)
    assert why.startswith("No wrong trace was seen") and "  # own:" in text
    assert set(read_text(text, "it")["train"]) == {"sft"}


@pytest.mark.parametrize("kind", [{"gold": True, "wrong": True}, {"gold": False, "wrong": True}])
def test_the_advice_is_two_sentences_and_names_a_page_that_exists(model: str, kind: dict[str, bool]) -> None:
    why, _ = look(model, **kind)
    assert "docs/how-to/which-recipe.md" in why and PAGE.exists()
    assert len(re.findall(r"\.(?: |$)", why)) == 2
