"""The model card of a trained student, `train/STAGE/model/README.md`: written from the run's files, with Hugging Face's header.

    card(Path("runs/x"), recipe, "redi", "pairs", inputs)  ->  "---\nlibrary_name: transformers\n...# x: redi ..."

Written when the stage ends and again when students have been scored, so it says what the files say. It holds no clock and no
whole path: the same run writes the same card, and a folder that is given away does not tell where it was made.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from redistill import __version__
from redistill.config.tables import Recipe, SelfTeacher, ServerTeacher, StageSettings, TeachersBySource
from redistill.config.yaml_text import read_value
from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.report.text import prompt_words
from redistill.safety.paths import home_path
from redistill.text.figures import between, percent

PRECISIONS = {"no": "fp32", "bf16": "bf16", "auto": "bf16 where the device has it, else fp32"}
_PRIVATE = ("base_url", "key_env", "cache")  # options that name a machine, a variable or a file of the one who ran it


_TRAINED_ON = {
    "pairs": " on right and wrong traces of a teacher",
    "examples": " on right traces of a teacher",
    "labelled": " as a critic, on right and wrong traces with their labels",
    "rollouts": " on its own answers, sampled and judged while it trained",
}


def card(
    folder: Path,
    recipe: Recipe,
    stage: str,
    stream: str,
    inputs: Mapping[str, str],
    *,
    base_on_hub: bool = False,
    hubs: Mapping[str, str] | None = None,
) -> str:
    """The card's text. stream: `pairs`, `examples`, `labelled` or `rollouts`, what the stage reads; inputs: SHA-256 of the input files by path.

    base_on_hub: the base student is a hub id; hubs: the hub dataset of each known benchmark.

    Scores and training accounts stand in it where their files are there.
    """
    parts = [
        f"---\n{_header(folder, recipe, stage, stream, base_on_hub, hubs or {}).to_yaml()}\n---\n",
        f"# {recipe.name}: {stage}\n",
        f"Stage `{stage}` of the recipe `{recipe.name}`, trained with redistill {__version__}{_TRAINED_ON[stream]}.\n",
        _training(folder, recipe, stage, stream),
        _CRITICS_SCORES if stream == "labelled" else _scores(folder, recipe, stage),
        _data(folder, recipe, inputs),
        _verdicts(folder, recipe),
        _limits(recipe),
        _again(recipe, stage, [Path(path).name for path in inputs if path.endswith(".py")]),
    ]
    return "\n".join(parts)


_CRITICS_SCORES = (
    "## Use\n\nOne score per token of a completion, given its prompt: `AutoModelForTokenClassification`, one label. The sigmoid of a "
    "score is a probability; the objective above defines of what.\n"
)


def base_license(recipe: Recipe) -> str | None:
    """The `license` field of the base student's own card, where its folder is here and has one."""
    path = home_path(recipe.student.model or "") / "README.md"
    if recipe.student.model is None or not path.is_file():
        return None
    text = path.read_text("utf-8", errors="replace")
    if not text.startswith("---\n"):
        return None
    try:
        header = read_value(text[4:].partition("\n---")[0], str(path))  # an untrusted text: bounded
    except OperatorError:
        return None
    license = header.get("license") if isinstance(header, dict) else None
    return license if isinstance(license, str) else None


# --- the header -----------------------------------------------------------------------------------------------------


def _header(
    folder: Path, recipe: Recipe, stage: str, stream: str, base_on_hub: bool, hubs: Mapping[str, str]
) -> ModelCardData:
    """The fields that the hub reads. `license` is what the recipe says, else the base student's own, else left out."""
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "token-classification" if stream == "labelled" else "text-generation",
        "tags": ["redistill", "reinforcement-distillation"],
    }
    if license := recipe.card.license or base_license(recipe):
        fields["license"] = license
    if base_on_hub:
        fields["base_model"] = recipe.student.model
    paths = [source.options.get("path") for source in recipe.corpus.sources]
    if names := list(dict.fromkeys(str(path).partition(":")[0] for path in paths if path and _is_hub_data(str(path)))):
        fields["datasets"] = names
    if results := _results(folder, recipe, stage, hubs):
        fields |= {"model_name": f"{recipe.name}-{stage}", "eval_results": results}
    return ModelCardData(**fields)


def _results(folder: Path, recipe: Recipe, stage: str, hubs: Mapping[str, str]) -> list[EvalResult]:
    rows = []
    for benchmark in recipe.evaluate.benchmarks:
        path = folder / "evaluate" / stage / benchmark.name / "scores.json"
        if not path.exists():
            continue
        scores = read_json(path)
        name = "dev (held out of the training problems)" if benchmark.is_held_out else benchmark.name
        rows.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=benchmark.name if benchmark.is_held_out else hubs.get(benchmark.name, benchmark.name),
                dataset_name=name,
                metric_type="pass@1",
                metric_name=f"pass@1, {scores['num_samples']} samples",
                metric_value=round(scores["pass_at_1"]["value"], 4),
            )
        )
    return rows


def _is_hub_data(path: str) -> bool:
    """True for `org/name` and `org/name:pattern` that are nothing on this machine."""
    name = path.partition(":")[0]
    return (
        name.count("/") == 1
        and not name.startswith((".", "/", "~"))
        and not Path(path).suffix
        and not Path(name).exists()
    )


# --- the sections ---------------------------------------------------------------------------------------------------


def _training(folder: Path, recipe: Recipe, stage: str, stream: str) -> str:
    settings, ledger = recipe.train[stage], _json(folder / "train" / stage / "ledger.json")
    student = recipe.student
    base = (
        _name_of(student.model)
        if student.model
        else f"a new `{(student.from_config or {}).get('model_type', 'llama')}`, weights drawn with seed {recipe.seed}"
    )
    licence = base_license(recipe)
    length = (
        f"{ledger['steps']} steps"
        if ledger
        else f"{settings.steps} steps"
        if settings.steps
        else f"{settings.epochs:g} epochs"
    )
    rows = [
        ("base student", base + (f", revision {student.revision}" if student.revision else "")),
        ("licence of the base student", f"`{licence}`, as its card says" if licence else "none: made for this run" if student.from_config else "not stated with the model; see its own page"),
        ("prompt", prompt_words(recipe.prompt.for_training.model_dump()).replace("|", "\\|")),
        ("starts from", f"`{settings.start}`"),
        ("objective", _plugin(settings.objective)),
        ("modifiers", ", ".join(map(_plugin, settings.modifiers)) or "none"),
        ("learning rate, batch, length", f"{settings.learning_rate:g}, {_batch(settings)}, {length}"),
        ("weights", f"LoRA, merged{'; the adapter is saved too' if settings.keep_adapter else ''}" if settings.lora else "all"),
        ("precision", f"weights fp32, computation {PRECISIONS[settings.mixed_precision]}, saved as {settings.save_dtype}"),
        ("seed", str(recipe.seed)),
    ]  # fmt: skip
    if settings.rollouts is not None:
        rows += _rollouts(folder, recipe, stage)
    if ledger:
        account = ledger["accounts"]["rows"]
        unit = {"answer": "sampled answers", "problem": "problems asked"}.get(account["unit"], stream)
        rows.append(("rows", f"{account['kept']:,} of {account['in']:,} {unit}{_reasons(account)}"))
        if settings.guard is not None and ledger.get("guard"):
            rows.append(("guard", ledger["guard"]["sentence"]))
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    return f"## Training\n\n| | |\n|---|---|\n{table}\n"


def _batch(settings: StageSettings) -> str:
    updates = settings.rollouts.updates if settings.rollouts is not None else None
    return f"{settings.batch_size} rows a step" if updates is None else f"{updates} steps per round"


def _teacher(teacher: Any) -> str:
    """Who a teacher of token advantages is, in words."""
    if isinstance(teacher, TeachersBySource):
        return "; ".join(f"{_teacher(one)} for {source}" for source, one in teacher.by_source.items())
    if isinstance(teacher, SelfTeacher):
        return f"the student itself ({teacher.self}) that is shown a right answer"
    if isinstance(teacher, ServerTeacher):
        return f"{_name_of(teacher.model)} on a server"
    return teacher if isinstance(teacher, str) else _name_of(teacher.model or "a new model")


_UNDECIDED = {"drop": "is left out", "zero": "counts 0", "wrong": "counts as wrong"}


def _rollouts(folder: Path, recipe: Recipe, stage: str) -> list[tuple[str, str]]:
    """How a stage sampled its own answers, and how they were rewarded."""
    drawn, evaluate = recipe.train[stage].rollouts, recipe.evaluate
    assert drawn is not None
    rewards = ", ".join(_plugin(r) + (f" x {r.weight:g}" if r.weight != 1 else "") for r in drawn.reward)
    length = drawn.max_new_tokens or evaluate.max_new_tokens
    rows = [
        ("own answers", f"{drawn.rounds} rounds of {drawn.problems} training problems, {drawn.n} answers each, T {drawn.temperature:g}, "
         f"top-p {drawn.top_p:g}, at most {length:,} tokens"),
        ("judged by", _plugin(drawn.verifier or evaluate.verifier)),
        ("reward", f"{rewards}; an answer whose reward is unknown {_UNDECIDED[drawn.undecided]}"),
    ]  # fmt: skip
    if drawn.critic is not None:
        rows.append(("critic", f"trained together with the student ({drawn.critic.objective.name}), {drawn.critic.warm_rounds} rounds before its first step; "
                     "its scores weight tokens"))  # fmt: skip
    if drawn.teacher is not None:
        rows.append(("teacher", f"log-probs of {_teacher(drawn.teacher)}, token by token"))
    outcomes = (
        (_json(folder / "train" / stage / "rollouts" / "ledger.json") or {}).get("tallies", {}).get("outcomes", {})
    )
    if outcomes:
        counts = ", ".join(f"{count:,} {word}" for word, count in sorted(outcomes.items(), key=lambda item: -item[1]))
        rows.append(("outcomes of its answers", counts))
    return rows


def _scores(folder: Path, recipe: Recipe, stage: str) -> str:
    lines, said = [], []
    start = recipe.train[stage].start
    beside = [
        name for name, other in recipe.train.items() if other.start == start and name != stage
    ]  # the control among them
    for benchmark in recipe.evaluate.benchmarks:
        for name in dict.fromkeys(["base", start, *beside, stage]):
            path = folder / "evaluate" / name / benchmark.name / "scores.json"
            if not path.exists():
                continue
            scores = read_json(path)
            one, asked = scores["pass_at_1"], scores["settings"]
            columns, problems = percent(one["sem_over_sample_columns"], 2), percent(one["sem_over_problems"], 2)
            how = f"{scores['num_samples']} samples on {scores['num_problems']} problems, T {asked['temperature']:g}, top-p {asked['top_p']:g}"
            who = f"**{name}**" if name == stage else name
            lines.append(
                f"| {benchmark.name} | {who} | {percent(one['value'])} | {between(one['interval95'])} | {columns} | {problems} | {how} |"
            )
    for comparison in _json(folder / "evaluate" / "comparisons.json") or []:
        if stage in (comparison["a"], comparison["b"]):
            said.append(f"- {comparison['benchmark']}: {comparison['sentence']}")
    if not lines:
        return "## Scores\n\nNone yet: this student has not been scored in its run.\n"
    head = "| benchmark | student | pass@1, % | 95% interval | SEM (ddof 1, points) over sample columns | SEM (ddof 1, points) over problems | how |\n|---|---|---|---|---|---|---|"
    asked_with = prompt_words(recipe.prompt.for_evaluation.model_dump())
    asked_with += f", every answer prefilled with `{recipe.evaluate.prefill!r}`" if recipe.evaluate.prefill else ""
    about = (
        f"Judged by `{recipe.evaluate.verifier.name}`. The interval is over problems (Wilson's, at the effective sample size); one "
        "training seed, so no interval includes the spread over seeds. `dev` are problems held out of the training data. Prompt: "
        f"{asked_with}."
    )
    return "\n".join(["## Scores\n", head, *lines, "", about, "", *said, ""])


def _data(folder: Path, recipe: Recipe, inputs: Mapping[str, str]) -> str:
    accounts = (_json(folder / "corpus" / "ledger.json") or {}).get("accounts", {})
    sources = "\n".join(
        f"- `{source.name}`"
        + (f": {_name_of(str(source.options['path']))}" if "path" in source.options else ", generated")
        for source in recipe.corpus.sources
    )
    files = "\n".join(f"- `{Path(path).name}` sha256 `{sha}`" for path, sha in inputs.items())
    rows = "\n".join(
        f"| {name} | {account['in']:,} | {account['kept']:,} | {_reasons(account).strip(' ()') or '-'} |"
        for name, account in accounts.items()
    )
    notes = "\n".join(f"- {note}" for note in recipe.card.data_licenses)
    licences = (
        notes
        or "None was stated in the recipe (`card.data_licenses`): find out where the traces come from before you share this model."
    )
    selected = _json(folder / "select" / "ledger.json") or {}
    hashes = "\n".join(
        f"- `select/{name}` sha256 `{facts['sha256']}`"
        for name, facts in sorted(selected.get("files", {}).items())
        if name.startswith(("examples/", "pairs/", "labelled/", "dev/"))
    )
    return (
        f"## Data\n\nSources:\n\n{sources}\n\nLicences of the data:\n\n{licences}\n\n| | read | kept | left out, by reason |\n|---|---|---|---|\n{rows}\n\n"
        + (f"Input files:\n\n{files}\n\n" if files else "")
        + f"<details><summary>Selected rows, by file</summary>\n\n{hashes}\n\n</details>\n"
    )


def _verdicts(folder: Path, recipe: Recipe) -> str:
    verify, ledger = recipe.verify, _json(folder / "verify" / "ledger.json") or {}
    labels = ledger.get("labels", {}).get("counted", verify.labels or ())
    judges = ", ".join([*map(_plugin, verify.verifiers), *(f"label `{name}`" for name in labels)])
    outcomes = ledger.get("tallies", {}).get("outcomes", {})
    counts = ", ".join(f"{count:,} {word}" for word, count in sorted(outcomes.items(), key=lambda item: -item[1]))
    filters = ", ".join(map(_plugin, recipe.select.filters)) or "none"
    lines = [
        f"- verifiers: {judges}; policy `{verify.policy}`"
        + (f"; second opinion: {_plugin(verify.judge)}" if verify.judge else ""),
        f"- outcomes of the traces: {counts or 'none yet'}",
        f"- examples: `{getattr(recipe.select.examples, 'name', recipe.select.examples)}`; pairing: {_plugin(recipe.select.pairing)}; filters: {filters}",
    ]
    return "## Which traces count as right and wrong\n\n" + "\n".join(lines) + "\n"


def _limits(recipe: Recipe) -> str:
    lines = [
        "- Trained and scored on problems with short, verifiable answers; other uses were not tested, and safety was not measured.",
        "- A verdict reads only the final answer: a right answer from wrong reasoning counts as right.",
        "- This student may have learned what is wrong, biased or harmful in the teacher's traces.",
        f"- One training run (seed {recipe.seed}): another seed can change every score by more than its interval.",
    ]
    return "\n".join(["## Limits\n", *lines, *([f"- {recipe.card.notes}"] if recipe.card.notes else []), ""])


def _again(recipe: Recipe, stage: str, code: Sequence[str]) -> str:
    tree = recipe.model_dump(mode="json", exclude={"execution"})
    text = yaml.safe_dump(_shareable(tree), sort_keys=False, allow_unicode=True)
    return (
        "## Reproduce it\n\nSave the recipe below as `recipe.yaml`, put the input files in the same folder, and run "
        f"(redistill {__version__}; the exact versions are in `run.json` of the run):\n\n```bash\nredistill run recipe.yaml{''.join(f' --code {name}' for name in code)}\n```\n\n"
        f"This student is then `runs/{recipe.name}/train/{stage}/model`.\n\n<details><summary>recipe.yaml</summary>\n\n```yaml\n{text}```\n\n</details>\n"
    )


# --- small helpers --------------------------------------------------------------------------------------------------


def _plugin(plugin: Any) -> str:
    options = ", ".join(f"{key}={value}" for key, value in plugin.options.items() if key not in _PRIVATE)
    return f"`{plugin.name}`" + (f" ({options})".replace("|", "\\|") if options else "")


def _name_of(path: str) -> str:
    """A hub id or package as it is; of a path only its last part, lest a card tell of somebody's folders."""
    local = path.startswith((".", "/", "~")) or Path(path).exists() or bool(Path(path).suffix)
    return f"`{Path(path).name if local else path}`"


def _shareable(value: Any) -> Any:
    """The recipe with paths cut to their last part and without addresses."""
    value = copy.deepcopy(value)
    for source in value["corpus"]["sources"]:
        if "path" in source["options"]:
            source["options"]["path"] = _name_of(str(source["options"]["path"])).strip("`")
    if value["student"]["model"]:
        value["student"]["model"] = _name_of(value["student"]["model"]).strip("`")
    for benchmark in [*value["evaluate"]["benchmarks"], *value["corpus"]["decontaminate"]["files"]]:
        if isinstance(benchmark, dict) and benchmark.get("file"):
            benchmark["file"] = Path(benchmark["file"]).name
    for stage in value["train"].values():
        teacher = (stage["rollouts"] or {}).get("teacher")
        routed = teacher["by_source"].values() if isinstance(teacher, dict) and "by_source" in teacher else [teacher]
        for table in (stage["teacher"], *routed):
            if isinstance(table, dict) and table.get("model"):
                table["model"] = _name_of(table["model"]).strip("`")
            for option in _PRIVATE if isinstance(table, dict) else ():
                if option in table:
                    table[option] = "..."
    for plugin in (value["evaluate"]["engine"], value["verify"]["judge"]):
        for option in _PRIVATE if plugin else ():
            if option in plugin["options"]:
                plugin["options"][option] = "..."
    return value


def _reasons(account: Mapping[str, Any]) -> str:
    dropped = sorted(account["dropped"].items(), key=lambda item: -item[1])
    return " (" + ", ".join(f"{count:,} {reason}" for reason, count in dropped) + ")" if dropped else ""


def _json(path: Path) -> Any:
    return read_json(path) if path.exists() else None
