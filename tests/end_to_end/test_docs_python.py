"""The Python on the pages runs: commands as functions, only the objective, only the verifier, the examples of extend.md, and the
notebook, whose cells are run in their order in one process (no kernel: nothing of Jupyter is installed here)."""

import ast
import importlib
import json
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from mini import MINI
from test_docs_commands import blocks

ROOT = Path(__file__).parents[2]
PYTHON, EXTEND = (ROOT / "docs/how-to" / name for name in ("python.md", "extend.md"))
NOTEBOOK = ROOT / "examples/traces-to-report.ipynb"
sys.path += [str(ROOT / "tests" / stage_dir) for stage_dir in ("train", "corpus")]  # where extend.md puts its tests


def run_block(text, name="__page__"):
    """The names that a block of Python defines."""
    names = {"__name__": name}
    exec(compile(text, name, "exec"), names)
    return names


def test_a_verb_is_called_as_the_page_shows(tmp_path, monkeypatch, capsys):
    tree = yaml.safe_load(MINI)
    tree["evaluate"] |= {"models": ["redi"], "n": 1}
    tree["diagnosis"] = None
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/quickstart.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    run_block(blocks(PYTHON, "python")[0].replace('"quickstart"', '"recipes/quickstart.yaml"'))  # a small one
    name, score = capsys.readouterr().out.split()
    assert name == "redi" and 0 <= float(score) <= 1 and (tmp_path / "runs/from-python/report.html").exists()


def test_only_the_objective_gives_the_loss_of_an_ordinary_forward_pass():
    from transformers import AutoConfig, AutoModelForCausalLM

    redi_loss = run_block(blocks(PYTHON, "python")[1])["redi_loss"]
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                  num_attention_heads=2, num_key_value_heads=2)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    ids, lengths, prompt = torch.randint(30, (4, 9)), [9, 6, 7, 8], 2  # chosen, rejected, chosen, rejected
    attention = torch.tensor([[int(place < length) for place in range(9)] for length in lengths])
    completion = attention.clone()
    completion[:, :prompt] = 0
    expected = 0.0
    for row, length in enumerate(lengths):  # one unpadded row at a time
        logits = model(ids[row : row + 1, :length]).logits[0].double().log_softmax(-1)
        mean = sum(logits[t - 1, ids[row, t]] for t in range(prompt, length)) / (length - prompt)
        expected += (0.8 if row % 2 else -1.0) * mean / 2
    assert redi_loss(model, ids, attention, completion).item() == pytest.approx(expected.item(), rel=1e-4)


def test_only_the_verifier_says_what_the_page_says(capsys):
    block = blocks(PYTHON, "python")[2]
    run_block(block)
    said = capsys.readouterr().out.splitlines()
    assert " / ".join(said) == block.strip().splitlines()[-1].removeprefix("# ")


@pytest.fixture
def pieces():
    return blocks(EXTEND, "python")


def test_the_objective_of_the_page_passes_the_test_of_the_page(pieces):
    module, tests = (
        importlib.import_module("redistill.train.objectives.preference"),
        importlib.import_module("train.test_objectives"),
    )
    names = {**vars(module)}
    exec(pieces[0], names)
    scope = {**vars(tests), "cpo": names["cpo"]}
    exec(pieces[1], scope)
    scope["test_cpo_by_hand"]()


def as_module(name, text, monkeypatch):
    module = types.ModuleType(name)
    exec(compile(text, name, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_the_verifier_of_the_page_passes_the_test_of_the_page(pieces, monkeypatch):
    as_module("redistill.verify.yes_no", pieces[2], monkeypatch)
    test = run_block(pieces[3])["test_only_a_clear_yes_or_no_is_judged"]
    (cases,) = [mark.args[1] for mark in test.pytestmark]
    assert len(cases) == 4
    for case in cases:
        test(*case)


def test_the_source_of_the_page_passes_the_test_of_the_page(pieces, monkeypatch, tmp_path):
    from redistill.corpus import SOURCES

    module = as_module("redistill.corpus.attempts", pieces[4], monkeypatch)
    monkeypatch.setitem(SOURCES, "attempts", module.attempts)
    scope = {**vars(importlib.import_module("test_corpus_sources"))}
    exec(pieces[5], scope)
    scope["test_attempts_become_traces_without_labels"](tmp_path)


@pytest.mark.recipes
def test_the_notebook_runs_from_its_first_cell_to_its_last(capsys):
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert 14 <= len(cells) <= 22
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile(ast.parse(cell), f"cell {number}", "exec"), names)
    assert (names["run"] / "report.html").stat().st_size > 10_000 and "dpo" in names["recipe"]["train"]
    said = capsys.readouterr().out
    assert "did you mean 'template'" in said and "redi     pass@1" in said
    assert str(names["here"]) not in NOTEBOOK.read_text("utf-8")
