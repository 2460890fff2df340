"""Packages that only some recipes need are looked for before any work, and the hint works where redistill is on no index."""

import re
import tomllib
from pathlib import Path

import pytest

from redistill.config import extras
from redistill.config.extras import EXTRAS, check_installed, install_hint
from redistill.config.parsing import parse_recipe
from redistill.errors import ErrorCollector, OperatorError
from redistill.pipeline.resolve import find_parts

ROOT = Path(__file__).parents[2]


def test_every_requirement_is_that_of_its_extra():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for module, (extra, requirement) in EXTRAS.items():
        assert requirement in declared[extra], module


def test_no_hint_asks_an_index_for_redistill():
    """It stands on none: `pip install 'redistill[lora]'` fails where it was installed from a folder."""
    found = [
        str(path)
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"pip install 'redistill", path.read_text("utf-8"))
    ]
    assert found == []


def test_the_sentence_names_the_package_itself():
    with pytest.raises(
        OperatorError, match=r"^x needs no_such_module, which is not installed: pip install no-such-module\.$"
    ):
        check_installed("no_such_module", "x")
    assert install_hint("peft") == "pip install 'peft>=0.19' (in the extra `lora`)"
    check_installed("json", "x")


@pytest.mark.parametrize(
    ("stage", "module", "said"),
    [
        ({"lora": {"r": 8}}, "peft", "train.redi.lora needs peft, which is not installed"),
        ({"optimizer": "adamw_8bit"}, "bitsandbytes", "train.redi.optimizer (adamw_8bit) needs bitsandbytes"),
    ],
)
def test_a_missing_extra_is_found_before_anything_is_trained(monkeypatch, stage, module, said):
    monkeypatch.setattr(extras, "is_installed", lambda name: name != module)
    tree = {
        "name": "x",
        "student": {"from_config": {"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
                                    "num_attention_heads": 1, "max_position_embeddings": 64}, "alphabet": "01+=#;"},
        "prompt": {"template": "bare"},
        "corpus": {"sources": ["two-habits"]},
        "train": {
            "sft": {"objective": "sft", "learning_rate": 1e-3},
            "redi": {"objective": "redi", "learning_rate": 1e-3, "start": "sft", **stage},
        },
    }  # fmt: skip
    collector = ErrorCollector()
    find_parts(parse_recipe(tree, "x"), collector, fetch=False)
    assert any(sentence.startswith(said) for sentence in collector.sentences), collector.sentences


def test_an_adapter_is_kept_only_where_there_is_one():
    tree = {
        "name": "x",
        "student": {"model": "m"},
        "corpus": {"sources": ["two-habits"]},
        "train": {"sft": {"objective": "sft", "learning_rate": 1e-3, "keep_adapter": True}},
    }
    with pytest.raises(OperatorError, match="keep_adapter: this stage has no adapter"):
        parse_recipe(tree, "x")
