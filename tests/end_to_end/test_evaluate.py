"""`redistill evaluate` on the miniature student: one line gives scores and a page; killed, it goes on; nothing is drawn over."""

import json
import shutil

import pytest
from mini import cut_at

from redistill.io.stage_folder import StageFolder

PROBLEMS = [{"question": f"{i}+{i + 1}*2=", "gold": (3 * i + 2) % 10} for i in range(6)]
BENCHMARK = "{name: sums, file: sums.jsonl, problem_column: question, answer_column: gold}"
ASKED = ("--benchmark", BENCHMARK, "--template", "bare", "--n", "2", "--max-new-tokens", "12")


@pytest.fixture
def place(whole, tmp_path):
    """A folder with the trained miniature student in `student` and a benchmark beside it."""
    shutil.copytree(whole / "runs" / "mini" / "train" / "redi" / "model", tmp_path / "student")
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return tmp_path


def files(folder):
    return {
        p.name: p.read_bytes() for p in sorted((folder / "evaluate" / "student" / "sums").rglob("*.*")) if p.is_file()
    }


def test_one_line_gives_scores_and_a_page_and_killed_it_goes_on_to_the_same_bytes(place, tool):
    done = tool(place, "evaluate", "student", *ASKED, "--name", "whole")
    assert done.returncode == 0, done.stderr
    folder = place / "runs" / "whole"
    assert "sums" in done.stdout and str(folder / "report.html") in done.stdout
    page = (folder / "report.html").read_text()
    assert ">student<" in page and "stage corpus has not run" not in page
    scores = json.loads((folder / "evaluate/student/sums/scores.json").read_text())
    assert (scores["num_problems"], scores["num_samples"], set(scores["pass_at_k"])) == (6, 2, {"1", "2"})
    assert (
        scores["settings"]["template"] == "bare" and scores["strict"] is None
    )  # `bare` asks for no place of the answer
    shown = tool(place, "scores", "runs/whole", "--json")
    assert json.loads(shown.stdout)["scores"][0]["model"] == "student"

    cut = cut_at("redistill.io.stage_folder:StageFolder.finish_shard", "sums", when="before")
    killed = tool(place, "evaluate", "student", *ASKED, "--name", "killed", cut=cut)
    assert killed.returncode == -9
    journal = place / "runs/killed/evaluate/student/sums/samples.jsonl"
    assert len(journal.read_text().splitlines()) == 12
    # what is kept is not drawn again: a journal with other words gives other answers
    said = tool(place, "evaluate", "student", *ASKED, "--name", "killed", "--json")
    assert said.returncode == 0 and json.loads(said.stdout)["scores"][0]["num_samples"] == 2
    assert files(place / "runs" / "killed") == files(folder) and not journal.exists()


def test_other_settings_make_another_folder_and_never_replace_answers(place, tool):
    first = tool(place, "evaluate", "student", *ASKED, "--json")
    again = tool(place, "evaluate", "student", *ASKED, "--json")
    warmer = tool(place, "evaluate", "student", *ASKED, "--temperature", "1", "--json")
    runs = [json.loads(done.stdout)["run"] for done in (first, again, warmer)]
    assert runs[0] == runs[1] != runs[2] and all(run.startswith("runs/student-sums-") for run in runs)
    name = runs[0].removeprefix("runs/")
    refused = tool(place, "evaluate", "student", *ASKED, "--temperature", "1", "--name", name)
    assert refused.returncode == 2 and "which are kept; choose another --name" in refused.stderr
    kept = list(StageFolder(place / runs[0] / "evaluate/student/sums", "").read("groups"))
    assert {t.sampling["temperature"] for g in kept for t in g.traces} == {0.6}


@pytest.mark.parametrize(
    "words, said",
    [
        (("nowhere/at/all", "--benchmark", "file:sums.jsonl"), "neither a folder, a .gguf file nor a hub id"),
        (("student", "--benchmark", "file:none.jsonl"), "there is no benchmark file at none.jsonl"),
        (("student", "--benchmark", "math500"), "did you mean 'math-500'?"),
        (("student", "--benchmark", "dev"), "dev is held out of the corpus of a training run"),
        (("student", "--benchmark", "{name: [}"), "is not valid YAML"),
        (("student", "--benchmark", "file:sums.jsonl"), "no column 'problem'"),
        (("student", *ASKED, "--engine", "vllm"), "there is no 'vllm'"),
        (("student", *ASKED, "--base-url", "http://127.0.0.1:9/v1"), "--base-url belongs to --engine openai"),
        (("student", *ASKED, "--chat"), "has no chat template"),
        (("student", *ASKED, "--set", "evaluate.n=0"), "evaluate.n"),
        (("student", *ASKED, "--set", "evaluate.models=[base]"), "one student is evaluated here"),
        (("student", *ASKED, "--set", "train.sft.steps=3"), "train: unknown key"),
    ],
)
def test_a_slip_is_one_sentence(place, tool, words, said):
    done = tool(place, "evaluate", *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not list(place.glob("runs/*/evaluate"))


def test_examples_stand_before_the_problem_and_options_are_chosen_by_log_likelihood(place, tool):
    (place / "shown.jsonl").write_text('{"question": "9+9*2=", "gold": "7"}\n')
    few = "{name: sums, file: sums.jsonl, problem_column: question, answer_column: gold, template: bare, few_shot: {count: 1, file: shown.jsonl}}"
    done = tool(place, "evaluate", "student", "--benchmark", few, "--n", "1", "--max-new-tokens", "4", "--name", "few")
    assert done.returncode == 0, done.stderr
    scores = json.loads((place / "runs/few/evaluate/student/sums/scores.json").read_text())
    assert scores["prompt_sent"].startswith("9+9*2= The answer is 7.\n\n") and scores["prompt_sent"].endswith("=")
    assert scores["settings"]["few_shot"] == [["9+9*2=", "The answer is 7."]]
    rows = [{"problem": row["question"], "choices": [str(row["gold"]), "##"], "answer": 0} for row in PROBLEMS]
    (place / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = "{name: sums, file: choices.jsonl, kind: choices, template: bare}"
    done = tool(place, "evaluate", "student", "--benchmark", asked, "--name", "choices")
    assert done.returncode == 0, done.stderr
    scores = json.loads((place / "runs/choices/evaluate/student/sums/scores.json").read_text())
    assert scores["choices"]["acc"]["value"] == scores["pass_at_1"]["value"] and scores["num_samples"] == 1
    assert "by log-likelihood" in done.stderr and (place / "runs/choices/report.html").exists()
    refused = tool(
        place, "evaluate", "m", "--benchmark", asked, "--engine", "openai", "--base-url", "http://127.0.0.1:9/v1"
    )
    assert refused.returncode == 2 and "kind choices needs the student's log-probabilities" in refused.stderr
