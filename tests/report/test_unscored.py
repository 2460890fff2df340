"""Why a run has no scores: in one sentence, with what to write."""

import pytest
import yaml

from redistill.config.tables import Plugin
from redistill.errors import OperatorError
from redistill.io.parquet import write_records
from redistill.records import Group, make_problem
from redistill.report.unscored import why_unscored
from redistill.tools.cross_run import compare_runs, regrade
from redistill.tools.scores import score_table


@pytest.fixture
def run(tmp_path):
    """make(benchmarks, answers) -> the folder of a run with such a recipe and such gold answers, in two shards."""

    def make(benchmarks, answers=()):
        (tmp_path / "corpus/groups").mkdir(parents=True)
        (tmp_path / "layout.json").write_text('{"layout": 2, "recipe_file": "", "name": "x"}')
        recipe = {"name": "x", "train": {"sft": {}}, "evaluate": {"benchmarks": benchmarks}}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        groups = [Group(make_problem(f"{i}?", answer=answer), ()) for i, answer in enumerate(answers)]
        for shard in (0, 1):
            write_records(tmp_path / f"corpus/groups/part-0000{shard}.parquet", Group, groups[shard::2])
        return tmp_path

    return make


NO_GOLD = "nothing could be scored, because no problem has a gold answer; to get scores, write a file with the columns problem and answer"


def test_no_gold_answer_is_told_with_what_to_write(run):
    why = why_unscored(run([], [None, None, None]))
    assert why.startswith(NO_GOLD) and why.count(". ") == 0 and why.endswith(".")  # one sentence
    assert "evaluate.benchmarks: [{name: mine, file: my_problems.jsonl}]" in why
    assert "redistill evaluate RUN/train/STAGE/model --benchmark file:my_problems.jsonl" in why


@pytest.mark.parametrize("answers", [["2", None], [None, None, None, "2"]])
def test_where_gold_answers_are_there_it_is_the_recipe_that_names_nothing(run, answers):
    why = why_unscored(run([], answers))
    assert (
        why.startswith("nothing was scored, because evaluate.benchmarks is empty")
        and "evaluate.benchmarks: [dev]" in why
    )


def test_a_run_that_names_benchmarks_has_nothing_to_explain(run, tmp_path):
    folder = run([{"name": "dev"}], [None])
    assert why_unscored(folder) == "" and why_unscored(tmp_path / "none") == ""
    with pytest.raises(OperatorError, match="holds no scores; run its recipe to the stage `evaluate`"):
        score_table(folder)


def test_every_verb_that_wants_scores_says_it(run):
    folder = run([], [None])
    assert score_table(folder) == {
        "run": str(folder),
        "scores": [],
        "comparisons": [],
        "unscored": why_unscored(folder),
    }
    with pytest.raises(OperatorError, match=f"holds no scores: {NO_GOLD}"):
        compare_runs(folder, folder)
    with pytest.raises(OperatorError, match=f"holds no scores: {NO_GOLD}"):
        regrade(folder, {"exact": Plugin(name="exact")})
