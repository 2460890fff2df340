"""The scorers of reasoning-gym as a verifier: trusted only where they show that they can tell right from wrong."""

import inspect
import json
import re

import pytest

from redistill.errors import OperatorError
from redistill.records import Group, Outcome, make_problem, make_trace
from redistill.verify import VerifierPool, check_gold, check_verifiers
from redistill.verify import reasoning_gym as module_function
from redistill.verify.gold import GOLD
from redistill.verify.reasoning_gym import EVALUATING, PARSING, UNUSABLE, harmless
from redistill.verify.stage import check_golds, judged

pytest.importorskip("reasoning_gym")
LADDER = {"source_dataset": "word_ladder", "start_word": "COLD", "end_word": "WARM"}


def verdict(answer, *, gold="COLD,CORD,CARD,WARD,WARM", metadata=LADDER, statement="A ladder?", **options):
    problem = make_problem(statement, answer=gold, metadata=metadata)
    return module_function(problem, make_trace(problem.id, f"<answer>{answer}</answer>"), **options)


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        ("COLD,CORD,CARD,WARD,WARM", "correct", "full_score"),
        ("COLD,CORD,WORD,WARD,WARM", "correct", "full_score"),
        ("COLD,WARM", "incorrect", "low_score"),
        ("COLD -> CORD -> CARD -> WARD -> WARM", "ungradable", "perhaps_unread"),
        ("...", "no_answer", "placeholder_answer"),
    ],
)
def test_another_ladder_is_as_good(answer, outcome, reason):
    found = verdict(answer)
    assert (found.outcome, found.reason) == (Outcome(outcome), reason)


def test_what_the_scorer_needs_and_the_file_lacks_is_named():
    found = verdict("COLD,CORD,WORD,WARD,WARM", metadata={"source_dataset": "word_ladder"})
    assert (found.outcome, found.reason) == (Outcome.ungradable, "metadata_missing:start_word")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "no_task"),
        ({"task": "no such task"}, "task_unknown"),
        ({"task": "game_of_life_halting"}, "scorer_unusable"),
    ],
)
def test_a_task_without_a_usable_scorer_is_undecided(metadata, reason):
    assert verdict("True", gold="True", metadata=metadata).reason == reason


def test_a_scorer_that_refuses_its_own_gold_answer_is_not_trusted():
    found = verdict("COLD,CORD,WORD,WARD,WARM", gold="COLD,XXXX,WARM")
    assert (found.outcome, found.reason) == (Outcome.ungradable, "scorer_rejects_gold")


@pytest.mark.parametrize(
    ("task", "gold", "answer", "outcome"),
    [
        ("chain_sum", "24", "24", "correct"),
        ("chain_sum", "24", "25", "incorrect"),
        ("gcd", "4", "$4$", "correct"),
        ("decimal_arithmetic", "4.88004333694", "4.87994594595", "disagree"),  # the scorer allows an absolute error
        ("polynomial_multiplication", "x**2 + 2*x + 1", "(x + 1)**2", "disagree"),  # equal, but not multiplied out
        ("polynomial_multiplication", "x**2 + 2*x + 1", "x**2 + 1 + 2*x", "correct"),
        ("spell_backward", "olleh", "olle", "disagree"),  # a share of the marks
    ],
)
def test_tasks_that_need_no_metadata(task, gold, answer, outcome):
    assert verdict(answer, gold=gold, metadata={"task": task}).outcome == Outcome(outcome)


def test_answers_that_contradict_each_other_are_undecided():
    problem = make_problem("Sum?", answer="24", metadata={"task": "chain_sum"})
    trace = make_trace(problem.id, "<answer>24</answer> \\boxed{25}")
    assert module_function(problem, trace).reason == "answers_contradict"


def test_the_score_stands_in_the_verdict():
    assert verdict("COLD,CORD,WORD,WARD,WARM").score == 1.0
    assert verdict("COLD,WARM").score == 0.0


# --- safety -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('x')", "open('/etc/passwd')", "().__class__", "exec('x')", "lambda: 0", "[x for x in (1).__class__]",
     "os.system", "eval('1')", "x; y"],
)  # fmt: skip
def test_code_never_reaches_a_scorer_that_evaluates(text):
    assert not harmless(text, parsed=True)
    if "(" in text or "." in text or ";" in text or "lambda" in text:
        assert not harmless(text, parsed=False)
    for task in ("polynomial_multiplication", "spiral_matrix"):
        assert verdict(text, gold="1 2 3", metadata={"task": task}).reason == "unsafe_answer"


@pytest.mark.parametrize("text", ["x**2 + 2*x*sin(x)", "(4 + 5)*6/3 - 2", "sqrt(2)*exp(x) + C"])
def test_mathematics_reaches_it(text):
    assert harmless(text, parsed=True)


@pytest.mark.parametrize(
    "text", ["[[1, 2], [3, 4]]", "[(1, 2), (3, 4)]", "AABBC", "((0x3a + 0x1b) * 3)", "1 2 3", "['a', 'b']"]
)
def test_data_reaches_it(text):
    assert harmless(text, parsed=False)


def test_every_scorer_that_evaluates_is_known():
    from reasoning_gym.factory import DATASETS

    found = set()
    for name, (kind, _) in DATASETS.items():
        source = inspect.getsource(inspect.getmodule(kind))
        scorer = inspect.getsource(kind.score_answer)
        own_parser = "def parse_expr" in source
        if re.search(r"\beval\(|\bexec\(|sympify", scorer) or (re.search(r"parse_expr\(", scorer) and not own_parser):
            found.add(name)
    assert found <= PARSING | EVALUATING
    assert {"countdown", "spiral_matrix", "simple_integration"} <= found


# --- among the other verifiers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task", ["n_queens", "countdown", "jugs", "shortest_path", "tower_of_hanoi", "base_conversion", "zebra_puzzles"]
)
def test_an_entry_of_the_package_that_went_through_json_is_scored(task):
    import reasoning_gym

    entry = reasoning_gym.create_dataset(task, size=1, seed=3)[0]
    metadata = json.loads(json.dumps(entry["metadata"]))
    assert (
        verdict(entry["answer"], gold=entry["answer"], metadata=metadata, statement=entry["question"]).outcome
        == Outcome.correct
    )
    assert task not in UNUSABLE


def test_it_judges_where_the_gold_answer_cannot_be_compared_with():
    prose = "a long way round " * 10
    problem = make_problem("Say it.", answer=prose, metadata={"task": "string_manipulation"})
    group = Group(problem, (make_trace(problem.id, f"<answer>{prose.strip()}</answer>"),))
    with VerifierPool(
        {"reasoning-gym": module_function, GOLD: check_gold}, workers=1, timeout_seconds=60, memory_mb=4096
    ) as pool:
        golds = check_golds(pool, [group])
        assert golds[problem.id].outcome == Outcome.ungradable
        (after,) = judged(pool, [group], "reasoning-gym", golds=golds)
    assert after.traces[0].verdicts["reasoning-gym"].reason not in ("gold_is_prose", "gold_unreadable")


def test_a_missing_package_is_said_with_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OperatorError, match=r"pip install 'reasoning-gym>=.*in the extra .reasoning-gym"):
        check_verifiers(["reasoning-gym"])
    check_verifiers(["cascade"])
