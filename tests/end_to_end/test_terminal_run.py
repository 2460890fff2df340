"""Every command, on a terminal, over traces that try to drive it: the raw bytes that reach the terminal hold no command but our
own colours and the bar's carriage return."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from hostile_text import HOSTILE, commands_in
from redistill.cli import COMMANDS as KNOWN
from redistill.io.atomic import sha256_file
from redistill.io.parquet import read_records, write_records
from redistill.records import Outcome

# what we write ourselves: colours of `doctor`, and tqdm's \r, cursor up and erase
OURS = re.compile("\x1b\\[[0-9;]*m|\r|\x1b\\[A|\x1b\\[K")


@pytest.fixture(scope="module")
def run(tool, whole, tmp_path_factory):
    """A finished run whose every text, name and reason is hostile, and files to give to the other verbs."""
    here = tmp_path_factory.mktemp("hostile")
    rows = [
        {"problem": f"{HOSTILE} {i}+1=", "answer": f"{i + 1}{HOSTILE}", "source": HOSTILE,
         "generations": [{"text": f"{HOSTILE} #### {i + 1 + k}", "teacher": HOSTILE, "correct": k == 0} for k in range(2)]}
        for i in range(8)
    ]  # fmt: skip
    lines = [json.dumps(row) for row in rows] + ["{", json.dumps({HOSTILE: 1})]
    (here / "rows.jsonl").write_text("\n".join(lines))
    (here / f"rows{HOSTILE.replace('/', '')}.jsonl").write_text("\n".join(lines))
    (here / "own.jsonl").write_text(json.dumps({"problem": "1+1=", "answer": "2"}) + "\n")
    (here / "sweep.yaml").write_text(
        json.dumps({"name": "s", "recipe": "mini.yaml", "variants": {HOSTILE: {HOSTILE: HOSTILE}}})
    )
    shutil.copy(whole / "mini.yaml", here / "mini.yaml")
    shutil.copytree(whole / "runs", here / "runs")
    made = tool(here, "run", "mini.yaml", "--name", "made", "--until", "select", *SETTINGS)
    assert made.returncode == 0, made.stderr
    # the same texts as a student's answers, in the finished run: what `compare`, `regrade` and `report` show
    for path in (here / "runs" / "mini" / "evaluate").glob("*/dev/groups/*.parquet"):
        groups = list(read_records(path))
        write_records(path, type(groups[0]), [hostile_group(group, path.parts[-4]) for group in groups])
        seal(path.parents[1])
    for path in (here / "runs" / "mini" / "evaluate").glob("*/dev/scores.json"):
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "settings": {HOSTILE: HOSTILE, "verifier": {"name": HOSTILE}}})
        )
    return here


def seal(stage_dir):
    """The checksums of a stage's files as they are now: this run comes from a stranger, who wrote them so."""
    for path in (*stage_dir.glob("*.done"), stage_dir / "ledger.json"):
        told = json.loads(path.read_text())
        for name, facts in told["files"].items():
            facts["sha256"] = sha256_file(stage_dir / name)
        path.write_text(json.dumps(told))


def hostile_group(group, student):
    outcome = Outcome.correct if student == "redi" else Outcome.incorrect  # so that every problem flips
    problem = dataclasses.replace(group.problem, statement=HOSTILE, answer=HOSTILE)
    verdicts = [{n: dataclasses.replace(v, outcome=outcome, extracted=HOSTILE, reason=HOSTILE) for n, v in t.verdicts.items()} for t in group.traces]  # fmt: skip
    traces = [
        dataclasses.replace(t, completion=HOSTILE, author=HOSTILE, verdicts=v) for t, v in zip(group.traces, verdicts)
    ]
    return dataclasses.replace(group, problem=problem, traces=tuple(traces))


ALPHABET = "0123456789+-*=;# " + "".join(
    sorted(set(HOSTILE) - set("0123456789+-*=;# "))
)  # of a tokenizer that knows them
SETTINGS = [
    word
    for setting in (
        "corpus.sources=[{name: traces, path: rows.jsonl}]",
        "evaluate.benchmarks=[{name: own, file: own.jsonl}]",
        "select.max_completion_tokens=5000",
        "select.max_prompt_tokens=5000",
        "verify.labels=[teacher_label]",
        "verify.policy=teacher_label",
        "diagnosis=null",
    )
    for word in ("--set", setting)
]
COMMANDS = {
    "run": [["run", "mini.yaml", "--name", "again", "--until", "select", *SETTINGS], ["run", f"{HOSTILE}.yaml"]],
    "evaluate": [["evaluate", HOSTILE, "--benchmark", "file:own.jsonl"], ["evaluate", "a/b", "--benchmark", HOSTILE]],
    "show": [["show", "runs/made/corpus/groups/part-00000.parquet"], ["show", "runs/made/verify/groups/part-00001.parquet", "0"],
             ["show", "runs/made/corpus/dropped/part-00000.parquet"], ["show", "rows.jsonl", "--json"], ["show", f"runs/{HOSTILE}"]],
    "why": [["why", "ID", "runs/made"], ["why", "rows.jsonl:8", "runs/made"], ["why", HOSTILE, "runs/made"]],
    "rollout": [["rollout", HOSTILE, "own.jsonl", "--out", "r.jsonl"], ["rollout", "a/b", f"{HOSTILE}.jsonl", "--out", "r.jsonl"]],
    "score": [["score", "rows.jsonl", "--with", "{name: perplexity, model: a/b}", "-o", f"{HOSTILE}.jsonl"],
              ["score", f"{HOSTILE}.jsonl", "--with", HOSTILE, "-o", "o.jsonl"], ["score", "rows.jsonl", "--with", HOSTILE, "-o", "o.jsonl"]],
    "datafree": [["datafree", f"{HOSTILE}.yaml"], ["datafree", "cmi-digits", "--set", f"student.network={json.dumps(HOSTILE)}",
                                                   "--set", "teacher={network: {name: folder, path: nowhere}}"],
                 ["datafree", "cmi-digits", "--set", f"synthesis.{HOSTILE}=1"]],
    "scores": [["scores", "runs/mini"], ["scores", "runs/mini", "--json"], ["scores", HOSTILE]],
    "compare": [["compare", "runs/mini", "runs/mini", "--student", "redi:control"], ["compare", "runs/mini", HOSTILE]],
    "regrade": [["regrade", "runs/mini", "--verifier", "exact", "--workers", "1"], ["regrade", "runs/mini", "--verifier", HOSTILE]],
    "lr-find": [["lr-find", "mini.yaml", "--stage", HOSTILE, "--rates", "1e-3"]],
    "export": [["export", "runs/mini", "--to", "trl", "-o", HOSTILE], ["export", HOSTILE, "--to", "trl", "-o", "out"],
               ["export", "runs/mini", "--to", HOSTILE, "-o", "out"]],
    "serve": [["serve", HOSTILE], ["serve", "a/b", "--print", "--server-args", HOSTILE]],
    "doctor": [["doctor", "--recipe", "mini.yaml", *SETTINGS, "--set", f"student.alphabet={json.dumps(ALPHABET)}"], ["doctor", HOSTILE]],
    "validate": [["validate", "mini.yaml", "--set", f"name={json.dumps(HOSTILE)}"], ["validate", f"{HOSTILE}.yaml"]],
    "init": [["init", "--traces", "rows.jsonl", "--model", "a/b", "--out", "made.yaml"], ["init", "--traces", f"{HOSTILE}.jsonl"],
             ["init", "--traces", "rows*.jsonl", "--model", HOSTILE]],
    "audit": [["audit", "rows.jsonl", "--workers", "1"], ["audit", f"{HOSTILE}.jsonl"], ["audit", "rows.jsonl", "--benchmark", HOSTILE]],
    "recipes": [["recipes"]],
    "verify": [["verify", "rows.jsonl", "--gold", "answer", "--prediction", "problem", "--workers", "1"],
               ["verify", "rows.jsonl", "--gold", HOSTILE, "--prediction", "p"]],
    "sweep": [["sweep", "sweep.yaml"], ["sweep", "sweep.yaml", "--set", f"{HOSTILE}={HOSTILE}"], ["sweep", f"{HOSTILE}.yaml"]],
    "plan": [["plan", "mini.yaml", *SETTINGS, "--gpu", "H100"], ["plan", "mini.yaml", "--gpu", HOSTILE], ["plan", f"{HOSTILE}.yaml"]],
    "report": [["report", "runs/mini"], ["report", HOSTILE]],
}  # fmt: skip


def test_every_verb_is_tried():
    assert set(COMMANDS) == {name.split()[0] for name in KNOWN}, "a new command: give it hostile files here"


@pytest.mark.parametrize(
    ("verb", "words"),
    [(verb, words) for verb, several in COMMANDS.items() for words in several],
    ids=lambda v: str(v)[:12],
)
def test_nothing_drives_the_terminal(tool, run: Path, verb, words):
    if "ID" in words:
        group = next(read_records(next(p for p in sorted((run / "runs" / "made" / "corpus" / "groups").iterdir()))))
        words = [group.traces[0].id if word == "ID" else word for word in words]
    done = tool(run, *words, terminal=True, env={"CI": "", "TERM": "xterm"})
    text = done.stdout
    assert "Traceback" not in text and text.strip(), text
    assert done.returncode in (0, 2)
    assert not commands_in(OURS.sub("", text)), repr(text)
    assert "\x1b[31m" not in text and "\roverwritten" not in text  # nor do ours stand where a trace has put them


def test_the_texts_do_reach_the_terminal(tool, run):
    """The test above could not fail on an empty screen."""
    for words in (COMMANDS["show"][0], COMMANDS["compare"][0], COMMANDS["doctor"][0]):
        assert "\\x1b]52;c;" in tool(run, *words, terminal=True, env={"CI": ""}).stdout
