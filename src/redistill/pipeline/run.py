"""The main experiment: traces in, a better student and a report out.

    run(load_recipe("quickstart"), runs_dir=Path("runs"))

Read it top to bottom: corpus -> verify -> select -> train (each stage) -> evaluate -> report. Each room leaves a folder
whose ledger says what it was made from; run again, a finished room is passed by, and one cut short goes on.
"""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import BenchmarkSettings, Recipe, StageSettings
from redistill.config.validation_messages import did_you_mean
from redistill.corpus import benchmark_leaks, collect, remove_shuffle
from redistill.errors import OperatorError
from redistill.evaluate import load_benchmark, paired_difference, subsample
from redistill.evaluate.registry import BENCHMARKS
from redistill.evaluate.stage import description, run_evaluation, scored
from redistill.io.atomic import read_json, sweep, write_bytes, write_json, writing
from redistill.io.executors import Executor, LocalProcesses, cores, open_executor
from redistill.io.progress import bar, say
from redistill.io.shards import make_parts, parts_to_do, size_bytes
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline.lock import alone
from redistill.pipeline.plan import Plan, make_plan, stage_stream, student_address
from redistill.pipeline.run_record import run_record
from redistill.pipeline.run_tracking import mirror_finished, mirror_scores, stage_mirror
from redistill.records import Problem
from redistill.report import pairs_shown, stage_of_tokens, write_report
from redistill.report.model_card import card
from redistill.rollout import Student
from redistill.select import compare, describe, explain_empty, is_dev, select_shard
from redistill.select.stage import encode, select_part
from redistill.train import StageJob, train_stage
from redistill.train.eval_probe import dev_probe
from redistill.train.guard_state import read_lines
from redistill.train.preflight import check_rows
from redistill.train.probe import Probe
from redistill.train.stage import is_finished, tidy
from redistill.train.token_changes import write_token_changes
from redistill.verify.judge_stage import apply_llm_judge
from redistill.verify.stage import VerifyTask, closing_pool, label_noise, verify_part

STAGES = ("corpus", "verify", "select", "train", "evaluate", "report")


class Run:
    """A run's folder and plan; one method a room."""

    def __init__(self, plan: Plan, folder: Path, executor: Executor | None = None) -> None:
        self.plan, self.recipe, self.folder, self.executor = plan, plan.recipe, folder, executor or LocalProcesses(1)

    def room(self, name: str, describe: dict[str, Any]) -> StageFolder:
        # an absolute path, for other processes may stand elsewhere
        return StageFolder(self.folder.absolute() / name, self.plan.fingerprints[name], describe)

    # --- corpus: source rows -> Groups ---

    def corpus(self) -> None:
        settings = self.recipe.corpus
        room = self.room("corpus", settings.model_dump(mode="json"))
        if room.is_finished():
            remove_shuffle(room)
            return
        room.open()
        ledger = collect(
            room,
            self.plan.sources,
            seed=self.recipe.seed,
            num_shards=settings.shards,
            max_problems=settings.max_problems,
            benchmarks=benchmark_leaks.index(self.recipe, self.plan.avoided),
            leaks=settings.decontaminate.leaks,
            near=settings.near_duplicates,
            near_threshold=settings.near_threshold,
            executor=self.executor,
            progress=lambda **options: bar(label="corpus", **options),
        )
        say(f"corpus   {_account(ledger, 'rows')}; {_account(ledger, 'problems')}; {_account(ledger, 'traces')}")
        if ledger["accounts"]["traces"]["kept"] == 0:
            raise OperatorError(
                f"corpus: no trace is left ({_account(ledger, 'rows')}); if the problems of a benchmark are meant to be trained "
                "on, write corpus.decontaminate.leaks: report, or corpus.decontaminate.benchmarks: false."
            )

    # --- verify: Groups -> Groups with verdicts ---

    def verify(self) -> None:
        settings = self.recipe.verify
        room = self.room("verify", settings.model_dump(mode="json"))
        if room.is_finished():
            return
        corpus = StageFolder(self.folder / "corpus", "").ledger()
        for label in settings.labels:
            present = sorted({word.partition("=")[0] for word in corpus["tallies"]["labels"]})
            if label not in present:
                none = "; the corpus brings no labels" if not present else ""
                raise OperatorError(
                    f"verify.labels: no trace of the corpus has the label {label!r}{none}{did_you_mean(label, present)}"
                )
        room.open()
        judge, facts = self.plan.second_opinion, dict[str, Any]()
        rules = room if judge is None else StageFolder(room.folder / "rules", room.fingerprint)
        if judge is None or not rules.is_finished():
            if judge is not None:
                rules.open()
            self._apply_rules(rules, corpus["accounts"]["traces"]["kept"])
        if judge is not None:
            rules.finish(corpus["num_shards"])
            facts["judge"] = apply_llm_judge(room, rules, judge, cache=Path(judge.cache or self.folder / "judge.jsonl"))
        noise = label_noise(room, seed=self.recipe.seed)
        write_json(room.folder / "label_noise.json", noise)
        ledger = room.finish(corpus["num_shards"], **facts)
        outcomes = ", ".join(f"{n} {word}" for word, n in _by_count(ledger["tallies"]["outcomes"]))
        say(f"verify   {_account(ledger, 'traces')}: {outcomes}")
        if "golds" in ledger["accounts"] and ledger["accounts"]["golds"]["dropped"]:
            say(
                f"verify   gold answers: {_account(ledger, 'golds')}; the others are listed in {room.folder}/ungradable"
            )

    def _apply_rules(self, room: StageFolder, total: int) -> None:
        """Every shard of the corpus with the verifiers' verdicts and their policy's; total: traces in all shards."""
        settings, before = self.recipe.verify, StageFolder(self.folder / "corpus", "")
        parts = parts_to_do(before, room)
        left = sum(read_json(before.marker(part.index))["accounts"]["traces"]["kept"] for part in parts)
        spread = self.executor.spreads(len(parts), size_bytes(parts))  # then each process has a verifier of its own
        workers = 1 if spread else settings.workers or self.recipe.execution.workers or cores()
        judges = VerifyTask(
            self.plan.verifiers,
            workers,
            settings.timeout_seconds,
            settings.memory_mb,
            settings.policy,
            tuple(settings.labels),
        )
        work = partial(verify_part, room, judges)
        with closing_pool(), bar(label="verify", unit="trace", total=total, initial=total - left) as progress:
            make_parts(self.executor, room, work, parts, progress.update)

    # --- select: Groups -> Examples, Pairs, held-out problems ---

    def select(self) -> None:
        settings = self.recipe.select
        room = self.room("select", settings.model_dump(mode="json"))
        on_paper = room.folder / "statistics.json"
        if not (room.is_finished() and on_paper.exists()):
            room.open()
            choose = partial(
                select_shard,
                render=self.plan.render,
                encode=partial(encode, self.plan.tokenizer),
                is_dev=partial(is_dev, seed=self.recipe.seed, dev_fraction=self.recipe.corpus.dev_fraction),
                pairing=self.plan.policies[settings.pairing.name],
                examples=settings.examples,
                bound_filters=self.plan.bound_filters,
                policies=self.plan.policies,
            )
            before = StageFolder(self.folder / "verify", "")
            parts = parts_to_do(before, room)
            with bar(label="select", unit="shard", total=len(parts)) as progress:
                make_parts(self.executor, room, partial(select_part, room, choose), parts, progress.update)
            compared = compare(room.read("candidates"), own=settings.pairing.name, policies=self.plan.policies)
            write_json(on_paper, {**compared, "traces": describe(room.read("groups"))})
            ledger = room.finish(before.ledger()["num_shards"])
            say(f"select   {_account(ledger, 'examples')}; {_account(ledger, 'pairs')}")
        needed = {stage_stream(self.plan, stage) for stage in self.recipe.train}
        ledger = room.ledger()
        if any(ledger["accounts"][stream]["kept"] == 0 for stream in needed):
            raise OperatorError(f"select: {explain_empty(ledger)}")
        for stream in sorted(needed):
            check_rows(self.recipe, self.plan.tokenizer, _stream(self.folder / "select", stream))

    # --- train: Examples and Pairs -> students ---

    def train(self) -> None:
        dev = any(benchmark.is_held_out for benchmark in self.recipe.evaluate.benchmarks)
        if dev and self.room("select", {}).ledger()["accounts"]["dev"]["kept"] == 0:
            raise OperatorError(
                "evaluate: no problem was held out for dev; raise corpus.dev_fraction or bring more problems."
            )
        for stage in self.recipe.train:
            self._diagnose_before(stage)
            self.train_one(stage)
        self._write_cards()

    def card(self, stage: str) -> str:
        """The model card of a stage's student, from what the run's folder holds by now."""
        return card(
            self.folder, self.recipe, stage, stage_stream(self.plan, stage), self.plan.files,
            base_on_hub=loading.is_on_hub(self.recipe.student), hubs={name: known.hub for name, known in BENCHMARKS.items()},
        )  # fmt: skip

    def _write_cards(self) -> None:
        for stage in self.recipe.train:
            path, text = self.folder / "train" / stage / "model" / "README.md", self.card(stage).encode()
            if not path.exists() or path.read_bytes() != text:
                write_bytes(path, text)

    def train_one(self, stage: str, *, pause_at: int | None = None) -> None:
        settings = self.recipe.train[stage]
        folder, stage_fingerprint = self.folder / "train" / stage, self.plan.fingerprints[f"train/{stage}"]
        if is_finished(folder, stage_fingerprint):
            tidy(folder, stage_fingerprint)
            mirror_finished(self.plan, self.folder, stage)
            return
        stream = stage_stream(self.plan, stage)
        with self.probe(settings) as probe, stage_mirror(self.plan, self.folder, stage) as mirror:
            job = StageJob(
                folder=folder,
                stage=stage,
                settings=settings,
                objective=self.plan.objectives[stage],
                fingerprint=stage_fingerprint,
                seed=self.recipe.seed,
                card=self.card(stage),
                modifiers=self.plan.modifiers[stage],
                describe=settings.model_dump(mode="json"),
                pause_at=pause_at,
            )
            ledger = train_stage(
                job,
                records=_stream(self.folder / "select", stream),
                student=lambda: self.student(settings.start),
                reference=(lambda: self.student(settings.reference or "base")) if settings.reference else None,
                probe=probe,
                mirror=mirror,
            )
        last = _last_line(folder / "metrics.jsonl")
        say(f"train    {stage}: {ledger['steps']} steps on {ledger['rows']['kept']} rows, loss {last['loss']:.4f}")
        if settings.guard is not None and ledger["guard"]:
            say(f"guard    {stage}: {ledger['guard']['sentence']}")

    def probe(self, settings: StageSettings) -> AbstractContextManager[Probe | None]:
        """What the stage's guard asks the student while it trains; nothing where it does not ask."""
        if settings.guard is None or settings.guard.probe_every == 0:
            return nullcontext()
        problems = subsample(_stream(self.folder / "select", "dev"), settings.guard.probe_problems, self.recipe.seed)
        config = self.plan.eval_config(BenchmarkSettings())
        return dev_probe(config, settings.guard, sorted(problems, key=lambda p: p.id))

    def student(self, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """The base student, or the one a stage left."""
        if name == "base":
            return loading.load_model(
                self.recipe.student, self.plan.tokenizer, seed=self.recipe.seed
            ), self.plan.tokenizer
        return loading.load_folder(self.folder / "train" / name / "model")

    def _diagnose_before(self, stage: str) -> None:
        """Objectives with negatives re-weight habits that the student has: look at its good habit before they begin."""
        start = self.recipe.train[stage].start
        path = self.folder / "evaluate" / "diagnosis.json"
        dev = next((b for b in self.recipe.evaluate.benchmarks if b.is_held_out), None)
        if self.plan.diagnosis is None or dev is None or start == "base":
            return
        if path.exists() and read_json(path).get("student") == start and self._scored(start, dev):
            return
        self.evaluate_one(start, dev)
        groups = _stream(self.folder / "evaluate" / start / dev.name, "groups")
        found = {"student": start, **self.plan.diagnosis(groups)}
        write_json(path, found)
        say(f"diagnose {start}: {found['sentence']}")

    # --- evaluate: students -> scores ---

    def evaluate(self) -> None:
        for benchmark in self.recipe.evaluate.benchmarks:
            for name in self.plan.scored:
                self.evaluate_one(name, benchmark)
        self._compare()
        self._write_cards()
        mirror_scores(self.plan, self.folder)

    def _scored(self, name: str, benchmark: BenchmarkSettings) -> bool:
        room = self.room(f"evaluate/{name}/{benchmark.name}", {})
        return room.is_finished() and (room.folder / "scores.json").exists()

    def evaluate_one(self, name: str, benchmark: BenchmarkSettings) -> None:
        if self._scored(name, benchmark):
            return
        settings = self.recipe.evaluate
        described = description(benchmark, self.recipe)
        room = self.room(f"evaluate/{name}/{benchmark.name}", described)
        if not room.is_finished():
            exam, problems = self.plan.eval_config(benchmark), self._problems(benchmark)
            student = Student(lambda: self.student(name), self._address(name))
            run_evaluation(room, exam, problems, student, author=name, label=f"evaluate {name}")
        facts: dict[str, Any] = {"model": name, "benchmark": benchmark.name, "settings": described}
        scored(room, n=settings.n, seed=self.recipe.seed, **facts)

    def _problems(self, benchmark: BenchmarkSettings) -> list[Problem]:
        dev = benchmark.is_held_out
        found = list(_stream(self.folder / "select", "dev") if dev else load_benchmark(benchmark))
        return sorted(subsample(found, benchmark.max_problems, self.recipe.seed), key=lambda p: p.id)

    def _address(self, name: str) -> str:
        """By what a server on this machine may know a student of this run (see `student_address`)."""
        if name != "base":
            return str((self.folder / "train" / name / "model").resolve())
        return student_address(self.recipe.student)

    def _compare(self) -> None:
        names, found = self.plan.scored, []
        for benchmark in self.recipe.evaluate.benchmarks:
            scores = {n: read_json(self.folder / "evaluate" / n / benchmark.name / "scores.json") for n in names}
            for place, name in reversed(list(enumerate(names))):  # the last stage against the one before it comes first
                for other in reversed(names[:place]):
                    pair = paired_difference(scores[name], scores[other], seed=self.recipe.seed, names=(name, other))
                    found.append({"a": name, "b": other, "benchmark": benchmark.name, **pair})
        write_json(self.folder / "evaluate" / "comparisons.json", found)

    # --- report: all of it -> one page ---

    def report(self) -> None:
        if self.recipe.report.token_changes:
            write_token_changes(self.folder, self.recipe, stage_of_tokens(self.folder), pairs_shown(self.folder))
        say(f"report   {write_report(self.folder)}")


def run(recipe: Recipe, *, runs_dir: Path, start: str | None = None, until: str | None = None) -> Path:
    """Run a recipe and return its folder. `start` makes that room and those after it again; `until` stops after one."""
    plan = make_plan(recipe)
    folder = runs_dir / recipe.name
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0:
        return _help_training(Run(plan, folder), until)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder), open_executor(recipe.execution) as executor:
        sweep(folder)
        _forget(folder, start)
        forget_scores(folder, plan.fingerprints)
        write_bytes(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
        this = Run(plan, folder, executor)
        seconds: dict[str, float] = {}
        last = STAGES.index(until) if until else len(STAGES) - 1
        for name in STAGES[: last + 1]:
            if name == "report":
                run_record(folder, recipe, plan.files, seconds)
            began = time.perf_counter()
            getattr(this, name)()
            if name == "select":
                executor.close()  # the rooms after it have the machine to themselves
            seconds[name] = round(time.perf_counter() - began, 1)
        if last < STAGES.index("report"):
            run_record(folder, recipe, plan.files, seconds)
    return folder


def _help_training(this: Run, until: str | None) -> Path:
    """What the other ranks of `accelerate launch` do: wait for the pairs, train with rank 0, and leave."""
    if until in ("corpus", "verify", "select"):
        return this.folder
    room = this.room("select", {})
    while not (room.ledger_path.exists() and room.ledger().get("fingerprint") == room.fingerprint):
        time.sleep(1.0)
    for stage, settings in this.recipe.train.items():
        folder, stage_fingerprint = this.folder / "train" / stage, this.plan.fingerprints[f"train/{stage}"]
        if is_finished(folder, stage_fingerprint):
            continue
        while settings.start != "base" and not is_finished(
            this.folder / "train" / settings.start, this.plan.fingerprints[f"train/{settings.start}"]
        ):
            time.sleep(1.0)
        this.train_one(stage)
    return this.folder


# --- small helpers ----------------------------------------------------------------------------------------------


def _forget(folder: Path, start: str | None) -> None:
    """Remove what the rooms from `start` on have made."""
    for name in STAGES[STAGES.index(start) :] if start else ():
        if name == "report":
            (folder / "report.html").unlink(missing_ok=True)
        else:
            StageFolder(folder / name, "").forget()


def forget_scores(folder: Path, fingerprints: dict[str, str]) -> None:
    """Remove scores that another recipe made, lest a page show them as this one's. The answers stay: where they fit
    again, they are scored again."""
    for path in folder.glob("evaluate/*/*/scores.json"):
        stamp = path.with_name("fingerprint")
        if not stamp.exists() or stamp.read_text(errors="replace") != fingerprints.get(
            str(path.parent.relative_to(folder))
        ):
            path.unlink()
            (folder / "evaluate" / "comparisons.json").unlink(missing_ok=True)


def _stream(folder: Path, stream: str) -> Iterator[Any]:
    """The records of a finished room's stream; a generator, so nothing is read before it is asked for."""
    yield from StageFolder(folder, "").read(stream)


def _account(ledger: dict[str, Any], name: str) -> str:
    account = ledger["accounts"][name]
    reasons = ", ".join(f"{n} {reason}" for reason, n in list(account["dropped"].items())[:4])
    kept = f"{account['kept']} of {account['in']} {account['unit']}s kept"
    return f"{name}: {kept}" + (f" ({reasons})" if reasons else "")


def _by_count(tally: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(tally.items(), key=lambda item: -item[1])


def _last_line(path: Path) -> dict[str, Any]:
    return read_lines(path)[-1]
