"""A prompt is part of the keys of the stages that use it, and of no others."""

from redistill.config.parsing import parse_recipe
from redistill.config.tables import StudentSettings
from redistill.model import loading
from tiny_recipe import RECIPE, fresh_fingerprints

CHAT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"


def fingerprints(prompt, **more):
    return fresh_fingerprints(parse_recipe({**RECIPE, "prompt": prompt, **more}, "x"))


def changed(before, after):
    """The stages whose fingerprints differ."""
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_one_prompt_written_in_either_way_is_the_same_run():
    plain = fingerprints({"template": "bare"})
    assert fingerprints({"train": {"template": "bare"}, "evaluate": {"template": "bare"}}) == plain
    assert fingerprints({"template": "plain", "train": {"template": "bare"}}) != plain


def test_another_evaluation_prompt_leaves_what_was_trained():
    plain = fingerprints({"template": "bare"})
    other = fingerprints({"template": "bare", "evaluate": {"template": "{problem}="}})
    answers = {f"evaluate/{name}/dev{part}" for name in ("base", "sft", "redi") for part in ("", "/scores")}
    assert changed(plain, other) == answers


def test_another_training_prompt_makes_rows_and_students_anew():
    plain = fingerprints({"template": "bare"})
    found = changed(plain, fingerprints({"template": "bare", "train": {"template": "{problem}="}}))
    assert {"select", "select:examples", "select:pairs", "train/sft", "train/redi", "evaluate/sft/dev"} <= found
    assert not {"corpus", "verify"} & found


def test_a_guards_probe_asks_with_the_evaluation_prompt(tmp_path):
    """So a stage that is probed depends on it, the chat template included."""
    student = StudentSettings(**RECIPE["student"])
    tokenizer = loading.load_tokenizer(student)
    tokenizer.chat_template = CHAT
    loading.save_model(loading.load_model(student, tokenizer, seed=0), tokenizer, tmp_path / "model", card="")
    train = {"redi": {**RECIPE["train"]["redi"], "start": "base", "guard": {"probe_every": 1}}}
    more = {"student": {"model": str(tmp_path / "model")}, "train": train}
    plain = fingerprints({"template": "bare"}, **more)
    for evaluate in ({"template": "{problem}="}, {"chat": True}):
        found = changed(plain, fingerprints({"template": "bare", "evaluate": evaluate}, **more))
        assert "train/redi" in found and "select" not in found
