"""Difficulty of a problem for a student: the first right try or the share of wrong answers, on every trace, answers kept."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.rollout.requests import Sample, Sampling, Student
from redistill.score import reasons_of
from redistill.score.difficulty import difficulty
from redistill.select.keep import is_unsolved, value_of

EASY, HARD, NEVER, UNCLEAR = (make_problem(f"{name}: ", answer="4") for name in ("easy", "hard", "never", "unclear"))


@dataclass
class Config:
    """What the scorer reads of an EvalConfig."""

    engine: Any
    render: Any
    verifier: str
    pool: Any
    sampling: Sampling


class Pool:
    """Judges by words; stands for the worker processes."""

    names = ("words",)

    def judge(self, items, names):
        for _, trace in items:
            said = trace.completion
            outcome = (
                "correct"
                if "right" in said
                else "timeout"
                if "?" in said
                else "truncated"
                if "cut" in said
                else "incorrect"
            )
            yield {"words": Verdict(Outcome(outcome))}


class Engine:
    """Each problem has a script of whole answers; steps are `so|`. Remembers which prompts it was asked."""

    SCRIPTS: ClassVar = {
        "easy: ": ["right"],
        "hard: ": ["wrong 1", "wrong 2", "wrong 1", "right"],
        "never: ": ["wrong"],
        "unclear: ": ["?"],
    }

    def __init__(self):
        self.given, self.asked = dict.fromkeys(self.SCRIPTS, 0), []

    def __call__(self, student, requests, sampling, *, _finished):
        samples = []
        for place, request in enumerate(requests):
            self.asked.append((request.prompt, sampling))
            if sampling.stop:
                sample = Sample("so", 2, "stop", stop="|")
            else:
                name = request.prompt.partition(": ")[0] + ": "
                script = self.SCRIPTS[name]
                sample = Sample(script[self.given[name] % len(script)], 3, "stop")
                self.given[name] += 1
            _finished(place, sample)
            samples.append(sample)
        return samples


def measured(tmp_path, *problems, traces=(), held_out=(), engine=None, ticks=None, **options):
    engine = engine or Engine()
    config = Config(
        engine, lambda p: p.statement, "words", lambda: contextlib.nullcontext(Pool()),
        Sampling(n=4, temperature=0.6, top_p=0.95, max_new_tokens=9),
    )  # fmt: skip
    tmp_path.mkdir(exist_ok=True)
    ticks = [] if ticks is None else ticks
    if options.get("how") != "pass-rate":
        options = {"step_end": "|", **options}
    needs = {
        "_into": "difficulty", "_seed": 0, "_student": Student(lambda: None), "_config": config,
        "_is_dev": lambda problem: problem.id in held_out, "_journal": tmp_path / "samples.jsonl", "_tick": ticks.append,
    }  # fmt: skip
    return difficulty([Group(p, tuple(traces)) for p in problems], **options, **needs)


def scores(group):
    return {trace.scores.get("difficulty") for trace in group.traces}


def test_a_search_scores_every_trace_of_a_problem_with_the_first_right_try(tmp_path):
    teachers = make_trace(HARD.id, "of a teacher", verdicts={FINAL: Verdict(Outcome.correct)})
    ticks = []
    easy, hard = measured(tmp_path, EASY, HARD, traces=[teachers], budget=10, ticks=ticks)
    assert (scores(easy), scores(hard)) == ({1.0}, {4.0}) and sum(ticks) == 2
    assert hard.traces[0].completion == "of a teacher" and hard.traces[0].author == ""
    told = [(t.completion.rpartition("|")[2], t.verdict.outcome.value, t.author) for t in hard.traces[1:]]
    assert [word for word, *_ in told] == [
        "wrong 1",
        "wrong 2",
        "wrong 1",
        "right",
    ]  # below different steps: other answers
    assert {author for *_, author in told} == {"base"} and told[-1][1] == "correct"
    assert value_of(hard, "difficulty") == "4" and not is_unsolved(hard)


def test_what_a_search_drew_is_counted_on_its_problem(tmp_path):
    (hard,) = measured(tmp_path, HARD, budget=10)
    # 4 tries, each of three steps of 2 tokens and an answer of 3
    assert hard.problem.metadata["difficulty_cost"] == {"samples": 16, "tokens": 36}
    assert hard.problem.metadata["difficulty_tries"] == {
        "how": "mcts", "solved_at": 4, "tries": 4, "budget": 10, "children": 3, "first_steps": 1, "undecided": 0,
    }  # fmt: skip


def test_an_unsolved_problem_is_one_above_the_budget_and_says_so_unless_the_search_was_stopped(tmp_path):
    (never,) = measured(tmp_path, NEVER, budget=6)
    assert scores(never) == {7.0} and is_unsolved(never)
    (stopped,) = measured(tmp_path / "x", NEVER, budget=50, stop_after=5)
    assert scores(stopped) == {6.0} and not is_unsolved(stopped)
    assert {trace.notes["stopped"] for trace in stopped.traces} == {"no right answer in 5 tries"}


def test_a_pass_rate_is_of_the_answers_that_were_decided(tmp_path):
    engine = Engine()
    engine.SCRIPTS = {**Engine.SCRIPTS, "hard: ": ["right", "wrong", "?", "cut"]}
    easy, hard, never, unclear = measured(tmp_path, EASY, HARD, NEVER, UNCLEAR, engine=engine, how="pass-rate", n=8)
    assert scores(easy) == {0.0} and scores(never) == {1.0} and is_unsolved(never)
    assert scores(hard) == {1 - 2 / 6}  # of 8 answers two could not be judged, and two were cut, which is not an answer
    assert hard.problem.metadata["difficulty_tries"] == {"how": "pass-rate", "right": 2, "decided": 6, "undecided": 2}
    assert scores(unclear) == {None} and not is_unsolved(unclear)
    assert reasons_of(unclear.traces[0]) == {"difficulty": "undecided"}
    assert len(easy.traces) == 1  # the same words are one trace
    assert {s.temperature for _, s in engine.asked} == {0.6}


def test_steps_are_drawn_as_in_the_paper_unless_the_recipe_says_otherwise(tmp_path):
    engine, other = Engine(), Engine()
    measured(tmp_path, EASY, engine=engine)
    measured(tmp_path / "x", EASY, engine=other, temperature=1.0, max_new_tokens=5)
    assert {(s.temperature, s.top_p, s.max_new_tokens) for _, s in engine.asked} == {(0.5, 0.9, 9)}
    assert {(s.temperature, s.top_p, s.max_new_tokens) for _, s in other.asked} == {(1.0, 0.9, 5)}


def test_held_out_problems_and_those_without_gold_are_not_asked(tmp_path):
    no_gold, engine = make_problem("easy: open"), Engine()
    told = [make_trace("p", "x")]
    groups = measured(tmp_path, EASY, no_gold, HARD, traces=told, held_out=[HARD.id], engine=engine)
    assert {prompt.partition(": ")[0] for prompt, _ in engine.asked} == {"easy"}
    assert [reasons_of(g.traces[0]) for g in groups] == [
        {},
        {"difficulty": "ungradable"},
        {"difficulty": "held_out_for_dev"},
    ]
    assert math.isclose(groups[0].traces[0].scores["difficulty"], 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 8}, "n belongs to how: pass-rate"),
        ({"how": "pass-rate", "budget": 9}, "budget belongs to how: mcts"),
        ({"how": "pass-rate", "step_end": "|"}, "step_end belongs to how: mcts"),
        ({"budget": 5, "stop_after": 5}, "stop_after must be less than budget"),
    ],
)
def test_an_option_without_effect_is_refused(tmp_path, options, said):
    with pytest.raises(OperatorError, match=said):
        measured(tmp_path, EASY, **options)


def test_without_a_student_there_is_no_difficulty(tmp_path):
    with pytest.raises(OperatorError, match="difficulty needs a student"):
        difficulty([], _into="d", _seed=0, _student=None, _config=None, _is_dev=bool, _journal=tmp_path, _tick=print)
