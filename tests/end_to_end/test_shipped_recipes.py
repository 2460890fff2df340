"""What the shipped recipes say: every plug-in they name binds, all checks pass before work, and the paper is the paper."""

import json
import string

import pytest
from transformers import AutoConfig

from redistill.config.parsing import load_recipe, parse_recipe
from redistill.config.tables import STEP_BENCHMARKS
from redistill.config.yaml_text import SHIPPED
from redistill.corpus import VISUAL
from redistill.evaluate.stage import sampling_of
from redistill.model import loading
from redistill.pipeline.plan import make_plan
from redistill.pipeline.stages import stages_of
from redistill.records import make_problem
from redistill.rollout.requests import requests_for
from redistill.safety.sandbox import SandboxRefused, check_sandbox
from redistill.text.prompts import PAPER_INSTRUCTION
from redistill.tools.doctor import as_json, examine

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


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """The same of a student that reads images."""
    from tiny_vision import vision_student

    folder = tmp_path_factory.mktemp("seeing") / "model"
    settings = vision_student(alphabet="".join(map(chr, range(32, 127))) + "\n", config_edits={})
    settings.from_config["text_config"] = {**settings.from_config["text_config"], "max_position_embeddings": 8192}
    tokenizer = loading.load_tokenizer(settings)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    loading.save_model(loading.load_model(settings, tokenizer, seed=0), tokenizer, folder, card="a stand-in")
    return folder


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "1+1=", "answer": "2", "generations": ["2"]}) + "\n")
    return path


@pytest.fixture
def steps(tmp_path):
    path = tmp_path / "steps.jsonl"
    row = {"input": "1+1=", "steps": ["2"], "target": "2", "answer": "2", "mistake_index": None}
    path.write_text(json.dumps(row) + "\n")
    return path


def test_there_are_recipes_to_test():
    assert {"quickstart.yaml", "gsm8k-smollm2.yaml", "qwen2.5-math-1.5b-openr1.yaml"} <= {p.name for p in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_passes_every_check_before_work(path, stand_in, seeing, rows, steps):
    recipe = load_recipe(path)
    visual = any(source.name in VISUAL for source in recipe.corpus.sources)
    tree = recipe.model_dump(mode="json")
    for source in tree["corpus"]["sources"]:
        if "path" in source["options"]:
            source["options"]["path"] = str(rows)
        if "folder" in source["options"] and not source["options"]["folder"].startswith("made:"):
            source["options"]["folder"] = "made:catalogue"
    for verifier in [*tree["verify"]["verifiers"], tree["evaluate"]["verifier"]]:
        if verifier["name"] == "code-tests":
            try:
                check_sandbox()
            except SandboxRefused as error:
                pytest.skip(str(error))
        if "index" in verifier["options"]:
            verifier["options"]["index"] = "made:catalogue"
    for benchmark in tree["evaluate"]["benchmarks"]:
        if benchmark["file"]:
            benchmark["problem_column"] = benchmark["answer_column"] = None
            benchmark["file"] = str(steps if benchmark["name"] in STEP_BENCHMARKS else rows)
    if tree["student"]["from_config"] is None:
        tree["student"]["model"] = str(seeing if visual else stand_in)
        tree["student"]["end_of_turn"] = None
        if path.stem == "oreal":  # its model has a context of 32,768, the stand-in 4,096
            tree["student"]["config_edits"] = {"max_position_embeddings": 32768}
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
    assert (
        recipe.select.limits_on == ["chosen", "rejected"] and recipe.select.truncated_correct == "keep"
    )  # pairs; as the script
    assert recipe.evaluate.prefill == "<think>\n" and recipe.select.pairing.name == "redi-paper" and recipe.seed == 42
    taught, asked = recipe.prompt.for_training, recipe.prompt.for_evaluation
    assert (taught.template, taught.chat, asked.template, asked.chat) == ("bare", True, "paper", True)


def test_the_papers_prompts_are_the_papers(tmp_path):
    """On a tokenizer in the manner of Qwen2.5-Math: its own system message, <|im_end|> at a turn's end, another eos token."""
    tokenizer = loading.character_tokenizer(string.printable)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    turn = "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    tokenizer.chat_template = (
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nPlease reason step by step.<|im_end|>\\n' }}{% endif %}"
        f"{{% for m in messages %}}{turn}{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '<|im_start|>assistant\\n' }}}}{{% endif %}}"
    )
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_attention_heads": 2,
        "max_position_embeddings": 4096,
    }
    AutoConfig.for_model(
        "llama", rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, **config
    ).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    row = {"problem": "1+1?", "answer": "2", "problem_is_valid": "Yes", "source": "x", "generations": ["<think>\n1</think>2"],
           "correctness": {"llama_verification": [True], "math_verify_reparsed_answer": [True]}}  # fmt: skip
    (tmp_path / "raw.jsonl").write_text(json.dumps(row) + "\n")
    sets = [f"student.model={tmp_path}/model", f"corpus.sources.0.path={tmp_path}/raw.jsonl"]
    recipe = load_recipe("qwen2.5-math-1.5b-openr1", sets)
    found = examine(recipe.student, recipe, num_rows=1)
    assert found.sentences == []
    (row,) = as_json(found)["rows"]
    system = "<|im_start|>system\nPlease reason step by step.<|im_end|>\n"
    prompt = f"{system}<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    assert row["text"] == f"{prompt}<think>\n1</think>2<|im_end|>"
    assert (
        sum(row["learned"]) == len("<think>\n1</think>2") + 1 and row["learned"][-1]
    )  # the assistant's part and its end
    asked = f"{system}<|im_start|>user\n{PAPER_INSTRUCTION}\n\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    assert row["question"] == asked
    (request, *_) = requests_for(
        make_problem("1+1?"),
        make_plan(recipe).eval_config(recipe.evaluate.benchmarks[0]).render(make_problem("1+1?")),
        sampling_of(recipe.evaluate),
        seed=0,
    )
    assert request.prompt == asked + "<think>\n"


def test_the_control_differs_from_redi_by_the_negatives_alone():
    for path in RECIPES:
        train = load_recipe(path).train
        if not {"control", "redi"} <= set(
            train
        ):  # of stages on own answers, of critics and of plain SFT, which have other arms
            assert all(stage.rollouts is not None or stage.objective.name != "redi" for stage in train.values())
            continue
        control, redi = (train[name].model_dump(exclude={"objective"}) for name in ("control", "redi"))
        assert control == redi and train["control"].objective.options == {"rejected_weight": 0.0}
