"""The pages are true: every bash command of README.md and docs/ is run here as it stands, or says what it needs.

A block with a comment `# needs: gpu` (or another of NEEDS) is not run. All others run page by page in a small world in which
the names that the pages use are small things: recipes/quickstart.yaml is the shipped one with fewer problems and steps,
HuggingFaceTB/SmolLM2-135M-Instruct is a folder with a model of one layer, my_traces.jsonl holds little sums. The tutorial goes
first and the other pages find what it left.
"""

import json
import os
import re
import shlex
import shutil
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.config.yaml_text import SHIPPED
from redistill.model.loading import character_tokenizer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEEDS = {"gpu", "gpus", "cluster", "network", "hours", "minutes", "server", "browser", "ray", "files"}
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
SHELL_ONLY = {"source .venv/bin/activate"}  # what a shell needs and this test does not


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def marks(block: str) -> set[str]:
    """The first word of each `# needs: ...`."""
    return set(re.findall(r"#.*?\bneeds: (\w+)", block))


def commands(page: Path) -> Iterator[list[str]]:
    """Every command that must run here, as words."""
    for block in blocks(page, "bash"):
        if not marks(block):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and " ".join(words) not in SHELL_ONLY:
                    yield words


RUNNABLE = [page for page in PAGES if page != TUTORIAL and any(commands(page))]
# Pages that run the tutorial's recipe again under other settings, which have tests of their own: `make recipes` follows them.
# That their commands and settings are read is cli/test_declarations.py.
RUN_AGAIN = {
    "choosing-answers", "collapsed", "eight-gpus", "evaluation", "label-conflicts", "label-noise", "objective", "out-of-memory",
    "publishing", "resume",
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_command_is_one_that_is_run_here_or_says_what_it_needs(page):
    for block in blocks(page, "bash"):
        assert marks(block) <= NEEDS, f"{page.name}: one of {sorted(NEEDS)} must follow `needs:`"
    assert [words for words in commands(page) if words[0] != "redistill"] == []
    assert not re.search(r"^```(sh|shell|console)$", page.read_text("utf-8"), re.MULTILINE), "write ```bash"


# --- the world ------------------------------------------------------------------------------------------------------


def put(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def small_student(folder: Path) -> None:
    tokenizer = character_tokenizer(string.printable)
    tokenizer.chat_template = CHAT
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                  num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=512)  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # the end of turn is likely everywhere, so that an answer is a few tokens and costs nothing
        model.get_input_embeddings().weight[:, 0] = 10.0
        model.get_output_embeddings().weight[tokenizer.eos_token_id, 0] = 2.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def trace(i: int, right: bool) -> dict:
    return {"text": f"{i}+{i} is \\boxed{{{2 * i + (not right)}}}"}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """What a reader has before the first command."""
    world = tmp_path_factory.mktemp("world")
    quickstart = yaml.safe_load((SHIPPED / "quickstart.yaml").read_text("utf-8"))
    quickstart["student"]["from_config"] |= {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    quickstart["student"]["from_config"] |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    quickstart["corpus"] |= {
        "dev_fraction": 0.2,
        "sources": [{"name": "two-habits", "problems": 60, "traces": 3, "digits": 4}],
    }
    for stage in quickstart["train"].values():
        stage |= {"batch_size": 4, "steps": 2}
    quickstart["evaluate"] |= {"n": 2, "max_new_tokens": 12, "models": ["control", "redi"]}
    quickstart["diagnosis"] = None
    (world / "recipes").mkdir()
    (world / "recipes/quickstart.yaml").write_text(yaml.safe_dump(quickstart, sort_keys=False))
    small_student(world / "HuggingFaceTB/SmolLM2-135M-Instruct")
    generations = [[trace(i, right) for right in (True, False)] for i in range(48)]
    put(world / "my_traces.jsonl", [{"problem": f"What is {i}+{i}?", "answer": str(2 * i), "generations": g} for i, g in enumerate(generations)])  # fmt: skip
    put(world / "my_problems.jsonl", [{"problem": f"What is {i}+1?", "answer": str(i + 1)} for i in range(3)])
    return world


@pytest.fixture(scope="module", autouse=True)
def one_core(tool) -> Iterator[None]:
    """Commands see one core here, and so start one judge each: its start costs more than all that it judges."""
    before = os.sched_getaffinity(tool.process.pid)
    os.sched_setaffinity(tool.process.pid, {min(before)})
    yield
    os.sched_setaffinity(tool.process.pid, before)


@pytest.fixture(scope="module")
def after_tutorial(base: Path, tmp_path_factory, tool) -> Path:
    world = tmp_path_factory.mktemp("tutorial") / "world"
    shutil.copytree(base, world)
    follow(TUTORIAL, world, tool)
    shutil.copy(world / "mine.yaml", world / "my.yaml")
    return world


def follow(page: Path, world: Path, tool) -> None:
    """Run a page's commands in their order; each ends with 0."""
    for words in commands(page):
        done = tool(world, *[in_this_world(word, world) for word in words[1:]])
        assert done.returncode == 0, f"{page.name}: {' '.join(words)}\n{done.stderr}"


def in_this_world(word: str, world: Path) -> str:
    """t5b4277c stands for an id of this world's run, `quickstart` for its small recipe instead of the shipped one."""
    return trace_id(world) if word == "t5b4277c" else {"quickstart": "recipes/quickstart.yaml"}.get(word, word)


def trace_id(world: Path) -> str:
    from redistill.io.parquet import read_records

    return next(iter(read_records(next((world / "runs/quickstart/select/pairs").glob("*.parquet"))))).chosen_id


def test_the_tutorial_leads_from_nothing_to_a_report_of_ones_own(after_tutorial):
    assert (after_tutorial / "runs/mine/report.html").stat().st_size > 10_000
    assert (after_tutorial / "runs/mine/train/redi/model/README.md").exists()


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.recipes if page.stem in RUN_AGAIN else ()) for page in RUNNABLE],
    ids=[page.stem for page in RUNNABLE],
)
def test_the_commands_of_a_page_run_as_they_stand(page, base, after_tutorial, tmp_path, tool):
    world = tmp_path / "world"
    shutil.copytree(after_tutorial, world)
    if any("init" in words for words in commands(page)):  # the page writes this recipe itself
        (world / "mine.yaml").unlink()
        shutil.rmtree(world / "runs/mine")
    prepare = PREPARED.get(page.stem)
    if prepare:
        prepare(page, world, tool)
    follow(page, world, tool)


# --- what single pages speak of ---------------------------------------------------------------------------------------


def prepare_own_verifier(page: Path, world: Path, tool) -> None:
    """The page's own file and settings, on questions of yes and no."""
    (world / "my_verifiers.py").write_text(blocks(page, "python")[0])
    put(
        world / "my_answers.jsonl",
        [{"answer": "yes", "response": "The answer is Yes."}, {"answer": "no", "response": "\\boxed{yes}"}],
    )
    rows = [
        {
            "problem": f"Is {i} even?",
            "answer": ["yes", "no"][i % 2],
            "generations": [{"text": "\\boxed{yes}"}, {"text": "\\boxed{no}"}],
        }
        for i in range(20)
    ]
    put(world / "yes_no.jsonl", rows)
    recipe = {
        "name": "yes_no",
        "student": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "corpus": {"sources": [{"name": "traces", "path": "yes_no.jsonl"}], "dev_fraction": 0.2},
        "train": {"redi": {"objective": "redi", "learning_rate": 1e-3, "batch_size": 2, "steps": 1}},
    }
    for key, table in yaml.safe_load(blocks(page, "yaml")[0]).items():
        recipe[key] = table
    recipe["evaluate"] |= {"n": 1, "max_new_tokens": 4}
    (world / "yes_no.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def prepare_evaluation(page: Path, world: Path, tool) -> None:
    """Runs under the names of the page: copies of one, for its commands read stored answers."""
    for name in ("redi-seed0", "redi-seed1"):
        shutil.copytree(world / "runs/quickstart", world / "runs" / name)
    done = tool(world, "evaluate", "HuggingFaceTB/SmolLM2-135M-Instruct", "--benchmark", "{name: gsm8k, file: my_problems.jsonl}",
                "--n", "1", "--max-new-tokens", "4", "--name", "smollm2-t0.6")  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.copytree(world / "runs/smollm2-t0.6", world / "runs/smollm2-t1.2")


def prepare_own_objective(page: Path, world: Path, tool) -> None:
    """The page's own file, and mine.yaml with the page's stages, a step each."""
    (world / "my_objectives.py").write_text(blocks(page, "python")[0])
    recipe = (
        yaml.safe_load((world / "mine.yaml").read_text()) | yaml.safe_load(blocks(page, "yaml")[0]) | {"name": "own"}
    )
    for stage in recipe["train"].values():
        stage.pop("epochs", None)
        stage |= {"batch_size": 4, "steps": 1}
    (world / "own.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def test_the_objective_of_the_page_is_what_its_hand_arithmetic_says(tmp_path, monkeypatch):
    first, check = blocks(ROOT / "docs/how-to/own-objective.md", "python")
    (tmp_path / "my_objectives.py").write_text(first)
    monkeypatch.syspath_prepend(str(tmp_path))
    exec(compile(check, "own-objective", "exec"), {})


def prepare_labels(page: Path, world: Path, tool) -> None:
    """my_traces.jsonl with labels, two of them wrong, and the recipe that init writes for it."""
    rows = [json.loads(line) for line in (world / "my_traces.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        for right, generation in zip((True, False), row["generations"], strict=True):
            generation["correct"] = right == (i > 1)
    put(world / "my_traces.jsonl", rows)
    (world / "mine.yaml").unlink()
    shutil.rmtree(world / "runs/mine")
    done = tool(
        world, "init", "--traces", "my_traces.jsonl", "--model", "HuggingFaceTB/SmolLM2-135M-Instruct", "--name", "mine"
    )
    assert done.returncode == 0, done.stderr


PREPARED = {
    "label-conflicts": prepare_labels,
    "label-noise": prepare_labels,
    "own-verifier": prepare_own_verifier,
    "own-objective": prepare_own_objective,
    "evaluation": prepare_evaluation,
}


def test_the_verifier_of_the_page_judges_as_the_page_says(tmp_path, monkeypatch):
    from redistill.config.user_plugins import find_own, load_code
    from redistill.records import make_problem, make_trace
    from redistill.verify import VERIFIERS

    (tmp_path / "page_verifiers.py").write_text(blocks(ROOT / "docs/how-to/own-verifier.md", "python")[0])
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    load_code(tmp_path / "page_verifiers.py")
    yes_no = find_own("page_verifiers:yes_no", VERIFIERS, "here")
    problem = make_problem("Is 7 prime?", answer="Yes")
    said = {
        "\\boxed{Yes.}": "correct",
        "The answer is no": "incorrect",
        "\\boxed{maybe}": "ungradable",
        "Yes": "no_answer",
    }
    assert {text: yes_no(problem, make_trace(problem.id, text)).outcome.value for text in said} == said
