"""`redistill export --to hub|gguf|lm-eval|lighteval|vllm`: what each folder holds, as far as it can be checked without a network."""

import json
import shlex
import shutil
import string
import subprocess
import sys

import pytest
import torch
import yaml
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from bpe_students import TEXT, bpe, cut_of, saved
from exported import recipe_of, run_of
from redistill.cli import main
from redistill.errors import OperatorError
from redistill.io.stage_folder import Shard, StageFolder
from redistill.model import loading
from redistill.records import Problem, make_problem
from redistill.tools.export import export
from redistill.tools.export.gguf_file import halves_beside
from redistill.tools.export.harness import grader
from redistill.tools.export.students import STUDENT_EXPORTS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a student and two held-out problems; its card is one that the hub reads."""
    folder = run_of(tmp_path_factory.mktemp("run") / "run", recipe_of())
    (folder / "train/sft/model/README.md").write_text(
        "---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n\nA student.\n"
    )
    sums = json.loads((folder / "train/sft/model/checksums.json").read_text())
    (folder / "train/sft/model/checksums.json").write_text(
        json.dumps({n: s for n, s in sums.items() if n != "README.md"})
    )
    select = StageFolder(folder / "select", "f")
    select.open()
    select.finish_shard(
        0, Shard({"dev": (Problem, [make_problem("2+2=", answer="4"), make_problem("1+1=", answer="2")])})
    )
    select.finish(1)
    return folder


@pytest.mark.parametrize("to", sorted(set(STUDENT_EXPORTS) - {"gguf"}))
def test_a_folder_names_the_student_and_only_commands_that_parse(run, tmp_path, to):
    text = (export(run, to=to, out=tmp_path / "out") / "README.md").read_text("utf-8")
    assert "%%" not in text and ("sft" in text)
    if to != "hub":
        assert str((run / "train/sft/model").resolve()) in text
    for block in text.split("```bash\n")[1:]:
        for line in block.split("```")[0].splitlines():
            assert shlex.split(line)


def test_the_commands_of_ours_are_options_that_we_have(run, tmp_path):
    text = (export(run, to="vllm", out=tmp_path / "out") / "README.md").read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("redistill evaluate"))
    from redistill.cli import COMMANDS
    from redistill.cli.generate import make_app

    _, bound, _ = make_app(COMMANDS, "").parse_args(shlex.split(line)[1:])
    options = bound.arguments
    assert options["engine"] == "openai" and options["base_url"] == "http://127.0.0.1:8000/v1"


def test_the_hub_gets_the_checkpoint_with_its_card(run, tmp_path):
    folder = export(run, to="hub", out=tmp_path / "out") / "model"
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= names
    assert (folder / "model.safetensors").read_bytes() == (run / "train/sft/model/model.safetensors").read_bytes()
    AutoModelForCausalLM.from_pretrained(folder)


def test_a_card_that_the_hub_cannot_read_is_a_sentence(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/train/sft/model/README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(OperatorError, match="is not a valid model card of the Hub"):
        export(tmp_path / "run", to="hub", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_task_of_the_harness_asks_and_grades_as_the_run_does(run, tmp_path):
    folder = export(run, to="lm-eval", out=tmp_path / "out") / "tasks"
    rows = [json.loads(line) for line in (folder / "dev.jsonl").read_text().splitlines()]
    assert sorted((row["prompt"], row["answer"]) for row in rows) == [("1+1=", "2"), ("2+2=", "4")]
    grade = grader(folder / "recipe.yaml")
    assert grade({"prompt": "2+2=", "answer": "4"}, "\\boxed{4}") == {"acc": 1.0, "undecided": 0.0}
    assert grade({"prompt": "2+2=", "answer": "4"}, "\\boxed{5}") == {"acc": 0.0, "undecided": 0.0}
    assert grade({"prompt": "2+2=", "answer": "4"}, "hm") == {"acc": 0.0, "undecided": 1.0}
    text = (folder / "dev.yaml").read_text()
    tree = yaml.safe_load(text.replace("!function ", ""))
    assert tree["process_results"] == "score.process_results" and "!function score.process_results" in text


HARNESS = "import sys; sys.path.append(sys.argv.pop(1)); from lm_eval.__main__ import cli_evaluate; cli_evaluate()"


def test_lm_eval_runs_the_task(run, tmp_path):
    """With the harness where it is installed, or in the folder that LM_EVAL names (pip install --target)."""
    import importlib.util
    import os

    where = os.environ.get("LM_EVAL", "")
    if not (where or importlib.util.find_spec("lm_eval")):
        pytest.skip("lm-eval is not installed; LM_EVAL may name a folder that holds it")
    folder = export(run, to="lm-eval", out=tmp_path / "out")
    line = next(one for one in (folder / "README.md").read_text().splitlines() if one.startswith("lm_eval --model hf"))
    command = [
        sys.executable,
        "-c",
        HARNESS,
        where or str(tmp_path),
        *shlex.split(line)[1:],
        "--device",
        "cpu",
        "--output_path",
        "out.json",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = [path for path in folder.rglob("out*.json") if path.is_file()]
    found = json.loads(path.read_text())["results"]
    (scores,) = found.values()
    assert {"acc,none", "undecided,none"} <= set(scores)


# --- GGUF ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run_with(run, tmp_path):
    """The run with another student in the place of its own."""

    def make(tokenizer, **more):
        shutil.copytree(run, tmp_path / "run")
        shutil.rmtree(tmp_path / "run/train/sft/model")
        saved(tmp_path / "run/train/sft/model", tokenizer, **more)
        return tmp_path / "run"

    return make


@pytest.mark.parametrize(
    ("kind", "cut", "more"),
    [
        ("llama", "smollm", {"tie_word_embeddings": True}),
        ("llama", "llama-bpe", {"tie_word_embeddings": False}),
        ("qwen2", "qwen2", {"tie_word_embeddings": False}),
        ("qwen2", "qwen2", {"tie_word_embeddings": True, "dtype": torch.bfloat16}),
    ],
)
def test_transformers_loads_a_gguf_back_to_the_same_logits(run_with, tmp_path, kind, cut, more):
    tokenizer = bpe(cut_of(cut))
    folder = run_with(tokenizer, kind=kind, **more)
    (path,) = export(folder, to="gguf", out=tmp_path / "out").glob("*.gguf")
    before, _ = loading.load_folder(folder / "train/sft/model")
    after = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    expected, found = before.float()(ids).logits, after(ids).logits
    assert found.shape == expected.shape and torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, expected.roll(1, dims=1), atol=1e-2)  # it could differ


def test_the_tokenizer_in_a_gguf_has_every_token_its_merges_and_its_name(run_with, tmp_path):
    import gguf

    tokenizer = bpe(cut_of("smollm"))
    (path,) = export(run_with(tokenizer), to="gguf", out=tmp_path / "out").glob("*.gguf")
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert tokens[len(tokenizer) :] == [f"[PAD{len(tokenizer) + n}]" for n in range(3)]
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == tokenizer.eos_token_id
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert kinds[tokenizer.eos_token_id] == gguf.TokenType.CONTROL and kinds[-1] == gguf.TokenType.UNUSED
    again = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    assert again("Add 12 and 30")["input_ids"] == tokenizer("Add 12 and 30")["input_ids"]


def test_rotary_halves_stand_beside_each_other_by_hand():
    rows = torch.arange(8.0)[:, None]  # two heads of four rows: halves (0, 1 | 2, 3)
    assert halves_beside(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    ("tokenizer", "more", "words"),
    [
        (lambda: loading.character_tokenizer(string.printable), {}, "a tokenizer of the kind"),
        (lambda: bpe(pre_tokenizers.Whitespace()), {}, "cuts text in its own way"),
        (lambda: bpe(cut_of("gpt-2")), {"kind": "qwen3"}, "the architecture qwen3"),
        (
            lambda: bpe(cut_of("gpt-2")),
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "kind linear",
        ),
        (lambda: bpe(cut_of("gpt-2")), {"attention_bias": True}, "a Llama with biases"),
    ],
)
def test_what_is_not_written_as_gguf_is_a_sentence_with_the_converter(run_with, tmp_path, tokenizer, more, words):
    with pytest.raises(OperatorError, match=f"{words}.*convert_hf_to_gguf.py"):
        export(run_with(tokenizer(), **more), to="gguf", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "hub", "--stage", "nope"], "has no stage 'nope'; its stages are sft, own"),
        (["--to", "hub", "--stage", "own"], "no stage has left a student yet"),
        (["--to", "hub", "--loss", "engine"], "hub only takes the student; leave them out"),
    ],
)
def test_a_mistake_is_a_sentence(run, tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as end:
        main(["export", str(run), "-o", str(tmp_path / "out"), *words])
    assert end.value.code == 2 and said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_run_without_held_out_problems_has_no_task(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/select")
    with pytest.raises(OperatorError, match="holds no held-out problems"):
        export(tmp_path / "run", to="lm-eval", out=tmp_path / "out")


def test_a_critic_is_no_student(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run/train/sft/model/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": ["LlamaForTokenClassification"]}))
    with pytest.raises(OperatorError, match="sft is a critic, which writes no text"):
        export(tmp_path / "run", to="vllm", out=tmp_path / "out")
