"""The commands as functions: light to import, and with the answers of the command line."""

import json
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

import redistill
from redistill import api
from redistill.cli import main
from redistill.errors import OperatorError

RECIPE = {
    "name": "small",
    "student": {"from_config": {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                                "max_position_embeddings": 128}, "alphabet": "0123456789+-*=;#"},
    "prompt": {"template": "bare"},
    "corpus": {"sources": [{"name": "two-habits", "problems": 30, "traces": 3, "digits": 4}], "dev_fraction": 0.2, "shards": 1},
    "verify": {"workers": 1},
    "train": {"redi": {"objective": "redi", "batch_size": 4, "steps": 1, "learning_rate": 1e-3}},
    "evaluate": {"n": 1, "max_new_tokens": 4},
}  # fmt: skip


def test_importing_the_verbs_brings_nothing_slow():
    code = "import sys; from redistill import api; print([m for m in ('torch', 'transformers', 'pyarrow') if m in sys.modules])"
    environment = {"PYTHONPATH": str(Path(redistill.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_a_run_its_scores_and_its_records_without_the_command_line(tmp_path, capsys):
    folder = api.run(RECIPE, overrides=["seed=2"], name="mine", runs_dir=tmp_path)
    assert folder == tmp_path / "mine" and RECIPE["name"] == "small" and "seed" not in RECIPE
    main(["scores", str(folder), "--json"])
    assert json.loads(capsys.readouterr().out) == api.scores(folder)
    (folder / "report.html").unlink()
    assert "redi" in api.report(folder).read_text()
    pair = api.show(next(folder.glob("select/pairs/*.parquet")))
    assert "select" in {step.stage for step in api.why(pair["chosen_id"], folder)}
    found = api.compare(folder, folder, students=("redi", "base"))
    assert found[0]["benchmark"] == "dev" and list(folder.glob("compare/*.json"))
    agreement = api.regrade(folder, ["exact"], students=["redi"], workers=1)
    assert [(row["a"], row["b"]) for row in agreement] == [("cascade", "exact")]


def test_recipes_are_given_as_files_or_data_and_mistakes_are_sentences(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(RECIPE))
    assert api.validate(path) == []
    assert "did you mean 'name'" in api.validate(path, overrides=["nam=x"])[0]
    with pytest.raises(OperatorError, match=r"train\.redi\.batch_size"):
        api.run({**RECIPE, "train": {"redi": {**RECIPE["train"]["redi"], "batch_size": 0}}}, runs_dir=tmp_path)
    assert api.doctor(recipe=RECIPE).sentences == []


def test_a_file_is_judged_and_a_recipe_written(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # nobody waits for a hub here
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"gold": "4", "said": "\\\\boxed{4}"}\n{"gold": "4", "said": "\\\\boxed{5}"}\n')
    found = api.verify(rows, gold="gold", prediction="said", workers=1)
    assert found["outcomes"] == {"cascade": {"correct": 1, "incorrect": 1}}
    traces = tmp_path / "mine.jsonl"
    traces.write_text('{"problem": "2+2?", "answer": "4", "generations": [{"text": "4"}, {"text": "5"}]}\n')
    out = api.init(traces, "org/model", out=tmp_path / "mine.yaml")
    assert api.validate(out) == []
    with pytest.raises(OperatorError, match="already exists"):
        api.init(traces, "org/model", out=out)
    assert api.serve("org/model", engine="transformers", port=8123)[-1] == "8123"
