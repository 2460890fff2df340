"""What the shipped recipes say: every plug-in they name binds, all checks pass before work, and the paper is the paper."""

import json

import pytest

from redistill.config.parsing import load_recipe, parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.pipeline.plan import make_plan
from redistill.pipeline.stages import stages_of

RECIPES = sorted(SHIPPED.glob("*.yaml"))


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A tiny student with a chat template, in an ordinary folder, as large a context as any recipe asks for."""
    from redistill.config.tables import StudentSettings
    from redistill.model import loading

    folder = tmp_path_factory.mktemp("student") / "model"
    settings = StudentSettings(
        from_config={
            "model_type": "qwen2",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
        },
        alphabet="".join(map(chr, range(32, 127))) + "\n",
    )
    tokenizer = loading.load_tokenizer(settings)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    loading.save_model(loading.load_model(settings, tokenizer, seed=0), tokenizer, folder, card="a stand-in")
    return folder


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "1+1=", "answer": "2", "generations": ["2"]}) + "\n")
    return path


def test_there_are_recipes_to_test():
    assert {"quickstart.yaml", "gsm8k-smollm2.yaml", "qwen2.5-math-1.5b-openr1.yaml"} <= {p.name for p in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_passes_every_check_before_work(path, stand_in, rows):
    recipe = load_recipe(path)
    tree = recipe.model_dump(mode="json")
    for source in tree["corpus"]["sources"]:
        if "path" in source["options"]:
            source["options"]["path"] = str(rows)
    for benchmark in tree["evaluate"]["benchmarks"]:
        if benchmark["file"]:
            benchmark["file"] = str(rows)
    if tree["student"]["from_config"] is None:
        tree["student"]["model"] = str(stand_in)
        tree["student"]["end_of_turn"] = None
    plan = make_plan(parse_recipe(tree, path.name))
    assert {stage.name for stage in stages_of(plan)} >= {
        "corpus",
        "verify",
        "select",
        *(f"train/{stage}" for stage in recipe.train),
    }
    assert plan.context > recipe.evaluate.max_new_tokens // 2


def test_the_papers_recipe_is_the_paper():
    recipe = load_recipe(next(p for p in RECIPES if p.stem.startswith("qwen2.5-math")))
    redi, sft = recipe.train["redi"], recipe.train["sft"]
    assert redi.objective.options == {"rejected_weight": 0.8}
    assert (redi.learning_rate, redi.batch_size, redi.epochs, redi.warmup, redi.decay) == (1e-6, 32, 1, 0.1, "linear")
    assert (redi.beta1, redi.beta2, redi.eps, redi.weight_decay) == (0.9, 0.999, 1e-8, 1e-4)
    assert (sft.learning_rate, sft.batch_size, sft.max_tokens) == (5e-5, 128, 32768) and sft.epochs in (3, 5)
    assert (recipe.select.max_prompt_tokens, recipe.select.max_completion_tokens) == (800, 19000)
    assert recipe.student.config_edits == {"max_position_embeddings": 32768, "rope_theta": 300000}
    assert (recipe.evaluate.temperature, recipe.evaluate.top_p, recipe.evaluate.n) == (0.6, 0.95, 16)
    assert recipe.evaluate.prefill == "<think>" and recipe.select.pairing.name == "redi-paper" and recipe.seed == 42


def test_the_control_differs_from_redi_by_the_negatives_alone():
    for path in RECIPES:
        train = load_recipe(path).train
        control, redi = (train[name].model_dump(exclude={"objective"}) for name in ("control", "redi"))
        assert control == redi and train["control"].objective.options == {"rejected_weight": 0.0}
