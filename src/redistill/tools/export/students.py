"""A stage's student for other programs: the hub, llama.cpp, lm-eval, lighteval, vLLM.

    export_student(Path("runs/x"), to="lm-eval", out=Path("elsewhere"))   ->  the folder, with README.md and its exact commands

An exporter is a function of a StudentJob that writes files into its folder. To add one: a function, a line in
STUDENT_EXPORTS, its template, a test of what it writes, a line in docs/how-to/taking-a-student-elsewhere.md.
"""

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CommitOperationAdd, ModelCard

from redistill.config.parsing import load_recipe
from redistill.config.tables import Recipe
from redistill.errors import OperatorError
from redistill.io.atomic import write_bytes
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.model import loading
from redistill.model.rendering import renderer
from redistill.records import Problem
from redistill.tools.export.gguf_file import write_gguf
from redistill.tools.export.job import Template
from redistill.tools.serve import command


@dataclass(frozen=True, slots=True)
class StudentJob:
    """All that an exporter writes from: the run's recipe, a stage, its checkpoint, and the folder that is being filled."""

    recipe: Recipe
    stage: str
    run: Path
    model: Path
    folder: Path

    @property
    def name(self) -> str:
        """What the student is called elsewhere."""
        return f"{self.recipe.name}-{self.stage}"

    def write(self, name: str, text: str) -> None:
        """A file of the export."""
        write_bytes(self.folder / name, text.encode())

    def readme(self, template: str, **values: Any) -> None:
        """README.md from a template of this package, with the student's place filled in."""
        text = (resources.files("redistill.tools.export") / "templates" / "students" / template).read_text("utf-8")
        common = {
            "recipe": self.recipe.name,
            "stage": self.stage,
            "model": shlex.quote(str(self.model)),
            "name": self.name,
        }
        self.write("README.md", Template(text).substitute({**common, **values}))


def read_student(run: Path, *, out: Path, stage: str | None) -> StudentJob:
    """A run's student. stage: default the last one of the recipe that has left a student of text. OperatorError where there is
    none, where it is damaged, and for a critic."""
    if not (run / "recipe.yaml").exists():
        raise OperatorError(f"{run} is not a run: it has no recipe.yaml; name a folder such as runs/quickstart.")
    check_layout(run)
    recipe = load_recipe(run / "recipe.yaml")
    if stage is not None and stage not in recipe.train:
        raise OperatorError(f"export: {run} has no stage {stage!r}; its stages are {', '.join(recipe.train)}.")
    wanted = [stage] if stage else list(recipe.train)
    there = [name for name in wanted if _architecture(run / "train" / name / "model")]
    students = [name for name in there if "CausalLM" in _architecture(run / "train" / name / "model")]
    if not students:
        what = f"{there[-1]} is a critic, which writes no text" if there else "no stage has left a student yet"
        raise OperatorError(
            f"export: {run}: {what}; name a --stage that trains a student, or run the recipe until train first."
        )
    folder = run / "train" / students[-1] / "model"
    loading.check_folder(folder)
    return StudentJob(recipe, students[-1], run.resolve(), folder.resolve(), out)


def _architecture(folder: Path) -> str:
    """What the config of a checkpoint calls its class; "" where there is no checkpoint."""
    path = folder / "config.json"
    if not path.exists():
        return ""
    return " ".join(json.loads(path.read_text("utf-8")).get("architectures") or ["unknown"])


def hub(job: StudentJob) -> None:
    """The checkpoint's files as the hub takes them, checked by huggingface_hub, and the command that uploads them."""
    target = job.folder / "model"
    shutil.copytree(job.model, target)
    for path in sorted(target.rglob("*")):
        if path.is_file():
            CommitOperationAdd(path.relative_to(target).as_posix(), path)  # refuses names that the hub refuses
    card = target / "README.md"
    if not card.exists():
        raise OperatorError(
            f"export: {job.model} has no model card (README.md); run its recipe again, which writes it."
        )
    try:
        ModelCard.load(card).data.to_dict()
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise OperatorError(
            f"export: {card} is not a valid model card of the Hub ({' '.join(str(error).split())}); fix the metadata at its top."
        ) from error
    licence = (
        ""
        if job.recipe.card.license
        else "The card names no license: write one under `card` of the recipe, or into README.md.\n"
    )
    job.readme("hub.md.txt", licence=licence)


def gguf(job: StudentJob) -> None:
    """One .gguf file, and the commands that serve it."""
    file = f"{job.name}.gguf"
    write_gguf(job.model, job.folder / file, name=job.name)
    sampling = job.recipe.evaluate
    job.readme("gguf.md.txt", file=shlex.quote(file), temperature=sampling.temperature, top_p=sampling.top_p)


def lm_eval(job: StudentJob) -> None:
    """A task of the harness with the run's held-out problems, asked and graded as in the run, and the commands."""
    _, tokenizer = loading.load_folder(job.model)
    problems: list[Problem] = list(StageFolder(job.run / "select", "").read("dev"))
    if not problems:
        raise OperatorError(
            f"export: {job.run} holds no held-out problems (corpus.dev_fraction), so there is no task to write; --to vllm serves the "
            "student for any harness."
        )
    render, _ = renderer(job.recipe.prompt.for_evaluation, tokenizer)
    sampling = job.recipe.evaluate
    rows = [{"prompt": render(p) + sampling.prefill, "answer": p.answer or "", "problem": p.id} for p in problems]
    folder = job.folder / "tasks"
    folder.mkdir()
    job.write("tasks/dev.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_bytes((job.run / "recipe.yaml").read_bytes())
    task = f"redistill_{job.recipe.name}_dev".replace("-", "_").replace(".", "_")
    tree = {
        "task": task, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "DEV"}}, "test_split": "test",
        "output_type": "generate_until", "doc_to_text": "{{prompt}}", "doc_to_target": "{{answer}}", "target_delimiter": "",
        "generation_kwargs": {"until": [tokenizer.eos_token], "do_sample": False, "max_gen_toks": sampling.max_new_tokens},
        "process_results": "PROCESS",
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": name == "acc"} for name in ("acc", "undecided")],
        "metadata": {"version": 1},
    }  # fmt: skip
    text = yaml.safe_dump(tree, sort_keys=False).replace("PROCESS", "!function score.process_results")
    job.write("tasks/dev.yaml", text.replace("DEV", str(Path("tasks") / "dev.jsonl")))
    score = resources.files("redistill.tools.export") / "templates" / "students" / "score.py.txt"
    job.write("tasks/score.py", score.read_text("utf-8"))
    bos = tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id] and tokenizer.bos_token_id is not None
    job.readme("lm_eval.md.txt", task=task, rows=f"{len(rows):,}", bos=bool(bos))


def lighteval(job: StudentJob) -> None:
    """The commands that score the student with lighteval."""
    job.readme("lighteval.md.txt", max_new_tokens=job.recipe.evaluate.max_new_tokens, temperature=job.recipe.evaluate.temperature, top_p=job.recipe.evaluate.top_p)  # fmt: skip


def vllm(job: StudentJob) -> None:
    """The commands that serve the student with vLLM and score it through the server."""
    serve = shlex.join(command("vllm", str(job.model), env=None, host="127.0.0.1", port=8000))
    sampling = job.recipe.evaluate
    job.readme(
        "vllm.md.txt",
        serve=serve,
        n=sampling.n,
        temperature=sampling.temperature,
        max_new_tokens=sampling.max_new_tokens,
    )


STUDENT_EXPORTS: dict[str, Callable[[StudentJob], None]] = {
    "hub": hub,
    "gguf": gguf,
    "lm-eval": lm_eval,
    "lighteval": lighteval,
    "vllm": vllm,
}
