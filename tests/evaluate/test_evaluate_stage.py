"""An eval_config: killed and taken up again it gives the same scores, and every answer keeps how it was drawn."""

import json
from dataclasses import replace
from functools import partial

import pytest

from redistill.config.tables import VerifySettings
from redistill.evaluate import stage
from redistill.evaluate.stage import EvalConfig, run_evaluation, write_scores
from redistill.io.stage_folder import StageFolder
from redistill.records import make_problem
from redistill.rollout import Sampling
from redistill.rollout.requests import Sample
from redistill.verify import exact

PROBLEMS = [make_problem(f"What is {i}+1?", answer=str(i + 1)) for i in range(6)]
SAMPLING = Sampling(n=2, temperature=0.6, top_p=0.95, max_new_tokens=8, prefill="<think>")


def engine(student, requests, sampling, *, _finished, dies_at=None):
    """Right for even numbers, wrong for odd ones."""
    samples = []
    for place, request in enumerate(requests):
        if place == dies_at:
            raise KeyboardInterrupt
        number = int(request.prompt.split()[2].split("+")[0])
        text = f"hm</think> \\boxed{{{number + 1 + number % 2}}}"
        samples.append(Sample(text, 4, "stop"))
        _finished(place, samples[-1])
    return samples


CONFIG = EvalConfig(engine, lambda p: p.statement, {"exact": exact}, "exact", SAMPLING, 0, VerifySettings(workers=1))


def take(folder, eval_config, author="redi"):
    stage_dir = StageFolder(folder, "print")
    run_evaluation(stage_dir, eval_config, PROBLEMS, lambda: None, author=author, label="")
    return write_scores(stage_dir, n=2, model=author, benchmark="mine", settings={})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, take(folder, CONFIG)


def test_the_answers_keep_how_they_were_drawn(whole):
    folder, scores = whole
    groups = list(StageFolder(folder, "").read("groups"))
    traces = [t for g in groups for t in g.traces]
    assert [t.sampling["sample_index"] for t in traces] == [0, 1] * 6
    assert len({t.sampling["seed"] for t in traces}) == 12
    assert all(t.completion.startswith("<think>hm") and t.sampling["prefill"] == "<think>" for t in traces)
    assert {(t.finish_reason, t.num_tokens) for t in traces} == {("stop", 4)}
    assert scores["pass_at_1"]["value"] == 0.5  # three of six problems have an even number
    assert not (folder / "samples.jsonl").exists()


def test_killed_in_the_middle_it_goes_on_to_the_same_scores(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(stage, "ROLLOUTS_PER_SHARD", 4)  # three shards of two problems
    for dies_at in (3, 0, 1):
        with pytest.raises(KeyboardInterrupt):
            take(tmp_path, replace(CONFIG, engine=partial(engine, dies_at=dies_at)))
    # the first try kept three of the first shard's four, the last one drew the fourth and one of the second shard
    assert (tmp_path / "part-00000.done").exists() and not (tmp_path / "part-00001.done").exists()
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 1
    assert json.dumps(take(tmp_path, CONFIG)) == json.dumps(whole[1])


def test_a_finished_exam_is_not_sat_again(whole):
    folder, scores = whole
    assert take(folder, replace(CONFIG, engine=None)) == scores
