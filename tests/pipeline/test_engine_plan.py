"""A recipe whose engine is a server: what is refused before anything is trained, and what repeats no evaluation."""

import pytest

from redistill.config.parsing import load_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from tiny_recipe import fresh_fingerprints

QUICKSTART = "quickstart"
URL = "evaluate.engine={name: openai, base_url: 'http://127.0.0.1:8000/v1', %s}"


def plan(*overrides):
    return make_plan(load_recipe(QUICKSTART, overrides))


def test_a_server_holds_one_student():
    with pytest.raises(
        OperatorError, match=r"a server serves one student, but base, sft, control, redi are to be scored"
    ):
        plan(URL % "model: m")
    plan(URL % "model: m", "evaluate.models=[redi]")
    plan(URL % "model: '{student}'")


def test_a_prompt_is_not_wrapped_in_two_chat_templates():
    with pytest.raises(OperatorError, match="chat template a second time"):
        plan(URL % "api: chat", "evaluate.models=[redi]", "prompt.chat=true")


def test_how_a_server_is_reached_is_no_part_of_the_result_and_who_is_asked_is():
    elsewhere = URL.replace("8000", "9000") % "model: m, concurrency: 4, key_env: K"
    first, moved, other = (
        fresh_fingerprints(load_recipe(QUICKSTART, [engine, "evaluate.models=[redi]"]))
        for engine in (URL % "model: m", elsewhere, URL % "model: n")
    )
    assert moved == first
    assert other["evaluate/redi/dev"] != first["evaluate/redi/dev"] and other["train/redi"] == first["train/redi"]
