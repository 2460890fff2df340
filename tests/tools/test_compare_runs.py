"""Two runs compared and regraded from their files alone: no model, no old verdict touched, every slip a sentence."""

import json

import pytest

from redistill.cli import main
from redistill.config.parsing import read_plugin
from redistill.config.tables import LimitSettings, Plugin
from redistill.errors import OperatorError
from redistill.evaluate.stage import write_scores
from redistill.io.atomic import read_json
from redistill.io.stage_folder import StageFolder
from redistill.records import FINAL, Group, make_problem, make_trace
from redistill.tools import cross_run as module
from redistill.tools.cross_run import compare_runs, keep, label_of, regrade
from redistill.verify import exact
from redistill.verify.stage import verified_shard

PROBLEMS = [make_problem(f"What is {i}+1?", answer=str(i + 1)) for i in range(8)]
ONE_WORKER = LimitSettings(workers=1)


def write_run(folder, student, right, *, problems=PROBLEMS, temperature=0.6):
    """A run whose student is right on the numbers of `right`, in both samples, and off by one on the others."""

    groups = []
    for problem in problems:
        number = int(problem.answer) - 1
        said = "\\boxed{%s}" % (number + 1 + (number not in right))
        traces = []
        for index in range(2):
            sampling = {"sample_index": index, "temperature": temperature}
            trace = make_trace(problem.id, said, author=student, sampling=sampling, finish_reason="stop", num_tokens=10)
            verdict = exact(problem, trace)  # judged here: no worker is started for eight sums
            traces.append(trace.with_verdict("exact", verdict).with_verdict(FINAL, verdict))
        groups.append(Group(problem, tuple(traces)))
    stage_dir = StageFolder(folder / "evaluate" / student / "sums", "print")
    stage_dir.open()
    stage_dir.finish_shard(0, verified_shard(groups))
    stage_dir.finish(1)
    settings = {"temperature": temperature, "n": 2, "verifier": {"name": "exact", "options": {}}, "seed": 0}
    write_scores(stage_dir, n=2, model=student, benchmark="sums", settings=settings)
    return folder


@pytest.fixture
def runs(tmp_path):
    good = write_run(tmp_path / "good", "redi", range(1, 8))
    poor = write_run(tmp_path / "poor", "redi", [0], temperature=1.0)
    return good, poor


def test_two_runs_are_compared_by_problem_with_flips_and_what_differs(runs):
    (found,) = compare_runs(*runs)
    assert (found["a"], found["b"], found["benchmark"]) == ("redi@good", "redi@poor", "sums")
    # right on 7 of 8 against 1 of 8, and on other problems: 7 flips one way, 1 the other
    assert found["difference"] == pytest.approx(6 / 8) and found["pass_at_1"] == [7 / 8, 1 / 8]
    assert found["flips"] == {"both": 0, "only_a": 7, "only_b": 1, "neither": 0}
    assert found["mcnemar_p"] == pytest.approx(2 * (1 + 8) / 2**8)
    assert found["settings_differ"] == {"temperature": [0.6, 1.0]}
    assert found["is_claimed"] and found["sentence"].startswith("redi@good is above redi@poor by 75.0 points")
    flip = next(f for f in found["flipped"] if f["solved_by"] == "redi@poor")
    assert flip["problem_id"] == PROBLEMS[0].id and (flip["a"]["read"], flip["b"]["read"]) == ("2", "1")
    assert flip["a"]["completion_end"] == "\\boxed{2}" and flip["b"]["correct"] == 2


def test_a_run_against_itself_claims_nothing_in_plain_words(runs, tmp_path):
    same = write_run(tmp_path / "same", "redi", range(1, 8))
    (found,) = compare_runs(runs[0], same)
    assert (
        not found["is_claimed"] and "No difference between redi@good and redi@same can be claimed" in found["sentence"]
    )
    assert found["flipped"] == [] and found["settings_differ"] == {} and found["mcnemar_p"] == 1.0


def test_other_problems_are_refused_by_name_unless_the_common_ones_are_asked_for(runs, tmp_path):
    fewer = write_run(tmp_path / "fewer", "redi", [1], problems=PROBLEMS[:5])
    with pytest.raises(OperatorError, match=r"3 only in redi@good \(p"):
        compare_runs(runs[0], fewer)
    (found,) = compare_runs(runs[0], fewer, common=True)
    assert found["num_problems"] == 5 and found["left_out"] == [3, 0]


def test_students_are_chosen_by_name(runs):
    write_run(runs[0], "sft", [])
    with pytest.raises(OperatorError, match="several students: redi, sft; choose with --student"):
        compare_runs(*runs)
    (found,) = compare_runs(runs[0], runs[0], students=("redi", "sft"))
    assert found["sentence"].startswith("redi is above sft")
    for words, said in [
        ({"students": ("red", None)}, "no scores of 'red'; did you mean 'redi'"),
        ({"students": ("redi", None), "benchmarks": ["sum"]}, "no benchmark 'sum' .* did you mean 'sums'"),
        ({"students": ("redi", None), "verifier": "exact"}, "was not regraded by 'exact'"),
    ]:
        with pytest.raises(OperatorError, match=said):
            compare_runs(*runs, **words)
    with pytest.raises(OperatorError, match="both sides are redi of"):
        compare_runs(runs[0], runs[0], students=("redi", "redi"))
    with pytest.raises(OperatorError, match="there is no run folder at"):
        compare_runs(runs[0], runs[0] / "none", students=("redi", None))


def test_regrading_writes_beside_and_says_who_disagrees(runs):
    run = runs[0]
    before = {p: p.read_bytes() for p in (run / "evaluate").rglob("*") if p.is_file()}
    plugins = {"choice": Plugin(name="choice"), "exact": Plugin(name="exact")}
    found = regrade(run, plugins, limits=ONE_WORKER)
    assert [(f["a"], f["b"]) for f in found] == [
        ("exact (stored)", "choice"), ("exact (stored)", "exact"), ("choice", "exact"),
    ]  # fmt: skip
    # 8 problems of two samples: 14 right, 2 wrong; a gold number is not a letter, so `choice` cannot say
    assert found[0]["table"] == {"correct": {"ungradable": 14}, "incorrect": {"ungradable": 2}}
    assert found[0]["only_a_correct"] == 14 and found[1]["agree"] == 1.0
    scores = json.loads((run / "regraded/choice/redi/sums/scores.json").read_text())
    assert scores["pass_at_1"]["value"] == 0.0 and scores["settings"]["verifier"]["name"] == "choice"
    assert before == {p: p.read_bytes() for p in (run / "evaluate").rglob("*") if p.is_file()}
    regrade(runs[1], plugins, limits=ONE_WORKER)
    (compared,) = compare_runs(*runs, verifier="choice")
    assert compared["difference"] == 0.0 and compared["verifier"] == "choice"


def test_a_finished_regrading_is_not_done_again_and_a_new_one_joins_it(runs, monkeypatch):
    first = regrade(runs[0], {"choice": Plugin(name="choice")}, limits=ONE_WORKER)
    monkeypatch.setattr(module, "judged", lambda *arguments: pytest.fail("judged again"))
    assert regrade(runs[0], {"choice": Plugin(name="choice")}, limits=ONE_WORKER) == first
    monkeypatch.undo()
    regrade(runs[0], {"exact": Plugin(name="exact")}, limits=ONE_WORKER)
    kept = json.loads((runs[0] / "regraded/agreement.json").read_text())
    assert [(f["a"], f["b"]) for f in kept] == [("exact", "choice"), ("exact (stored)", "exact")]


def test_a_verifier_with_options_has_a_name_of_its_own():
    plugin = read_plugin("{name: exact, percent: strip}", "here")
    assert label_of(plugin) == "exact-percent=strip" and label_of(read_plugin("exact", "here")) == "exact"


@pytest.mark.parametrize(
    "words, said",
    [
        (["regrade", "{run}", "--verifier", "exac"], "there is no 'exac'; did you mean 'exact'?"),
        (["regrade", "{run}", "--verifier", "{name: exact, percnt: strip}"], "percnt: unknown key"),
        (["regrade", "{run}", "--verifier", "[1, 2]"], "write a name, or a table"),
        (["regrade", "{run}", "--verifier", "exact", "--student", "sft"], "no answers of student 'sft'"),
        (["regrade", "{run}", "--verifier", "exact", "--benchmark", "x"], "no answers of benchmark 'x'"),
        (["regrade", "nowhere", "--verifier", "exact"], "there is no run folder at nowhere"),
        (["compare", "{run}", "nowhere"], "there is no run folder at nowhere"),
    ],
)
def test_a_slip_of_the_verbs_is_one_sentence(runs, capsys, words, said):
    with pytest.raises(SystemExit) as stopped:
        main([word.format(run=runs[0]) if word == "{run}" else word for word in words])
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_the_verbs_print_and_keep_what_they_found(runs, capsys):
    good, poor = runs
    main(["compare", str(good), str(poor)])
    said = capsys.readouterr().out
    assert "redi@good is above redi@poor by 75.0 points" in said and "McNemar p = 0.070" in said
    assert "differs: temperature 0.6 against 1.0" in said and "“2” (incorrect; 0 of 2 right)" in said
    assert read_json(good / "compare/redi@good--redi@poor.json") == compare_runs(good, poor)
    main(["compare", str(good), str(poor), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["flips"]["only_a"] == 7
    main(["regrade", str(good), "--verifier", "choice", "--workers", "1"])
    said = capsys.readouterr().out
    assert "exact and choice agree on 0.0% of 16 answers; correct by exact alone: 14" in said
    assert keep(good, compare_runs(good, poor)).parent == good / "compare"
