"""`redistill validate` says the same without torch as with it, and loads torch where a check computes with it."""

import json
import os
import subprocess
import sys

import pytest

from bpe_students import bpe, cut_of, saved
from redistill.tools.validate import mistakes, notes

RECIPE = """\
name: small
student: {{model: {model}}}
prompt: {{template: bare}}
corpus: {{sources: [{{name: traces, path: {traces}}}]}}
train:
  sft: {{objective: sft, learning_rate: 1e-3}}
  redi: {{objective: {{name: redi, rejected_weight: 0.8}}, start: sft, learning_rate: 1e-4}}
evaluate: {{max_new_tokens: 64}}
"""
FAST = {
    "fine": [],
    "a source": ["corpus.sources.0.path=no.jsonl"],
    "a policy": ["verify.policy=teacher_label"],
    "a pairing": ["select.pairing=certan"],
    "on the hub": ["student.model=org/name"],
}
SLOW = {  # what torch or the tokenizer's library is asked about, so what it says is said with them loaded
    "a context": ["evaluate.max_new_tokens=4096"],
    "options that exclude each other": ["train.redi.objective=simpo", "train.redi.objective.gamma_beta_ratio=0.5"],
    "a chat template": ["prompt.chat=true"],
    "an end of turn": ["student.end_of_turn=<|stop|>"],
    "measures of a distribution": ["train.redi.objective=distill", "train.redi.teacher=base"],
    "a student that is built": ["student.model=null", "student.from_config.hidden_size=7", "student.alphabet=0123"],
}
PROGRAM = """
import json, sys
from redistill.cli import printing
from redistill.cli.without_torch import is_torch_loaded
path, students, cases = json.loads(sys.argv[1])
said = {}
for name, overrides in cases.items():
    checked = printing._validate_without_torch({"recipe": path, "overrides": overrides, "code": []}, students[name])
    said[name] = None if checked is None else [[*checked], [*checked.notes]]
print(json.dumps([said, is_torch_loaded()]))
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validate")
    model = saved(folder / "model", bpe(cut_of("smollm")))
    trace = {"problem": "1+1=", "answer": "2", "trace": "1+1=2", "extra": 3}
    (folder / "traces.jsonl").write_text("".join(json.dumps(trace) + "\n" for _ in range(3)))
    (folder / "my.yaml").write_text(RECIPE.format(model=model, traces=folder / "traces.jsonl"))
    return folder / "my.yaml"


@pytest.fixture(scope="module")
def without(recipe):
    """(case -> [mistakes, notes] found without torch, or None; True where torch was loaded)."""
    cases = FAST | SLOW
    students = {name: "org/name" if name == "on the hub" else str(recipe.parent / "model") for name in cases}
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, json.dumps([str(recipe), students, cases])]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **path}, check=True)
    said, loaded = json.loads(done.stdout)
    assert not loaded  # every stand-in and everything that was imported beside them is forgotten
    return said


@pytest.mark.parametrize("case", FAST)
def test_the_same_is_said_without_torch(recipe, without, case):
    said = mistakes(recipe, FAST[case])
    assert without[case] == [said, [] if said else notes(recipe, FAST[case])]
    assert case in ("fine", "on the hub") or len(said) == 1


@pytest.mark.parametrize("case", SLOW)
def test_what_needs_torch_is_left_to_torch(recipe, without, case):
    assert without[case] is None
    assert case == "measures of a distribution" or mistakes(recipe, SLOW[case])


def test_the_command_loads_no_torch_for_a_recipe_that_is_fine(recipe):
    program = (
        "import sys\n"
        "from redistill.cli import main\n"
        "main(sys.argv[1:])\n"
        "print(*{'torch', 'transformers', 'accelerate'} & sys.modules.keys())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "validate", str(recipe)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True,
    )  # fmt: skip
    *_, fine, loaded = done.stdout.split("\n")[:-1]
    assert fine.endswith("my.yaml is fine") and loaded == ""
