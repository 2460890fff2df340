"""The user's slips: one sentence that says what to do, exit code 2, no traceback, nothing half-made."""

import json

import pytest
from mini import MINI

ROW = {"problem": "1+1=", "answer": "2", "generations": [{"text": "####2", "correct": True}]}
TRACES = "corpus.sources=[{name: traces, path: rows.jsonl}]"


def rows(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def some(*texts, count=8):
    """`count` problems, each with these completions (`%d` is the right digit)."""
    made = []
    for i in range(count):
        generations = [{"text": text.replace("%d", str(i))} for text in texts]
        made.append({"problem": f"0+{i}=", "answer": str(i), "generations": generations})
    return rows(*made)


SLIPS = {
    "a wrong key": (
        ["--set", "train.redi.learning_rat=1e-6"],
        {},
        "train.redi.learning_rat: unknown key; did you mean 'learning_rate'?",
    ),
    "a wrong stage": (["--set", "verfy.policy=all"], {}, "verfy: unknown key; did you mean 'verify'?"),
    "a wrong value": (["--set", "train.redi.learning_rate=quick"], {}, "train.redi.learning_rate: input should be a"),
    "no traces file": (["--set", TRACES], {}, "there is no file or folder at rows.jsonl"),
    "an empty file": (["--set", TRACES], {"rows.jsonl": ""}, "the corpus is empty: 0 rows read"),
    "no usable row": (
        ["--set", TRACES],
        {"rows.jsonl": "not json\n[1]\n" + rows({"problem": "x"})},
        "the corpus is empty: 3 rows read, all dropped: ",
    ),
    "problems and no trace": (
        ["--set", "corpus.sources=[{name: problems, path: rows.jsonl}]"],
        {"rows.jsonl": rows({"problem": "0+1=", "answer": "1"}, {"problem": "0+2=", "answer": "2"})},
        "corpus: 2 problems but no trace, which verify, select and train need; add a source with traces",
    ),
    "all traces right": (["--set", TRACES], {"rows.jsonl": some("####%d")}, "no pair was made from 8 problems ("),
    "all traces wrong": (["--set", TRACES], {"rows.jsonl": some("####no")}, "no example was made from 8 traces ("),
    "a prompt longer than the context": (
        ["--set", "student.from_config.max_position_embeddings=6", "--set", "evaluate.max_new_tokens=2"],
        {},
        "prompt_too_long",
    ),
    "rows longer than the context": (
        ["--set", "student.from_config.max_position_embeddings=12", "--set", "evaluate.max_new_tokens=2"],
        {},
        "no row is left to train on",
    ),
    "a student that is not there": (
        ["--set", "student={model: ./nothing}"],
        {},
        "student.model: ./nothing is neither a folder, a .gguf file nor a hub id",
    ),
    "a hub id that cannot be reached": (
        ["--set", "student={model: no/such-model}"],
        {},
        "student.model: no/such-model is not a folder here",
    ),
    "a folder without tokenizer": (
        ["--set", "student={model: folder}"],
        {"folder/config.json": '{"model_type": "llama"}'},
        "student.model: folder has no tokenizer; copy tokenizer.json and tokenizer_config.json",
    ),
    "a folder without config": (["--set", "student={model: folder}"], {"folder/x": ""}, "folder has no config.json"),
    "a package that is not installed": (
        ["--set", "student={model: 'package:no-such-package'}"],
        {},
        "package no-such-package is not installed",
    ),
    "an unknown objective": (
        ["--set", "train.redi.objective={name: reddi}"],
        {},
        "train.redi.objective: there is no 'reddi'; did you mean 'redi'?",
    ),
    "an unknown option of an objective": (
        ["--set", "train.redi.objective.alpha=1"],
        {},
        "train.redi.objective (redi): alpha: unknown key",
    ),
    "an unknown source": (["--set", "corpus.sources.0.name=two-habit"], {}, "did you mean 'two-habits'?"),
    "an unknown option of a source": (
        ["--set", "corpus.sources.0.problem=9"],
        {},
        "corpus.sources.0 (two-habits): problem: unknown key; did you mean 'problems'?",
    ),
    "a label that no trace has": (
        ["--set", TRACES, "--set", "verify.labels=[teacher_labl]"],
        {"rows.jsonl": rows(ROW)},
        "no trace of the corpus has the label 'teacher_labl'; did you mean 'teacher_label'?",
    ),
    "nobody who judges": (["--set", "verify.verifiers=[]"], {}, "verify: no verifier and no label decides"),
    "no dev problem": (
        ["--set", "corpus.dev_fraction=0.0001"],
        {},
        "no problem was held out for dev; add problems with gold answers",
    ),
    "an unknown policy": (["--set", "verify.policy=casade"], {}, "did you mean 'cascade'?"),
    "a stage that starts from nowhere": (["--set", "train.redi.start=sfd"], {}, "no earlier stage is called 'sfd'"),
    "a benchmark's wrong column": (
        ["--set", "evaluate.benchmarks=[{name: math, file: math.jsonl, problem_column: question}]"],
        {"math.jsonl": rows({"problem": "1+1=", "answer": "2"})},
        "math.jsonl has no column 'question'; ",
    ),
    "a benchmark without file": (
        ["--set", "evaluate.benchmarks=[aime]"],
        {},
        "is not a known benchmark; did you mean 'aime25'?",
    ),
    "two benchmarks of one name": (
        ["--set", "evaluate.benchmarks=[{file: math.jsonl}, dev]"],
        {"math.jsonl": rows({"problem": "1+1=", "answer": "2"})},
        "two benchmarks are called 'dev'",
    ),
    "a benchmark's name that is a path": (
        ["--set", "evaluate.benchmarks=[{name: ../../x, file: math.jsonl}]"],
        {"math.jsonl": rows({"problem": "1+1=", "answer": "2"})},
        "evaluate.benchmarks.0.name",
    ),
    "two verifiers of one name": (
        ["--set", "verify.verifiers=[cascade, {name: cascade, relative_tolerance: 1e-3}]"],
        {},
        "two verifiers are called 'cascade'",
    ),
    "no dev and no file": (["--set", "corpus.dev_fraction=0"], {}, "hold some problems out, or give a file"),
    "a template without its problem": (["--set", "prompt.template=Solve it"], {}, "one {problem} in it"),
    "a chat template that is not there": (["--set", "prompt.chat=true"], {}, "has no chat template"),
    "from after until": (["--from", "train", "--until", "select"], {}, "--from train comes after --until select"),
    "a --set without a value": (["--set", "seed"], {}, "write it as a.b=value"),
    "a name that is a path": (["--name", "../x"], {}, "name: "),
    "a runs folder that is a file": (["--runs-dir", "mini.yaml"], {}, "mini.yaml"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_one_sentence_and_exit_code_2(name, here, tool):
    arguments, files, sentence = SLIPS[name]
    for path, text in files.items():
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_text(text)
    done = tool(here, "run", "mini.yaml", *arguments)
    assert done.returncode == 2, done.stderr
    *progress, last = done.stderr.splitlines()
    assert last.startswith("redistill: ") and sentence in last
    assert all(line.split()[0] in ("corpus", "verify", "select", "train") for line in progress), done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


FILES = {
    "not there": (None, "there is no recipe at"),
    "a list": ("- 1\n- 2\n", "must hold a table"),
    "nothing": ("", "my.yaml is empty; `redistill init` writes a recipe"),
    "broken": ("name: [\n", "is not valid YAML"),
    "an object tag": ("name: !!python/object/apply:os.system ['echo hello']\n", "is not valid YAML"),
    "no text": ("name: \x00\n", "is not valid YAML"),
    "an anchor that holds itself": ("diagnosis: &a {name: two-habits, x: *a}\n", "refers to itself"),
    "a table that holds itself": (
        MINI.replace("alphabet:", "config_edits: &a {rope_parameters: *a}\n  alphabet:"),
        "refers to itself",
    ),
    "nested beyond measure": ("name: " + "[" * 5000 + "]" * 5000 + "\n", "nested too deeply"),
    "an anchor that multiplies": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{n}: &{n} [{', '.join(['*' + o] * 10)}]\n" for o, n in zip("abcdefghi", "bcdefghij")),
        "is too large",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_recipe_is_one_sentence(name, tmp_path, tool):
    text, sentence = FILES[name]
    if text is not None:
        (tmp_path / "my.yaml").write_text(text)
    done = tool(tmp_path, "run", "my.yaml")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("redistill: ") and sentence in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_all_mistakes_of_a_recipe_are_said_at_once_one_a_line(here, tool):
    done = tool(here, "run", "mini.yaml", "--set", "seed=x", "--set", "evaluate.n=0")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2
    assert "seed: " in done.stderr and "evaluate.n: " in done.stderr


VERBS = {
    "scores of no run": (["scores", "nothing"], "is not a run's folder"),
    "report of no run": (["report", "nothing"], "nothing"),
    "show nothing": (["show", "nothing.parquet"], "there is no file nothing.parquet"),
    "show what is not a record": (
        ["show", "notes.txt"],
        "is not a record file; those that can be shown end in .parquet",
    ),
}


@pytest.mark.parametrize("name", VERBS)
def test_the_other_verbs_speak_in_sentences_too(name, here, tool):
    arguments, sentence = VERBS[name]
    (here / "notes.txt").write_text("not ours")
    done = tool(here, *arguments)
    assert done.returncode == 2 and sentence in done.stderr and len(done.stderr.splitlines()) == 1
