"""The recipes that ship: each loads, and the two real ones run to the report on a small file of the same layout."""

import gzip
import json
import string
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.config.parsing import load_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.io.atomic import read_json
from redistill.io.parquet import read_records
from redistill.model.loading import character_tokenizer

RECIPES = SHIPPED
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.name)
def test_every_recipe_that_ships_loads(path):
    assert load_recipe(path).name == path.stem


def student(folder: Path, kind: str, context: int) -> Path:
    """A model folder of the real config class, tiny, with a tokenizer of one token a character."""
    tokenizer = character_tokenizer(string.printable)
    tokenizer.chat_template = CHAT
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                                  num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=context)  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def openr1_row(i: int) -> dict:
    """As open-r1/OpenR1-Math-Raw: three generations; the third was never judged by Llama, so the paper calls it wrong."""
    return {
        "problem": f"What is {i} + {i}?",
        "solution": f"It is {2 * i}.",
        "answer": str(2 * i),
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "problem_is_valid": "No" if i == 0 else "Yes",
        "solution_is_valid": "Yes",
        "source": "cn_k12" if i == 1 else "olympiads",
        "uuid": f"uuid-{i}",
        "generations": [f"<think>{i}+{i}={n}</think> \\boxed{{{n}}}" for n in (2 * i, 2 * i + 1, 2 * i)],
        "is_reasoning_complete": [True, True, True],
        "correctness": {
            "llama_verification": [True, False, None],
            "math_verify": [True, False, True],
            "math_verify_reparsed_answer": [True, False, True],
        },
        "correctness_count": 2,
    }


@pytest.mark.recipes
def test_the_papers_recipe_runs_on_a_tiny_model_of_its_class(tmp_path, tool):
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(openr1_row(i)) + "\n" for i in range(40)))
    model = student(tmp_path / "qwen", "qwen2", context=256)
    sets = [
        f"student.model={model}", "student.config_edits.max_position_embeddings=512", "corpus.sources.0.path=raw.jsonl",
        "corpus.dev_fraction=0.1", "corpus.shards=2", "select.max_prompt_tokens=450", "evaluate.n=2", "evaluate.max_new_tokens=8",
        *(f"train.{stage}.{key}" for stage in ("sft", "control", "redi") for key in ("batch_size=8", "steps=2", "max_tokens=512")),
    ]  # fmt: skip
    arguments = [word for text in sets for word in ("--set", text)]
    done = tool(tmp_path, "run", RECIPES / "qwen2.5-math-1.5b-openr1.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "qwen2.5-math-1.5b-openr1"
    # rows 0 (not valid) and 1 (cn_k12) are dropped, as in the paper
    rows = read_json(run / "corpus" / "ledger.json")["accounts"]["rows"]
    assert rows["dropped"] == {"problem_not_valid": 1, "source_excluded": 1} and rows["kept"] == 38
    pairs = [p for path in sorted((run / "select" / "pairs").glob("*.parquet")) for p in read_records(path)]
    assert pairs and all(p.rejected.count("=") == 1 and p.chosen != p.rejected for p in pairs)
    # rows are the bare problem in the chat template, and the instruction is for evaluation
    assert all(p.prompt.startswith("<user>What is ") and p.prompt.endswith("?<assistant>") for p in pairs)
    assert pairs[0].chosen.startswith("<think>") and len(pairs[0].prompt) < 60
    # the context edit reaches the checkpoint, and the weights stay fp32
    config = json.loads((run / "train" / "redi" / "model" / "config.json").read_text())
    assert config["max_position_embeddings"] == 512 and config["rope_parameters"]["rope_theta"] == 300000
    assert {t.dtype for t in load_file(run / "train" / "redi" / "model" / "model.safetensors").values()} == {
        torch.float32
    }
    # the prefilled text is stored with every answer and with the score
    answers = [
        t for path in (run / "evaluate/redi/dev/groups").glob("*.parquet") for g in read_records(path) for t in g.traces
    ]
    assert answers and all(t.completion.startswith("<think>") for t in answers)
    how = read_json(run / "evaluate/redi/dev/scores.json")["settings"]
    assert (how["prefill"], how["template"], how["chat"]) == ("<think>\n", "paper", True)
    assert read_json(run / "select/ledger.json")["describe"]["prompt"] == {"template": "bare", "chat": True}
    assert (run / "report.html").exists()


@pytest.mark.recipes
def test_the_gsm8k_recipe_runs_on_a_tiny_chat_model(tmp_path, tool):
    with gzip.open(tmp_path / "traces.jsonl.gz", "wt") as file:
        for i in range(30):
            generations = [
                {
                    "text": json.dumps({"reasoning": f"{i}+1", "answer": str(n)}),
                    "teacher": f"teacher-{n % 3}",
                    "correct": n == i + 1,
                }
                for n in (i + 1, i + 2, i + 3)
            ]
            row = {
                "problem_id": f"p{i}",
                "source": "gsm8k",
                "problem": f"{i} and one?",
                "answer": str(i + 1),
                "generations": generations,
            }
            file.write(json.dumps(row) + "\n")
    model = student(tmp_path / "llama", "llama", context=512)
    sets = [
        f"student.model={model}", "corpus.sources.0.path=traces.jsonl.gz", "corpus.dev_fraction=0.2", "corpus.shards=2",
        "evaluate.n=2", "evaluate.max_new_tokens=8",
        *(f"train.{stage}.{key}" for stage in ("sft", "control", "redi") for key in ("batch_size=8", "steps=2")),
    ]  # fmt: skip
    arguments = [word for text in sets for word in ("--set", text)]
    done = tool(tmp_path, "run", RECIPES / "gsm8k-smollm2.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "gsm8k-smollm2"
    outcomes = read_json(run / "verify" / "ledger.json")["tallies"]["outcomes"]
    assert outcomes == {"correct": 30, "incorrect": 60}
    pairs = [p for path in sorted((run / "select" / "pairs").glob("*.parquet")) for p in read_records(path)]
    assert pairs[0].prompt.startswith("<user>") and pairs[0].prompt.endswith("<assistant>")
    assert (run / "report.html").exists()
