"""Guided search: paths worked by hand, what theory says of critics that know everything or nothing, and the very tokens that were drawn."""

import random
from dataclasses import replace
from functools import partial

import pytest
from test_local_sampling import student

from redistill.errors import OperatorError
from redistill.records import make_problem
from redistill.rollout import Request, Sample, Sampling, draw, requests_for, slots
from redistill.rollout.guided import GuidedSettings, Opinion, guided, guided_search, unguided
from redistill.rollout.scripted import scripted
from redistill.rollout.transformers_engine import transformers_engine
from redistill.text.image_marks import image_mark

SETTINGS = GuidedSettings(candidates=3, steps=30, step_end=";", max_step_tokens=20)
ASKED = Sampling(n=1, temperature=1.0, top_p=1.0, max_new_tokens=60)
PROBLEM = make_problem("2+2*3=", answer="8")
END = "$"  # one character is one token; this one ends an answer


def text_of(tokens):
    return "".join(map(chr, tokens)).removesuffix(END)


class Steps:
    """Draws from a table {what is said so far: the candidates in turn}; remembers the requests."""

    def __init__(self, table):
        self.table, self.requests, self.calls = table, [], []

    def __call__(self, requests, sampling):
        self.calls.append(len(requests))
        samples, counts = [], {}
        for request in requests:
            self.requests.append(request)
            said = text_of(request.said)
            listed = self.table(said, request) if callable(self.table) else self.table[said]
            place = counts[request.prompt, said] = counts.get((request.prompt, said), -1) + 1
            samples.append(drawn(listed[place % len(listed)], request, sampling))
        return samples


def drawn(text, request, sampling):
    """The sample of these tokens, as an engine would cut and describe it."""
    tokens = list(map(ord, text))[: min(sampling.max_new_tokens, request.limit)]
    said = "".join(map(chr, tokens))
    stop = next((s for s in sampling.stop if s in said), "")
    if said.endswith(END):
        return Sample(said.removesuffix(END), len(tokens), "stop", token_ids=tuple(tokens))
    return Sample(said.partition(stop)[0] if stop else said, len(tokens), "stop" if stop else "length", token_ids=tuple(tokens), stop=stop)  # fmt: skip


def values(table, asked=None):
    """A critic that looks a text up; of what it does not know it says nothing."""

    def judge(rows):
        if asked is not None:
            asked.extend(text for _, text in rows)
        return [Opinion(table.get(text), tokens=2) for _, text in rows]

    return judge


def found(table, judge, requests=None, sampling=ASKED, at_once=16, **settings):
    steps = table if isinstance(table, Steps) else Steps(table)
    requests = requests or [Request("2+2*3=", seed=7, problem=PROBLEM)]
    return guided_search(
        requests, sampling, replace(SETTINGS, **settings), draw=steps, decode=text_of, judge=judge, at_once=at_once
    )


# --- paths by hand ------------------------------------------------------------------------------------------------------


def test_a_path_by_hand_the_best_of_each_step_is_kept_until_the_answer_ends():
    asked = []
    table = {
        "": ["2+2=4;", "2*3=6;", "2*3=5;"],
        "2*3=6;": ["6-2=4;", "2+6=9;", "2+6=8;"],
        "2*3=6;2+6=8;": ["#9$", "#8$", ";"],
    }
    judge = values({"2+2=4;": 0.2, "2*3=6;": 0.9, "2*3=5;": 0.3, "2*3=6;6-2=4;": 0.1, "2*3=6;2+6=9;": 0.4, "2*3=6;2+6=8;": 0.7,
                    "2*3=6;2+6=8;#9": 0.2, "2*3=6;2+6=8;#8": 0.6, "2*3=6;2+6=8;;": 0.5}, asked)  # fmt: skip
    steps = Steps(table)
    (answer,) = found(steps, judge)
    assert (answer.text, answer.finish_reason, text_of(answer.token_ids)) == (
        "2*3=6;2+6=8;#8",
        "stop",
        "2*3=6;2+6=8;#8",
    )
    assert answer.num_tokens == len(answer.token_ids) == 15  # the end token is counted
    assert answer.facts == {"engine": "guided", "steps": 3, "drawn_tokens": 18 + 18 + 7, "critic_calls": 9, "critic_tokens": 18}  # fmt: skip
    assert len(asked) == 9 and steps.calls == [3, 3, 3]
    assert [text_of(r.said) for r in steps.requests] == [""] * 3 + ["2*3=6;"] * 3 + ["2*3=6;2+6=8;"] * 3
    assert [r.limit for r in steps.requests] == [60] * 3 + [54] * 3 + [48] * 3


def test_of_equal_scores_the_first_drawn_is_kept_and_equal_texts_are_judged_once():
    asked = []
    (answer,) = found({"": ["1$", "2$", "2$"]}, values({"1": 0.5, "2": 0.5}, asked))
    assert answer.text == "1" and asked == ["1", "2"] and answer.facts["critic_calls"] == 2
    (answer,) = found({"": ["1$", "2$", "2$"]}, values({"1": 0.4, "2": 0.5}))
    assert answer.text == "2" and answer.token_ids == (ord("2"), ord(END))


def test_what_the_critic_cannot_judge_is_left_out_and_never_the_worst():
    (answer,) = found({"": ["1$", "2$", "3$"]}, values({"2": 0.01, "3": 0.001}))
    assert answer.text == "2" and answer.facts["undecided_candidates"] == 1 and "unguided_steps" not in answer.facts
    (answer,) = found({"": ["1;", "2;", "3;"], "1;": ["4$", "5$", "6$"]}, values({"1;5": 0.3}))
    assert answer.text == "1;5"  # nothing is decided: the first is kept
    assert (answer.facts["undecided_candidates"], answer.facts["unguided_steps"]) == (3 + 2, 1)


def test_a_candidate_that_adds_no_step_is_not_judged_and_ends_the_answer_where_all_add_none():
    asked = []
    table = {"": ["1;"], "1;": ["$", "2;", "\n;"], "1;2;": ["$", "\n$"]}
    (answer,) = found(table, values({"1;": 0.9, "1;2;": 0.1}, asked))
    assert (answer.text, answer.finish_reason) == ("1;2;", "stop") and asked == ["1;", "1;2;", "1;\n;"]
    assert (answer.facts["undecided_candidates"], answer.facts["unguided_steps"]) == (2 + 3, 1)


def test_a_token_that_goes_on_behind_the_step_is_kept_and_judged_with_the_next():
    """The token `;4` ends a step and begins the next."""
    tokens = {1: "2+2=4", 2: ";4", 3: "*2=8", 4: ";", 5: "#8", 0: END}

    def decode(ids):
        return "".join(tokens[i] for i in ids).removesuffix(END)

    def steps(requests, sampling):
        table = {(): [(1, 2), (1, 4)], (1, 2): [(3, 4), (3, 0)], (1, 2, 3, 4): [(5, 0), (0,)]}
        samples = []
        for place, request in enumerate(requests):
            ids = table[request.said][place]
            text, at, _ = decode(ids).partition(";")
            samples.append(Sample(text, len(ids), "stop", token_ids=ids, stop="" if ids[-1] == 0 else at))
        return samples

    asked = []
    judge = values({"2+2=4;": 0.8, "2+2=4;4*2=8;": 0.9, "2+2=4;4*2=8": 0.1, "2+2=4;4*2=8;#8": 0.2}, asked)
    settings = replace(SETTINGS, candidates=2)
    request = Request("2+2*2=", seed=7, problem=PROBLEM)
    (answer,) = guided_search([request], ASKED, settings, draw=steps, decode=decode, judge=judge)
    assert (answer.text, answer.token_ids) == ("2+2=4;4*2=8;#8", (1, 2, 3, 4, 5, 0))
    assert asked == ["2+2=4;", "2+2=4;4*2=8;", "2+2=4;4*2=8", "2+2=4;4*2=8;#8"]


def test_the_prefill_is_shown_to_the_critic_and_stays_out_of_the_sample():
    asked = []
    (answer,) = found(
        {"": ["1$", "2$"]}, values({"<t>2": 1.0}, asked), sampling=replace(ASKED, prefill="<t>"), candidates=2
    )
    assert answer.text == "2" and asked == ["<t>1", "<t>2"]


def test_a_stop_string_of_the_answer_ends_it_though_it_begins_in_the_step_before():
    sampling = replace(ASKED, stop=(";Q",))
    (answer,) = found(
        {"": ["1;"], "1;": ["Q2;", "Q3$"]}, values({"1;": 0.5, "1": 0.9, "1;3": 0.1}), sampling=sampling, candidates=2
    )
    assert (answer.text, answer.finish_reason, answer.stop) == ("1", "stop", ";Q")


# --- limits --------------------------------------------------------------------------------------------------------------


def test_after_its_steps_an_answer_is_cut_or_finished_without_the_critic():
    table = Steps(lambda said, request: ["1;", "2;"] if request.limit > 54 else ["3;4;5$"])
    judge = values({"2;": 1.0, "2;2;": 1.0, "2;2;2;": 1.0})
    (cut,) = found(table, judge, steps=3, candidates=2)
    assert (cut.text, cut.finish_reason, cut.facts["steps"]) == ("2;2;2;", "length", 3)
    (whole,) = found(table, judge, steps=3, candidates=2, then="sample")
    assert (whole.text, whole.finish_reason) == ("2;2;2;3;4;5", "stop")  # the rest is one draw, with no end of step
    assert whole.facts["critic_calls"] == 6 and whole.facts["drawn_tokens"] == 12 + 6 and whole.num_tokens == 12


def test_the_token_limit_is_that_of_the_whole_answer():
    judge = values({"1111;" * k: 1.0 for k in range(1, 9)})
    (answer,) = found(Steps(lambda said, request: ["1111;"]), judge, sampling=replace(ASKED, max_new_tokens=12))
    assert (answer.text, answer.finish_reason, answer.num_tokens) == ("1111;1111;11", "length", 12)


def test_a_step_that_is_too_long_is_cut_judged_and_gone_on_with():
    asked = []
    (answer,) = found(Steps(lambda said, r: ["11111111$"] if len(said) == 4 else ["11111111;"]), values({"1111": 1.0, "11111111": 1.0}, asked),
                      max_step_tokens=4, candidates=2, sampling=replace(ASKED, max_new_tokens=8))  # fmt: skip
    assert asked == ["1111", "11111111"] and answer.finish_reason == "length" and answer.num_tokens == 8


# --- theory --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [0.1, 0.4])
def test_a_critic_that_knows_the_truth_is_right_wherever_some_candidate_is(right):
    """Three steps, each right with this chance: 1 - (1 - p)**c of each step, and the whole where all three are."""
    lucky = {}

    def step(said, request):
        good = random.Random(f"{request.seed} {said}").random() < right
        lucky.setdefault((request.prompt, len(said)), []).append(good)
        return [("R" if good else "W") + (";" if len(said) < 4 else END)]

    def truth(rows):
        return [Opinion(float("W" not in text)) for _, text in rows]

    asked = [Request(f"{i}", seed=i, problem=PROBLEM) for i in range(1500)]
    answers = found(Steps(step), truth, asked, candidates=4)
    each = [all(any(lucky[f"{i}", at][:4]) for at in (0, 2, 4)) for i in range(1500)]
    assert ["W" not in answer.text for answer in answers] == each
    expected = (1 - (1 - right) ** 4) ** 3
    assert sum(each) / 1500 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 1500) ** 0.5)


@pytest.fixture(params=["slots", "generate"])
def way(request, monkeypatch):
    """Both ways of sampling in this process."""
    if request.param == "generate":
        monkeypatch.setattr(slots, "fits", lambda model: False)


HOT = Sampling(n=2, temperature=1.0, top_p=1.0, max_new_tokens=30, logprobs=True)


def asked_of_a_student(count=10):
    problems = [make_problem("1+2=;3*4-5"[: 1 + i % 7] + "*" * (i // 7), answer="1") for i in range(count)]
    return [request for p in problems for request in requests_for(p, p.statement, HOT, seed=3)]


def searched(model, requests, judge, sampling=HOT, batch_size=16, **options):
    options = {"critic": "prm", "candidates": 4, "step_end": ";", "max_step_tokens": 7} | options
    return guided(model, requests, sampling, batch_size=batch_size, _judge=judge, **options)


def constant(rows):
    return [Opinion(0.5) for _ in rows]


def arbitrary(rows):
    """A number that only the text decides; of one in seven texts none."""
    marks = [random.Random(text).random() for _, text in rows]
    return [Opinion(None if mark > 6 / 7 else mark) for mark in marks]


@pytest.mark.parametrize("limit", [30, 100])
def test_a_critic_that_says_the_same_of_everything_changes_no_token(way, limit):
    """Also where the context (64) is what ends an answer: a prompt of 63 tokens leaves room for one. An answer without a
    candidate that says nothing, which is left out, is the plain one."""
    model = student()
    requests = [*asked_of_a_student(), Request("1" * 63, 5, problem=PROBLEM), Request("1" * 64, 6, problem=PROBLEM)]
    sampling = replace(HOT, max_new_tokens=limit)
    plain = transformers_engine(lambda: model, requests, sampling, batch_size=16)
    mine = searched(lambda: model, requests, constant, sampling)
    both = [(a, b) for a, b in zip(mine, plain, strict=True) if "undecided_candidates" not in a.facts]
    assert [(a.text, a.token_ids, a.finish_reason, a.num_tokens) for a, _ in both] == [
        (b.text, b.token_ids, b.finish_reason, b.num_tokens) for _, b in both
    ]
    assert {a.finish_reason for a, _ in both} == {"stop", "length"} and len({a.token_ids for a, _ in both}) > 5
    assert max(abs(x - y) for a, b in both for x, y in zip(a.logprobs, b.logprobs)) < 1e-4
    assert all(len(a.logprobs) == len(a.token_ids) for a in mine)
    assert (mine[-1].text, mine[-1].facts["critic_calls"], mine[-1].facts["drawn_tokens"]) == ("", 0, 0)


def test_a_search_does_not_depend_on_its_neighbours(way):
    model = student()
    requests = asked_of_a_student(3)
    together = searched(lambda: model, requests, arbitrary)
    assert together != transformers_engine(lambda: model, requests, HOT)  # the critic has a say
    alone = [searched(lambda: model, [request], arbitrary)[0] for request in requests]
    few = searched(lambda: model, requests, arbitrary, batch_size=3)

    def seen(answers):
        return [(a.text, a.token_ids, a.finish_reason, dict(a.facts)) for a in answers]

    assert seen(together) == seen(alone) == seen(few)
    assert sum(a.facts.get("undecided_candidates", 0) for a in together) > 0


def test_the_samples_of_one_problem_are_searches_of_their_own_and_the_seed_decides():
    model = student()
    first, second = searched(lambda: model, asked_of_a_student(1), arbitrary)
    assert first.token_ids != second.token_ids
    assert searched(lambda: model, asked_of_a_student(1), arbitrary) == [first, second]


# --- resume, refusals -----------------------------------------------------------------------------------------------------


def test_a_killed_search_goes_on_to_the_same_answers_and_repeats_no_finished_one(tmp_path):
    model, requests = student(), asked_of_a_student()
    plain = replace(HOT, logprobs=False)  # their last digits know who else was in the batch
    whole = searched(lambda: model, requests, arbitrary, plain)
    asked, told = [], []

    def engine(student, requests, sampling, *, _finished):
        asked.append(len(requests))
        return searched(student, requests, arbitrary, sampling, _finished=_finished)

    def tell(sample):
        told.append(sample)
        if len(told) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(engine, lambda: model, requests, plain, journal=tmp_path / "samples.jsonl", tell=tell)
    assert draw(engine, lambda: model, requests, plain, journal=tmp_path / "samples.jsonl") == whole
    assert asked == [20, 13]


def test_what_cannot_be_searched_is_one_sentence():
    with pytest.raises(OperatorError, match=r"at temperature 0 all candidates of a step are the same"):
        searched(lambda: None, asked_of_a_student(1), constant, replace(HOT, temperature=0.0))
    picture = Request(image_mark("0" * 64) + "How many?", 1, problem=PROBLEM)
    with pytest.raises(OperatorError, match="reads text and no images"):
        searched(lambda: None, [picture], constant)


def test_other_searches_ask_the_same_student_without_the_critic():
    plain = unguided(partial(guided, critic="prm", batch_size=5, steps=3))
    assert plain.func is transformers_engine and plain.keywords == {"batch_size": 5}
    other = partial(scripted, answers=["1"])
    assert unguided(other) is other
