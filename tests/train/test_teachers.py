"""Who says how likely sampled tokens are: a server over real HTTP, several by source, and the student with a right answer before it."""

import dataclasses
import json

import numpy as np
import pytest

from redistill.errors import OperatorError
from redistill.io.client import Server
from redistill.records import make_problem
from redistill.train.objectives import reinforce
from redistill.train.teachers import AskedTeacher, LoadedTeacher, SelfTeacher, TeachersBySource
from scoring_server import logps_of, scoring_server

from .conftest import tiny_student
from .rollout_cases import PROBLEMS, job_of, stage


def other(seed=1):
    return tiny_student(seed=seed)


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "own" / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if not k.startswith(("seconds", "tokens_per", "samples_per"))} for line in lines
    ]


def weights(folder):
    return (folder / "own" / "model" / "model.safetensors").read_bytes()


def distil(folder, teacher, **settings):
    given = {"updates": 1, "rounds": 2, **settings}
    stage(folder / "own", reinforce, job_of(advantage="teacher", **given), teacher=teacher)
    return metrics(folder)


def asked(server, reads="prompt-logprobs", **more):
    return AskedTeacher(Server(server.base_url, retries=0, **more), "big", reads)


# --- a server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", ["prompt-logprobs", "echo"])
def test_a_server_teaches_as_the_same_model_in_this_process_does(tmp_path, reads):
    here = distil(tmp_path / "here", LoadedTeacher(other))
    with scoring_server(*other()) as server:
        there = distil(tmp_path / "there", asked(server, reads))
    for one, two in zip(here, there, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4, abs=1e-6)
        assert two["teacher_kl"] == pytest.approx(one["teacher_kl"], rel=1e-4, abs=1e-6)
    assert {post["path"] for post in server.asked} == {"/v1/completions"}
    assert all(post["model"] == "big" and post["max_tokens"] == 1 for post in server.asked)


def test_a_server_is_sent_the_very_ids_that_were_sampled(tmp_path):
    from redistill.io.parquet import read_records

    with scoring_server(*other()) as server:
        distil(tmp_path, asked(server), rounds=1)
    (part,) = (tmp_path / "own" / "rollouts" / "samples").glob("part-*.parquet")
    sampled = {(*s.prompt_ids, *s.token_ids) for s in read_records(part)}
    assert {tuple(post["prompt"]) for post in server.asked} == sampled


@pytest.mark.parametrize("reads", ["prompt-logprobs", "echo"])
@pytest.mark.parametrize(
    "says, sentence",
    [
        ("nothing", r"train\.own\.rollouts\.teacher: big at http.* returns no log-probs"),
        (
            "shifted",
            r"train\.own\.rollouts\.teacher: big at http.* has another tokenizer than the student \(token \d+ is",
        ),
        ("longer", r"has another tokenizer than the student \(it returns"),
        ("nan", r"returns no log-probs .*that of token \d+ is nan, no number"),
    ],
)
def test_a_server_without_log_probs_or_with_another_tokenizer_is_one_sentence_and_the_round_is_kept(
    tmp_path, reads, says, sentence
):
    with scoring_server(*other(), says=says) as server:
        with pytest.raises(OperatorError, match=sentence):
            distil(tmp_path, asked(server, reads))
        drawn = (tmp_path / "own" / "rollouts" / "groups" / "part-00000.parquet").read_bytes()
        server.says = ""
        distil(tmp_path, asked(server, reads))
    assert (tmp_path / "own" / "rollouts" / "groups" / "part-00000.parquet").read_bytes() == drawn


def test_a_server_that_dies_in_mid_round_is_asked_again_only_for_what_is_missing(tmp_path):
    with scoring_server(*other()) as server:
        distil(tmp_path / "whole", asked(server, concurrency=1))
        wanted, server.asked = len(server.asked), []
        server.answers_left = 5
        with pytest.raises(OperatorError, match="the model was unloaded"):
            distil(tmp_path / "cut", asked(server, concurrency=1))
        server.answers_left, server.asked = 1_000_000, []
        distil(tmp_path / "cut", asked(server, concurrency=1))
    assert len(server.asked) == wanted - 5
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert not list((tmp_path / "cut" / "own" / "rollouts").glob("teacher-*"))


# --- several, by source -------------------------------------------------------------------------------------------


def test_each_problem_has_the_teacher_of_its_source(tmp_path):
    """Two sources, two teachers: every row's log-probs are those of its own source's model."""
    problems = [dataclasses.replace(p, source="ab"[n % 2]) for n, p in enumerate(PROBLEMS)]
    seen = {}

    class Spy:
        def __init__(self, name, teacher):
            self.name, self.teacher = name, teacher

        def open(self, opening):
            self.inner = self.teacher.open(opening)
            return self

        def token_logps(self, asked):
            seen.setdefault(self.name, set()).update(problem.source for problem in asked.problems)
            found = self.inner.token_logps(asked)
            model = other(seed="ab".index(self.name) + 1)[0].eval()
            for (ids, prompt), logps in zip(asked.sequences, found, strict=True):
                assert np.allclose(logps, logps_of(model, ids)[prompt:], atol=1e-5)
            return found

    spec = TeachersBySource(
        {name: Spy(name, LoadedTeacher(lambda n=n: other(seed=n + 1))) for n, name in enumerate("ab")}
    )
    job = job_of(problems, advantage="teacher", updates=1, rounds=1)
    stage(tmp_path / "own", reinforce, job, teacher=spec)
    assert seen == {"a": {"a"}, "b": {"b"}}


# --- the student itself -------------------------------------------------------------------------------------------


def shown(context, load=None, limit=200):
    return SelfTeacher(
        contexts=context if callable(context) else lambda problem, trace_id, drawn: context,
        render=lambda problem, text: f"{text};{problem.statement}",
        limit=limit,
        load=load,
    )


def test_without_a_context_the_student_teaches_itself_exactly_nothing(tmp_path):
    lines = distil(tmp_path, shown(""))
    assert [line["teacher_kl"] for line in lines] == [0.0, 0.0]
    assert all(line["loss"] == 0.0 and line["grad_norm"] == 0.0 for line in lines)


def test_a_context_that_does_not_fit_is_left_out(tmp_path):
    assert distil(tmp_path, shown("1" * 200), rounds=1)[0]["teacher_kl"] == 0.0


def test_the_context_is_read_and_only_the_completions_tokens_have_advantages(tmp_path):
    """The teacher's log-probs are those of the same completion after the longer prompt, by the model's own logits."""
    context, found = "1+1=2", {}

    class Spy:
        def __init__(self, spec):
            self.spec = spec

        def open(self, opening):
            self.inner, self.tokenizer = self.spec.open(opening), opening.tokenizer
            return self

        def token_logps(self, asked):
            logps = self.inner.token_logps(asked)
            model = tiny_student()[0].eval()
            for (ids, prompt), problem, own, theirs in zip(
                asked.sequences, asked.problems, asked.behaviour, logps, strict=True
            ):
                longer = self.tokenizer(f"{context};{problem.statement}", add_special_tokens=False)["input_ids"]
                by_hand = logps_of(model, [*longer, *ids[prompt:]])[len(longer) :]
                assert len(theirs) == len(own) == len(ids) - prompt
                assert np.allclose(theirs, by_hand, atol=1e-5) and not np.allclose(theirs, own, atol=1e-4)
                found[problem.id] = True
            return logps

    distil(tmp_path, Spy(shown(context)), rounds=1)
    assert found


def test_only_rows_with_a_context_move_the_student(tmp_path):
    """A context for one problem: the rows of the others have advantages of exactly 0, so a round without it changes nothing."""
    none_asked = make_problem("9+9=", answer="18")
    lines = distil(tmp_path, shown(lambda problem, trace_id, drawn: "1" if problem.id == none_asked.id else ""))
    assert [line["grad_norm"] for line in lines] == [0.0, 0.0]


def test_the_start_as_teacher_stands_still_while_the_student_moves(tmp_path):
    """Without a context the start equals the student in the first round alone."""
    lines = distil(tmp_path, shown(lambda p, i, d: "" if d is None else "1", load=tiny_student), rounds=3)
    plain = distil(tmp_path / "plain", shown("", load=tiny_student), rounds=3)
    assert plain[0]["teacher_kl"] == pytest.approx(0.0, abs=1e-6)
    assert lines[0]["teacher_kl"] != plain[0]["teacher_kl"]
