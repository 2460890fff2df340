"""The scorer `critic`: spans, first error and note by hand from a scripted critic, also over HTTP; every refusal is one sentence."""

import json
import math
import sys

import pytest

from local_servers import scripted_server
from redistill.errors import OperatorError
from redistill.io import client
from redistill.records import Group, make_problem, make_trace
from redistill.score import SCORERS, reason_of
from redistill.text.judgements import VERDICT_LINE
from redistill.text.steps import steps as split_steps

PROBLEM = make_problem("2+2*3=", answer="8")
GOOD = make_trace(PROBLEM.id, "2*3=6\n\n2+6=8")
BAD = make_trace(PROBLEM.id, "2*3=6\n\n2+6=9\n\nso 9")
EMPTY = make_trace(PROBLEM.id, " ")
GROUPS = [Group(PROBLEM, (GOOD, BAD, EMPTY))]
YES, NO = f"It holds.\n{VERDICT_LINE} Yes", f"2+6 is 8.\n{VERDICT_LINE} No"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)


def scored(tmp_path, **options):
    handed = {
        "_into": "critic", "_seed": 0, "_student": None, "_all_groups": lambda: GROUPS,
        "_cache": tmp_path / "replies.jsonl", "_held": options.pop("_held", {}),
    }  # fmt: skip
    return SCORERS["critic"](GROUPS, **options, **handed)[0].traces


def by_program(monkeypatch, said, asked=None):
    """The engine in this process answers by the Now Step: said[now] are its analyses in turn."""

    def engine(student, requests, sampling, *, _finished, **options):
        from redistill.rollout.requests import Sample

        count, found = {}, []
        for place, request in enumerate(requests):
            now = request.prompt.partition("Now Step:\n")[2].strip()
            (asked if asked is not None else []).append(request.prompt)
            text = said[now][count.get(now, 0) % len(said[now])]
            count[now] = count.get(now, 0) + 1
            found.append(Sample(text, 5, "stop"))
            _finished(place, found[-1])
        return found

    monkeypatch.setattr(sys.modules["redistill.score.critic"], "transformers_engine", engine)


def test_the_first_rejected_step_is_found_with_its_reasons(tmp_path, monkeypatch):
    asked = []
    said = {"2*3=6": [YES], "2+6=8": [YES], "2+6=9": [YES, NO, NO, NO], "so 9": [NO]}
    by_program(monkeypatch, said, asked)
    good, bad, empty = scored(tmp_path, model="m", read="verdict")
    assert good.scores["critic_first_error"] == -1 and good.scores["critic_min"] == 1.0 and "critic" not in good.notes
    assert bad.scores["critic_first_error"] == 1 and bad.notes["critic"] == NO
    assert [tuple(span) for span in bad.spans["critic"]] == [
        (start, end, value) for (start, end), value in zip(split_steps(BAD.completion, "blank-line"), [1.0, 0.25, 0.0], strict=True)
    ]  # fmt: skip
    assert (bad.scores["critic_mean"], bad.scores["critic_last"], bad.scores["critic_product"]) == (1.25 / 3, 0.0, 0.0)
    assert reason_of(empty, "critic") == "empty"
    assert len(asked) == 4 * 4  # four distinct steps: the first one of both traces is judged once
    assert asked[0].count("Previous Steps:\n(none)") == 1 and "Question:\n2+2*3=" in asked[0]


def test_a_step_that_nobody_can_decide_leaves_a_trace_without_a_first_error(tmp_path, monkeypatch):
    by_program(monkeypatch, {"2*3=6": [YES], "2+6=8": ["hm"], "2+6=9": [NO], "so 9": ["hm"]})
    good, bad, _ = scored(tmp_path, model="m", read="verdict")
    assert reason_of(good, "critic") == "undecided" and "critic_first_error" not in good.scores
    assert len(good.spans["critic"]) == 1
    assert (
        bad.scores["critic_first_error"] == 1 and "critic_min" not in bad.scores
    )  # decided before the step that is not


def test_what_was_written_is_kept_and_not_drawn_again(tmp_path, monkeypatch):
    asked = []
    by_program(monkeypatch, {"2*3=6": [YES], "2+6=8": [YES], "2+6=9": [NO], "so 9": [NO]}, asked)
    first = scored(tmp_path, model="m", read="verdict")
    assert scored(tmp_path, model="m", read="verdict") == first and len(asked) == 16


def test_a_server_is_asked_and_what_it_costs_is_said_before(tmp_path, capsys):
    tops = {
        "It holds.": {" Yes": math.log(0.8), " No": math.log(0.2)},
        "2+6 is 8.": {" Yes": math.log(0.1), " No": math.log(0.9)},
    }
    answers = {"Now Step:\n2+6=9": NO, "Now Step:\nso 9": NO, "Now Step:": YES}
    with scripted_server(tmp_path, tops=json.dumps(tops), answers=json.dumps(answers)) as server:
        good, bad, _ = scored(tmp_path, model="m", base_url=server.base_url, analyses=2)
    assert "5 steps of 3 traces; at most 10 calls" in "".join(capsys.readouterr())
    assert good.scores["critic_first_error"] == -1 and good.scores["critic_min"] == pytest.approx(0.8)
    assert bad.scores["critic_first_error"] == 1 and bad.spans["critic"][1].value == pytest.approx(0.1)


def test_a_server_without_log_probs_and_a_critic_that_is_not_there_are_one_sentence(tmp_path):
    with (
        scripted_server(tmp_path, answers=json.dumps({"Now": YES})) as server,
        pytest.raises(OperatorError, match=r"returns no log-probabilities.*read: verdict"),
    ):
        scored(tmp_path, model="m", base_url=server.base_url, analyses=1)
    with pytest.raises(OperatorError, match=r"score \(critic\): no student is available; set `model`"):
        scored(tmp_path)


def test_long_traces_can_be_left_out(tmp_path, monkeypatch):
    by_program(monkeypatch, {"2*3=6": [YES], "2+6=8": [YES]})
    good, bad, _ = scored(tmp_path, model="m", read="verdict", max_steps=2)
    assert good.scores["critic_first_error"] == -1 and reason_of(bad, "critic") == "too_many_steps"
