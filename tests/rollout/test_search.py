"""Tree search: after how many tries a problem is solved, by what theory says of students whose chances are known."""

import random
from dataclasses import replace

import pytest

from redistill.errors import OperatorError
from redistill.records import FINAL, Outcome, Verdict, make_problem
from redistill.rollout import draw
from redistill.rollout.journal import Journal
from redistill.rollout.requests import Sample
from redistill.rollout.search import SearchSettings, paper, search, ucb1

PROBLEMS = [make_problem(f"problem {i}: ", answer="right") for i in range(40)]
SETTINGS = SearchSettings(step_end="|", budget=50)


class Student:
    """Says what `step` and `rest` make of a request; remembers every prompt with how it was asked, and counts tokens."""

    def __init__(self, step=lambda r: f"s{r.seed % 997}", rest=lambda r: "wrong", ends=lambda r: False):
        self.step, self.rest, self.ends = step, rest, ends
        self.steps, self.rests, self.tokens, self.calls = [], [], 0, 0

    def __call__(self, requests, sampling):
        self.calls += 1
        samples = []
        for request in requests:
            tokens = 1 + request.seed % 5
            self.tokens += tokens
            if sampling.stop:
                self.steps.append(request.prompt)
                stop = "" if self.ends(request) else sampling.stop[0]
                samples.append(Sample(self.step(request), tokens, "stop", stop=stop))
            else:
                self.rests.append(request.prompt)
                samples.append(Sample(self.rest(request), tokens, "stop"))
        return samples


class Judge:
    """Right is what holds the word; remembers what it was shown."""

    def __init__(self):
        self.shown = []

    def __call__(self, items):
        self.shown += [trace.completion for _, trace in items]
        outcomes = [Outcome.correct if "right" in t.completion else Outcome.incorrect for _, t in items]
        return [t.with_verdict(FINAL, Verdict(o)) for (_, t), o in zip(items, outcomes, strict=True)]


def found_by(student, problems=PROBLEMS, judge=None, seed=0, **settings):
    return search(
        problems, render=lambda p: p.statement, sample=student, judge=judge or Judge(), settings=replace(SETTINGS, **settings),
        seed=seed, author="base",
    )  # fmt: skip


def chance(request):
    return random.Random(request.seed).random()


def sometimes_right(share, ends=0.0):
    return Student(
        rest=lambda r: "right" if chance(r) < share else f"wrong {r.seed}",
        ends=lambda r: random.Random(r.seed + 1).random() < ends,
    )


def test_a_student_that_is_right_once_in_twenty_needs_a_geometric_number_of_tries():
    problems = [make_problem(f"{i}", answer="right") for i in range(1000)]
    tries = [f.solved_at for f in found_by(sometimes_right(0.05), problems)]
    # 1,000 problems: one standard error is .0084 of .077, .0140 of .735, .0132 of .774
    assert sum(t is None for t in tries) / 1000 == pytest.approx(0.95**50, abs=3 * 0.0084)  # .077
    assert sum(t is None or t > 6 for t in tries) / 1000 == pytest.approx(
        0.95**6, abs=3 * 0.0140
    )  # .735, the script's cut
    assert sum(t is None or t > 5 for t in tries) / 1000 == pytest.approx(
        0.95**5, abs=3 * 0.0132
    )  # .774, the paper's words


def test_no_budget_helps_where_the_three_first_steps_are_bad():
    problems = [make_problem(f"{i}: ", answer="right") for i in range(400)]
    student = Student(  # all that counts is the first step, which is good one time in twenty
        step=lambda r: ("good" if r.prompt.endswith(": ") and chance(r) < 0.05 else "bad") + str(r.seed % 997),
        rest=lambda r: "right" if "good" in r.prompt else f"wrong {r.seed}",
    )
    short, long = found_by(student, problems, budget=3), found_by(student, problems, budget=10)
    unsolved = [f.solved_at is None for f in long]
    assert unsolved == [f.solved_at is None for f in short]
    assert sum(unsolved) / 400 == pytest.approx(
        0.95**3, abs=3 * 0.0175
    )  # .857, though 10 answers of its own would leave .599


def test_the_papers_rule_and_the_codes_rule_visit_alike_until_the_first_right_answer():
    solved = 0
    for tree in range(500):
        rng = random.Random(tree)
        ends, right = rng.uniform(0, 0.5), rng.uniform(0, 0.2)
        shape = {"children": rng.randint(1, 4), "max_steps": rng.randint(1, 6), "budget": 30}
        students = [sometimes_right(right, ends) for _ in range(2)]
        ways = [
            found_by(s, PROBLEMS[:1], seed=tree, rule=rule, **shape) for s, rule in zip(students, ("paper", "code"))
        ]
        assert (students[0].steps, students[0].rests, ways[0]) == (students[1].steps, students[1].rests, ways[1])
        solved += ways[0][0].solved_at is not None
    assert 100 < solved < 400


def test_the_rules_by_hand():
    assert paper(9, 2) == 1.0 == paper(9, 2, value=0.7)  # sqrt 9 / (1 + 2)
    assert ucb1(1, 0) == float("inf")
    assert ucb1(8, 2, value=0.5) == pytest.approx(0.5 + 1.0196670)  # ln 8 / 2 = 1.0397208
    # after a reward they part: a child that was right once in two visits against one that was not in one
    assert ucb1(3, 2, value=0.5) > ucb1(3, 1) and paper(3, 2, value=0.5) < paper(3, 1)


def test_first_steps_take_turns():
    student = Student(rest=lambda r: f"wrong {r.seed}")
    (found,) = found_by(student, PROBLEMS[:1], budget=9)
    firsts = [prompt.split(": ")[1].split("|")[0] for prompt in student.rests]
    assert len(set(firsts[:3])) == len(set(firsts[3:6])) == len(set(firsts[6:])) == 3
    assert (found.tries, found.solved_at, found.first_steps, len(found.traces)) == (9, None, 3, 9)


def test_an_answer_is_judged_once_however_often_its_leaf_is_visited():
    judge, student = Judge(), Student(step=lambda r: f"wrong {r.seed}", ends=lambda r: True)
    (found,) = found_by(student, PROBLEMS[:1], judge, children=2, budget=10)
    assert len(judge.shown) == len(set(judge.shown)) == 2 == found.samples and not student.rests
    assert (found.tries, found.solved_at) == (10, None)


def test_equal_children_stand_side_by_side_or_are_merged():
    depths = {}
    for duplicates in ("keep", "merge"):
        student = Student(step=lambda r: "a")
        found_by(student, PROBLEMS[:1], budget=3, duplicates=duplicates)
        depths[duplicates] = [prompt.count("|") for prompt in student.rests]
    assert depths == {"keep": [1, 2, 2], "merge": [1, 2, 3]}  # kept: three first steps; merged: one, which gets deeper


@pytest.mark.parametrize(
    ("rest", "completion", "reason"),
    [("b|c", "a|b|c", "stop"), ("b|c|d|e", "a|b|c|", "length"), ("b|c|", "a|b|c|", "stop"), ("", "a|", "stop")],
)
def test_an_answer_is_cut_after_its_last_allowed_step(rest, completion, reason):
    student = Student(step=lambda r: "a", rest=lambda r: rest)
    (found,) = found_by(student, PROBLEMS[:1], budget=1, max_steps=3)
    assert [(t.completion, t.finish_reason) for t in found.traces] == [(completion, reason)]


def test_steps_without_end_are_cut_too_and_no_step_is_sampled_below_them():
    student = Student(step=lambda r: "a", rest=lambda r: f"wrong {r.seed}")
    (found,) = found_by(student, PROBLEMS[:1], children=1, max_steps=2, budget=5)
    assert len(student.steps) == 2 and [t.completion for t in found.traces][1:] == ["a|a|"]
    assert found.traces[1].finish_reason == "length"


def test_the_way_of_a_problem_does_not_depend_on_who_is_searched_beside_it():
    together = found_by(sometimes_right(0.1))
    alone = [found_by(sometimes_right(0.1), [problem])[0] for problem in PROBLEMS]
    assert together == alone and len({f.solved_at for f in together}) > 5
    other = found_by(sometimes_right(0.1), seed=1)
    assert [f.solved_at for f in other] != [f.solved_at for f in together]


def test_one_call_serves_all_open_searches_and_every_sample_is_counted():
    student = sometimes_right(0.1)
    found = found_by(student)
    assert student.calls <= 2 * max(f.tries for f in found)
    assert sum(f.tokens for f in found) == student.tokens
    assert sum(f.samples for f in found) == len(student.steps) + len(student.rests)


def test_all_answers_are_kept_with_their_verdicts_and_the_last_of_a_solved_problem_is_right():
    for found in found_by(sometimes_right(0.1)):
        outcomes = [t.verdict.outcome for t in found.traces]
        assert outcomes.count(Outcome.correct) == (found.solved_at is not None)
        assert found.solved_at is None or (outcomes[-1] is Outcome.correct and found.tries == found.solved_at)
        assert all(t.author == "base" and t.sampling["sample_index"] < found.tries for t in found.traces)


def test_fewer_tries_find_what_they_reach_and_nothing_else():
    whole, early = found_by(sometimes_right(0.1)), found_by(sometimes_right(0.1), stop_after=5)
    expected = [f.solved_at if f.solved_at is not None and f.solved_at <= 5 else None for f in whole]
    assert [f.solved_at for f in early] == expected and max(f.tries for f in early) == 5


def test_a_killed_search_goes_on_to_the_same_end_and_draws_nothing_twice(tmp_path):
    def engine(student, requests, sampling, *, _finished):
        samples = []
        for place, request in enumerate(requests):
            if left and not left.pop():
                raise KeyboardInterrupt
            asked.append((request, sampling.stop))
            (sample,) = student([request], sampling)
            _finished(place, sample)
            samples.append(sample)
        return samples

    def run(journal):
        def sample(requests, sampling):
            return draw(engine, sometimes_right(0.1), requests, sampling, journal=journal)

        return found_by(sample)

    asked, left = [], []
    expected = run(None)
    once, asked = asked, []
    for dies_after in (7, 100, 333):
        left = [False, *[True] * dies_after]
        with pytest.raises(KeyboardInterrupt):
            run(Journal(tmp_path / "samples.jsonl"))
    left = []
    assert run(Journal(tmp_path / "samples.jsonl")) == expected
    assert len(asked) == len(set(asked)) == len(once)


def test_a_prefill_opens_every_answer_and_every_prompt():
    student = Student(rest=lambda r: "wrong")
    (found,) = found_by(student, PROBLEMS[:1], budget=2, prefill="<think>")
    assert all(prompt.startswith("problem 0: <think>") for prompt in student.steps + student.rests)
    assert all(t.completion.startswith("<think>s") for t in found.traces)


def test_a_server_that_does_not_say_what_ended_a_step_is_refused():
    def sample(requests, sampling):
        return [Sample("a", 1, "stop", stop=None) for _ in requests]

    with pytest.raises(OperatorError, match="does not report whether the step end"):
        found_by(sample)
