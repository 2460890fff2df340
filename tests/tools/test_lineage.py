"""The way of a record through a made-up run: each stage's word, its reason, its setting."""

import dataclasses
import json
import zlib
from collections import Counter
from functools import partial

import pytest
import yaml

from redistill.cli import main
from redistill.config.tables import PARTS
from redistill.errors import OperatorError
from redistill.io.atomic import write_json
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import (
    FINAL,
    Dropped,
    Group,
    Image,
    Outcome,
    Span,
    Verdict,
    make_problem,
    make_trace,
    pair_id,
)
from redistill.select import BoundFilter, SelectTask, select_shard
from redistill.select.filters import completion_length, repetition
from redistill.select.pairing import certain
from redistill.select.pairing import random as random_pairing
from redistill.tools.lineage import as_text, way
from tiny_recipe import write_layout

RECIPE = {
    "name": "made-up",
    "corpus": {"dev_fraction": 0.5},
    "verify": {"policy": "all"},
    "select": {
        "max_completion_tokens": 9,
        "filters": [{"name": "repetition", "options": {"min_words": 4}, "on": ["completion"]}],
        "pairing": {"name": "certain", "options": {"max_pairs": 2}},
    },
    "train": {
        "sft": {"objective": {"name": "sft"}, "batch_size": 2, "max_tokens": 64},
        "redi": {"objective": {"name": "redi"}, "batch_size": 1},
        "later": {"objective": {"name": "redi"}, "batch_size": 1},
    },
}
PROBLEM, HELD_OUT = (
    make_problem("What is 2 + 2?", answer="4", source="s", source_row="f.jsonl:0"),
    make_problem("Held out?"),
)


def trace(text, outcome, author="teacher", problem=PROBLEM, index=0):
    verdicts = {
        "exact": Verdict(Outcome(outcome), "4", "equal_number", "exact", "exact 1"),
        FINAL: Verdict(Outcome(outcome), "4", "equal_number", "policy:all"),
    }
    return make_trace(problem.id, text, author=author, sampling={"sample_index": index}, verdicts=verdicts)


RIGHT, LOOP = trace("two and two is four", "correct"), trace("no no no no no no no", "correct", index=1)
WRONG, LONG = trace("it is five", "incorrect", "other"), trace("word " * 30, "incorrect", "other")
ANSWER = trace("a student's answer", "no_answer", "sft", HELD_OUT, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose select stage is the real one, words for tokens; its other files are written by hand."""
    folder = tmp_path_factory.mktemp("runs") / "made-up"
    groups = [Group(PROBLEM, (RIGHT, LOOP, WRONG, LONG)), Group(HELD_OUT, (trace("?", "correct", problem=HELD_OUT),))]
    lost = [Dropped("f.jsonl:7", "corpus", "beyond_max_problems"), Dropped(RIGHT.id, "corpus", "duplicate_trace")]
    select = select_shard(
        groups,
        SelectTask(
            render=lambda problem: problem.statement,
            encode=lambda texts: [[zlib.crc32(word.encode()) % 10**6 for word in text.split()] for text in texts],
            is_dev=lambda problem: problem.id == HELD_OUT.id,
            pairing=partial(certain, max_pairs=2),
            bound_filters=[
                BoundFilter(partial(completion_length, most=9), frozenset(PARTS)),
                BoundFilter(
                    partial(repetition, min_words=4, loop_words=4, loop_times=3, ngram=2), frozenset({"completion"})
                ),
            ],
            policies={"certain": partial(certain, max_pairs=2), "random": random_pairing},
        ),
    )
    answers = Shard({"groups": (Group, [Group(HELD_OUT, (ANSWER,))])})
    rows = Account("row", 3, 2, Counter(beyond_max_problems=1))
    for name, shard in {
        "corpus": Shard({"groups": (Group, groups)}, {"rows": rows}, lost),
        "verify": Shard({"groups": (Group, groups)}),
        "select": select,
        "evaluate/sft/dev": answers,
    }.items():
        stage_dir = StageFolder(folder / name, name)
        stage_dir.open()
        stage_dir.finish_shard(0, shard)
        stage_dir.finish(1)
    write_layout(folder)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    write_json(folder / "train/sft/ledger.json", {"steps": 8, "rows": {"kept": 4}})
    write_json(folder / "train/redi/ledger.json", {"steps": 3, "rows": {"kept": 2}})
    pair = f"{RIGHT.id} {WRONG.id}"
    write_json(folder / "train/redi/dropped.json", [{"id": pair, "reason": "held_out_for_guard"}])
    return folder


def said(run, id):
    return as_text(way(run, id))


def test_a_trace_that_became_an_example(run):
    text = said(run, RIGHT.id)
    assert (
        "corpus    kept: s f.jsonl:0, generation 0" in text and "1 more with this text dropped: duplicate_trace" in text
    )
    assert "verify    correct" in text and "exact: correct (equal_number), answer read: '4'" in text
    assert "kept as an example" in text and "6 tokens of the student" in text and "pass_rate 0.5" in text
    assert "select    1 of 1 pairs with it kept" in text
    assert "train     sft: example" in text and "among 4 rows, 4 passes" in text  # 8 steps of 2 over 4 rows
    assert "held_out_for_guard" in text and "later: has not run" in text


def test_spans_notes_scores_pictures_and_metadata_are_listed(tmp_path):
    problem = make_problem("What is shown?", images=(Image("a.png", "0" * 64),), metadata={"tests": [1]})
    bare = make_trace(problem.id, "one\ntwo", author="teacher", notes={"critic": "line\nend \x1b[2J"})
    parts = {"steps": (Span(0, 5, 0.25), Span(7, 8, 1.0)), "many": tuple(Span(0, 1, 0.0) for _ in range(12))}
    judged = dataclasses.replace(bare, spans=parts).with_verdict(FINAL, Verdict(Outcome.disagree, score=0.375))
    streams = {"corpus": bare, "verify": judged, "evaluate/sft/dev": judged}
    for name, trace in streams.items():
        stage_dir = StageFolder(tmp_path / name, name)
        stage_dir.open()
        stage_dir.finish_shard(0, Shard({"groups": (Group, [Group(problem, (trace,))])}))
        stage_dir.finish(1)
    write_layout(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    steps = way(tmp_path, bare.id)
    lines = [
        "span steps 0-5 = 0.25: 'one\\nt'",
        "span steps 7-8 = 1: and the end of the turn",
        *["span many 0-1 = 0: 'o'"] * 10,
        "and 2 more spans",
        "note critic: line end \x1b[2J",
    ]
    assert steps[0].details == lines  # the corpus has no spans yet; the latest stage that has the trace is asked
    assert "disagree, score 0.375" in as_text(steps)
    about = way(tmp_path, problem.id)[0]
    assert about.details == ["image: a.png", 'metadata: {"tests": [1]}']
    answer = dataclasses.replace(judged, id="t" + "1" * 16)
    stage_dir = StageFolder(tmp_path / "evaluate/sft/dev", "again")
    stage_dir.open()
    stage_dir.finish_shard(0, Shard({"groups": (Group, [Group(problem, (answer,))])}))
    stage_dir.finish(1)
    assert way(tmp_path, answer.id)[1].details[-len(lines) :] == lines


def test_a_dropped_trace_names_the_filter_and_its_settings(run):
    text = said(run, LOOP.id)
    assert "example dropped: completion_repetition" in text
    assert (
        'setting select.filters.repetition = {"name": "repetition", "on": ["completion"], "options": {"min_words": 4}}'
        in text
    )
    assert "to change it: raise `max_share` or `loop_words` of the filter repetition" in text
    assert "sft: no example of it was selected" in text


def test_the_setting_that_is_set_is_the_one_that_is_shown(run):
    text = said(run, LONG.id)
    assert "example dropped: not_correct:incorrect" in text
    assert "rejected in q" in text and "dropped: rejected_too_long" in text
    (pair,) = {pair_id(c.id, LONG.id) for c in (RIGHT, LOOP)} & {
        line.split(",")[0].split()[-1] for line in text.splitlines() if "rejected in" in line
    }
    text = said(run, pair)
    assert "setting select.max_completion_tokens = 9" in text and "completion-length" not in text


def test_a_pair_with_its_two_traces_and_the_pairings_that_make_it(run):
    id = pair_id(RIGHT.id, WRONG.id)
    text = said(run, id)
    assert f"chosen {RIGHT.id} by teacher: correct" in text and f"rejected {WRONG.id} by other: incorrect" in text
    assert "select    kept" in text and "6 and 4 tokens, the first 0 of both the same" in text
    assert f"redi: pair {id} dropped: held_out_for_guard" in text


def test_a_problem_a_held_out_problem_and_a_refused_row(run):
    text = said(run, PROBLEM.id)
    assert "2 correct, 2 incorrect" in text and "gold answer: 4" in text and "1 of its traces kept as examples" in text
    assert "select    pairs kept: 1" in text
    held_out = said(run, HELD_OUT.id)
    assert "held out, but dropped from dev: ungradable" in held_out and "setting corpus.dev_fraction = 0.5" in held_out
    assert "evaluate  sft on dev: 1 no_answer" in held_out
    row = said(run, "f.jsonl:7")
    assert "row f.jsonl:7 dropped: beyond_max_problems" in row and "setting corpus.max_problems = not set" in row


def test_a_students_answer(run):
    assert "sft on dev, sample 3: no_answer" in said(run, ANSWER.id)


def test_a_beginning_is_enough_where_it_is_the_only_one(run):
    assert way(run, RIGHT.id[:9]) == way(run, RIGHT.id)
    ids = [t.id for t in (RIGHT, LOOP, WRONG, LONG, ANSWER)]
    assert len({id[:9] for id in ids}) == len(ids)


@pytest.mark.parametrize(
    ("id", "sentence"),
    [("tffff0000ffff", "no record of .* has the id tffff0000ffff"), ("t", "too short"), ("nonsense", "no record of")],
)
def test_an_unknown_id_is_one_sentence(run, id, sentence):
    with pytest.raises(OperatorError, match=sentence) as error:
        way(run, id)
    assert "\n" not in str(error.value)


def test_a_beginning_of_several_ids_is_refused_with_some_of_them(tmp_path):
    stage_dir = StageFolder(tmp_path / "corpus", "f")
    stage_dir.open()
    stage_dir.finish_shard(
        0, Shard({"groups": (Group, [])}, dropped=[Dropped(f"tabc{i}", "corpus", "x") for i in range(9)])
    )
    write_layout(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    with pytest.raises(OperatorError, match=r"tabc is the beginning of several ids \(tabc0, tabc1, tabc2 ...\)"):
        way(tmp_path, "tabc")


def test_the_verb_prints_text_or_json(run, capsys):
    main(["why", RIGHT.id, str(run)])
    assert "kept as an example" in capsys.readouterr().out
    main(["why", RIGHT.id, str(run), "--json"])
    assert [step["stage"] for step in json.loads(capsys.readouterr().out)][:3] == ["trace", "corpus", "verify"]
    with pytest.raises(SystemExit) as stopped:
        main(["why", RIGHT.id, str(run / "nowhere")])
    assert stopped.value.code == 2 and "is not a run's folder" in capsys.readouterr().err
