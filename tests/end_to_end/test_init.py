"""`redistill init`: a recipe for every layout of traces, which runs as it was written."""

import json
import re
import string
import subprocess
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_sources_run import RIGHT, SOURCES, WRONG
from transformers import AutoConfig, AutoModelForCausalLM

from redistill import corpus
from redistill.cli import main
from redistill.config.binding import options_of
from redistill.config.parsing import load_recipe
from redistill.corpus.sources.layouts import recognise
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.model.loading import character_tokenizer
from redistill.tools.init import name_of

LAYOUTS_PAGE = Path(__file__).parents[2] / "docs/datasets.md"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The folder a user stands in, with the tokenizer and config of a student in `model`."""
    tokenizer = character_tokenizer(string.printable)
    tokenizer.save_pretrained(tmp_path / "model")
    config = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_attention_heads": 2}
    AutoConfig.for_model("llama", max_position_embeddings=512, **config).save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_weights(folder):
    """A student of one small layer in place of the config that is there."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vocab = AutoConfig.from_pretrained(folder).vocab_size
    config = AutoConfig.for_model("llama", vocab_size=vocab, max_position_embeddings=512, **sizes)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def labelled(i):
    """A problem without a gold answer, and a right and a wrong trace by the source's own label."""
    generations = [{"text": RIGHT[i], "correct": True}, {"text": WRONG[i], "correct": False}]
    return {"problem": f"0+{i}=", "generations": generations}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def exit_and_words(capsys, *arguments):
    """(exit code, stderr) of a command that is refused."""
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return end.value.code, capsys.readouterr().err


def pieces(folder, stream):
    return [r for path in sorted((folder / "runs/mine/select" / stream).glob("*.parquet")) for r in read_records(path)]


# Three layouts run in `make test`: labels of the source, verdicts of our own, right traces alone. All do in `make recipes`; that
# every source runs to the same rows without `init` is test_sources_run.py.
RUN_IN_SHORT = ("traces", "openr1-math-raw", "messages")


@pytest.mark.parametrize(
    "source", [pytest.param(name, marks=() if name in RUN_IN_SHORT else pytest.mark.recipes) for name in SOURCES]
)
def test_a_recipe_written_for_a_layout_runs_to_examples_and_pairs(source, there, tool):
    row, _, _, num_pairs = SOURCES[source]
    write(there / "rows.jsonl", [row(i) for i in range(5)])
    done = tool(there, "init", "--traces", "rows.jsonl", "--model", "model", "--name", "mine")
    assert done.returncode == 0, done.stderr
    assert f"rows.jsonl reads as `{source}`" in done.stdout and "wrote mine.yaml" in done.stdout
    assert ("redi" in load_recipe(there / "mine.yaml").train) == bool(num_pairs)
    done = tool(there, "run", "mine.yaml", "--until", "select", "--set", "verify.workers=1")
    assert done.returncode == 0, done.stderr
    assert {e.completion.removeprefix("<answer>") for e in pieces(there, "examples")} <= set(RIGHT)
    assert len(pieces(there, "examples")) >= 4  # all five, less what is held out
    pairs = {(p.chosen, p.rejected) for p in pieces(there, "pairs")}
    assert pairs <= set(zip(RIGHT, WRONG, strict=True)) and (len(pairs) >= 4 if num_pairs else not pairs)


def test_every_source_that_reads_files_has_its_case_here():
    readers = {name for name, source in corpus.SOURCES.items() if "path" in options_of(source)}
    assert set(SOURCES) == readers - {
        "problems",
        "step-judgements",
        "labelled-steps",
        "visual-questions",
    }  # problems alone make no recipe, see below


@pytest.mark.parametrize(
    ("source", "block"),
    re.findall(r"^\*\*`([\w-]+)`\*\*.*?```json\n(.*?)```", LAYOUTS_PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE),
    ids=lambda value: value if len(value) < 30 else "rows",
)
def test_the_rows_shown_in_the_readme_are_recognised(source, block, tmp_path):
    (tmp_path / "rows.jsonl").write_text(block)
    assert recognise(str(tmp_path / "rows.jsonl"), corpus.SOURCES).source == source


def test_columns_of_other_names_are_found_also_in_parquet(there):
    rows = [{"question": f"{i}?", "gold": str(i), "responses": [f"\\boxed{{{i}}}", "no"]} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), there / "rows.parquet")
    main(["init", "--traces", "rows.parquet", "--model", "model"])
    (source,) = load_recipe("rows.yaml").corpus.sources
    assert source.name == "traces"
    assert source.options == {
        "path": "rows.parquet",
        "problem_column": "question",
        "generations_column": "responses",
        "answer_column": "gold",
    }


def test_a_reader_that_keeps_more_of_a_row_wins(tmp_path):
    """Rows of AM-DeepSeek are messages too, but only their own reader finds the gold answers."""
    write(tmp_path / "rows.jsonl", [SOURCES["am-deepseek-r1"][0](i) for i in range(5)])
    found = recognise(str(tmp_path / "rows.jsonl"), corpus.SOURCES)
    assert (found.source, found.answers, found.options) == ("am-deepseek-r1", 1.0, {})


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ({"problem": "1+1?", "answer": "2"}, "problems"),
        ({"question": "1+1?", "gold": 2, "level": "easy"}, "problems"),
        ({"problem": "1+1?", "answer": "2", "generations": [{"text": "2"}]}, "traces"),
        ({"problem": "1+1?", "generations": [{"text": "2"}]}, "traces"),
        ({"prompt": "1+1?", "completion": "2"}, "completions"),
        ({"question": "1+1?", "output": "2"}, "completions"),
        ({"prompt": "1+1?", "chosen": "2", "rejected": "3"}, "preference"),
    ],
)
def test_problems_are_told_from_traces(row, source, tmp_path):
    write(tmp_path / "rows.jsonl", [row] * 3)
    assert recognise(str(tmp_path / "rows.jsonl"), corpus.SOURCES).source == source


def test_one_readable_trace_makes_a_file_of_traces_and_unreadable_traces_are_no_list_of_problems(tmp_path):
    bad = {"problem": "1+1?", "answer": "2", "generations": [{"words": "2"}]}
    write(tmp_path / "rows.jsonl", [bad] * 9)
    with pytest.raises(OperatorError, match=r"no source can read its columns \(answer, generations, problem\)"):
        recognise(str(tmp_path / "rows.jsonl"), corpus.SOURCES)
    write(tmp_path / "rows.jsonl", [bad] * 9 + [{**bad, "generations": [{"text": "2"}]}])
    found = recognise(str(tmp_path / "rows.jsonl"), corpus.SOURCES)
    assert (found.source, found.groups, found.rows) == ("traces", 1, 10)


def test_names_and_paths_of_any_kind_come_back_from_the_recipe(there):
    folder = there / 'a "b": #c'
    folder.mkdir()
    write(folder / "my rows (1).jsonl", [SOURCES["traces"][0](i) for i in range(5)])
    path = f"{folder.name}/my rows (1).jsonl"
    main(["init", "--traces", path, "--model", "./model", "--out", "x.yaml"])
    recipe = load_recipe("x.yaml")
    assert recipe.name == "my-rows-1" and recipe.corpus.sources[0].options == {"path": path}
    assert name_of("///") == "mine" and name_of("on.jsonl.gz") == "on"


def test_what_cannot_become_a_recipe_is_a_sentence(there, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    write(there / "odd.jsonl", [{"a": 1, "b": 2}])
    write(there / "bare.jsonl", [{"problem": "1?", "generations": [{"text": "2"}]}])
    write(there / "rows.jsonl", [SOURCES["traces"][0](i) for i in range(5)])
    write(there / "asked.jsonl", [{"problem": "1?", "answer": "1"}])
    (there / "taken.yaml").write_text("mine")
    cases = {
        ("--traces", "asked.jsonl", "--model", "model"): "holds problems and no trace (it reads as `problems`)",
        ("--traces", "odd.jsonl", "--model", "model"): "no source can read its columns (a, b)",
        ("--traces", "bare.jsonl", "--model", "model"): "neither gold answers nor labels",
        ("--traces", "none.jsonl", "--model", "model"): "there is no file or folder at none.jsonl",
        ("--traces", "rows.jsonl", "--model", "./nothing"): "./nothing is neither a folder",
        ("--traces", "rows.jsonl", "--model", "model", "--name", "a/b"): "name: string should match pattern",
        ("--traces", "rows.jsonl", "--model", "model", "--out", "taken.yaml"): "taken.yaml already exists",
        ("--traces", "rows.jsonl", "--model", "model", "--out", "no/x.yaml"): "cannot write no/x.yaml",
        ("--traces", "rows.jsonl"): "the input is not interactive; give --model M",
        (): "give --traces FILE",
    }
    for arguments, words in cases.items():
        code, err = exit_and_words(capsys, "init", *arguments)
        said = [line for line in err.splitlines() if not line.startswith("init     ")]  # those are its progress
        assert code == 2 and len(said) == 1 and words in said[0]
    assert (there / "taken.yaml").read_text() == "mine" and not (there / "rows.yaml").exists()


@pytest.mark.parametrize("source", ["preference", "messages", "traces"])
def test_data_without_gold_answers_is_trained_on_and_ends_with_a_report(source, there, tool):
    """Nobody can be scored, and that is not an error: the sentence says why and what to write."""
    row = labelled if source == "traces" else SOURCES[source][0]
    write(there / "rows.jsonl", [row(i) for i in range(5)])
    save_weights(there / "model")
    done = tool(there, "init", "--traces", "rows.jsonl", "--model", "model", "--name", "mine")
    assert done.returncode == 0, done.stderr
    few = [word for stage in load_recipe(there / "mine.yaml").train for word in ("--set", f"train.{stage}.steps=1")]
    done = tool(there, "run", "mine.yaml", "--set", "verify.workers=1", *few)
    assert done.returncode == 0, done.stderr
    why = "othing could be scored, because no problem has a gold answer; to get scores, write a file"
    assert done.stdout.startswith("N" + why) and "report: " in done.stdout
    page = (there / "runs/mine/report.html").read_text()
    assert f"Left out: n{why}" in page and "the stage evaluate has not run" not in page
    done = tool(there, "scores", "runs/mine", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["unscored"].startswith("n" + why)


def test_problems_held_out_without_gold_answers_are_told_before_anything_is_trained(there, tool):
    write(there / "rows.jsonl", [labelled(i) for i in range(5)])
    assert tool(there, "init", "--traces", "rows.jsonl", "--model", "model", "--name", "mine").returncode == 0
    sets = ("--set", "corpus.dev_fraction=0.3", "--set", "evaluate.benchmarks=[dev]")
    done = tool(there, "run", "mine.yaml", "--set", "verify.workers=1", *sets)
    assert done.returncode == 2 and "held out for dev and none has a gold answer" in done.stderr
    assert not list((there / "runs/mine").glob("train/*/model"))


def test_four_questions_are_asked_with_defaults(there, monkeypatch, capsys):
    write(there / "rows.jsonl", [SOURCES["traces"][0](i) for i in range(5)])
    answers, asked = iter(["", "rows.jsonl", "model", "", "own.yaml"]), []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or next(answers))
    main(["init", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["recipe"], told["source"], told["traces"]) == ("own.yaml", "traces", 10)
    assert asked[0] == asked[1] and asked[3:] == ["Name of the recipe [rows]: ", "Write it to [rows.yaml]: "]
    assert load_recipe("own.yaml").name == "rows"


def test_teachers_who_answered_in_json_get_a_prompt_that_asks_for_it(there):
    said = ['{"reasoning": "r", "answer": "2"}', 'Here:\n```json\n{"reasoning": "r", "answer": "3"}\n```']
    write(there / "rows.jsonl", [{"problem": "1+1?", "answer": "2", "generations": [{"text": t} for t in said]}])
    main(["init", "--traces", "rows.jsonl", "--model", "model"])
    assert load_recipe("rows.yaml").prompt.template == "json"


def test_a_folder_on_the_hub_is_not_guessed_at(there):
    with pytest.raises(OperatorError, match="download a dataset of the hub first"):
        recognise("no/such-dataset", corpus.SOURCES)


ODD_NAMES = (
    "-new\nline\r\t\x07\x7f\x85\u2028\x1b[31m\ufffe",
    "--a: #b 'q' \"\\ $(id) `id`; [1]*? ",
    "~nobody \U0001f600 é &a !b |c {a}, %",
    ".nan",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_what_init_writes_for_a_file_of_any_name_reads_that_very_file(name, there, capsys):
    """The recipe parses, is fine, and names the file, the model and the columns; the commands that it shows name the recipe."""
    (there / "model").rename(there / f"{name}-model")
    rows = [{**SOURCES["traces"][0](i), name: "unread", f"{name} #": {"a": 1}} for i in range(5)]
    write(there / f"{name}.jsonl", rows)
    main(["init", f"--traces={name}.jsonl", f"--model={name}-model", f"--out={name}.yaml"])
    said = capsys.readouterr().out
    recipe = load_recipe(f"{name}.yaml")
    assert recipe.corpus.sources[0].options == {"path": f"{name}.jsonl"} and recipe.student.model == f"{name}-model"
    main(["validate", f"./{name}.yaml"])
    assert "is fine" in capsys.readouterr().out
    shown = [said.rpartition("; next: ")[2].partition(", then ")[0]]
    shown += re.findall(
        r"redistill (?:validate|run|doctor --recipe) (?!--schema).*?(?=   |$| --until)",
        (there / f"{name}.yaml").read_text(),
        re.MULTILINE,
    )
    assert len(shown) == 4
    for command in shown:
        words = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
        ).stdout.decode()
        assert words.split("\0")[-2] in (f"{name}.yaml", f"./{name}.yaml")


def test_a_folder_or_an_archive_of_an_odd_name_is_read_too(there):
    for path in ("d\n[1] #/rows.jsonl", "e: \x07/in/rows.jsonl"):
        (there / path).parent.mkdir(parents=True)
        write(there / path, [SOURCES["traces"][0](i) for i in range(5)])
        folder = path.partition("/")[0]
        main(["init", f"--traces={folder}", "--model=model", f"--out={path[0]}.yaml"])
        assert load_recipe(f"{path[0]}.yaml").corpus.sources[0].options == {"path": folder}
    with zipfile.ZipFile("a\nb.zip", "w") as archive:
        archive.write("d\n[1] #/rows.jsonl", "in\nner.jsonl")
    main(["init", "--traces=a\nb.zip", "--model=model", "--out=z.yaml"])
    assert load_recipe("z.yaml").corpus.sources[0].options == {"path": "a\nb.zip"}


def test_a_name_that_is_no_text_is_a_sentence(there, capsys):
    write(there / "bad\udcff.jsonl", [SOURCES["traces"][0](i) for i in range(5)])
    for arguments in (["--traces", "bad\udcff.jsonl"], ["--traces", "*.jsonl"], ["--traces", "."]):
        code, err = exit_and_words(capsys, "init", *arguments, "--model", "model", "--out", "x.yaml")
        assert code == 2 and "bad\\udcff.jsonl' is not UTF-8 text; rename the file" in err.splitlines()[-1]
    assert not (there / "x.yaml").exists()
