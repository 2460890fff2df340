"""The template reward: a strategy written once per trace, answered n times with it, and the share of right answers."""

from dataclasses import dataclass
from typing import Any

import pytest

from local_servers import scripted_server
from redistill.errors import OperatorError
from redistill.records import Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.score.marks import reason_of
from redistill.score.template_reward import template_reward

ONE, TWO = make_problem("What is 2+2?", answer="4"), make_problem("What is 3*3?", answer="9")
BARE = make_problem("Why?")
GROUPS = [
    Group(ONE, (make_trace(ONE.id, "2 and 2 make 5"), make_trace(ONE.id, "two twos: 4"))),
    Group(TWO, (make_trace(TWO.id, "9"),)),
    Group(BARE, (make_trace(BARE.id, "who knows"),)),
]
# the strategy of a trace, by what its solution says; and the answer that a policy gives with the strategy
SAID = {
    "2 and 2 make 5": "Add both.",
    "two twos": "Double it.",
    "3*3?": "",
    "Add both.": "right",
    "Double it.": "cannot say ?",
}


class Pool:
    """Judges by words; stands for the worker processes."""

    names = ("words",)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def judge(self, items, names):
        for _, trace in items:
            outcome = "correct" if "right" in trace.completion else "timeout"
            yield {"words": Verdict(Outcome(outcome))}


@dataclass
class Config:
    verifier: str = "words"
    pool: Any = Pool


def rewarded(tmp_path, base_url, **options):
    needs = {"_into": "strategy", "_seed": 0, "_config": Config(), "_all_groups": lambda: GROUPS, "_held": {}}
    return template_reward(GROUPS, base_url=base_url, model="m", _cache=tmp_path / "kept.jsonl", **needs, **options)


def answers(said):
    return "{" + ", ".join(f'"{piece}": "{text}"' for piece, text in said.items()) + "}"


def test_the_share_of_right_answers_stands_behind_the_text_with_the_strategy_as_a_note(tmp_path):
    with scripted_server(tmp_path, answers=answers(SAID)) as server:
        one, two, bare = rewarded(tmp_path, server.base_url, n=3)
        asked = server.asked()
        again = rewarded(tmp_path, server.base_url, n=3)
        assert len(server.asked()) == len(asked) == 3 + 2 * 3  # three strategies, then three answers to each of two
    first, second = one.traces
    assert (first.scores, first.notes) == ({"strategy": 1.0}, {"strategy": "Add both."})
    assert first.spans == {"strategy": (Span(14, 15, 1.0),)}
    assert reason_of(second, "strategy") == "undecided" and "strategy" not in second.scores
    assert reason_of(two.traces[0], "strategy") == "no_strategy"
    assert reason_of(bare.traces[0], "strategy") == "ungradable"
    assert again == [one, two, bare]
    answering = [body for body in asked if body["temperature"] > 0]
    assert len({body["seed"] for body in answering}) == 6 and all(body["temperature"] == 0.7 for body in answering)
    # the policy sees the strategy and never the solution
    assert all("2 and 2 make 5" not in str(body) and "two twos" not in str(body) for body in answering)


def test_more_strategies_than_allowed_ask_nothing(tmp_path):
    with scripted_server(tmp_path, answers=answers(SAID)) as server:
        with pytest.raises(
            OperatorError, match=r"score \(strategy\): 3 calls are needed and max_calls is 2; no call was made"
        ):
            rewarded(tmp_path, server.base_url, max_calls=2)
        assert server.asked() == []


def test_without_a_recipe_nobody_can_judge(tmp_path):
    with pytest.raises(OperatorError, match=r"score \(s\): the recipe decides how answers are verified"):
        template_reward([], base_url="http://127.0.0.1:9/v1", model="m", _into="s", _seed=0, _config=None,
                        _all_groups=list, _cache=tmp_path / "k", _held={})  # fmt: skip
