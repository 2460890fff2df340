"""Nothing that training decides by has seen a benchmark: until the last stage is trained, only dev problems are answered."""

import copy
import json

from redistill.config.parsing import parse_recipe
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.run import run
from redistill.rollout import answer
from redistill.rollout.requests import Sample
from tiny_recipe import RECIPE

GUARD = {"action": "stop", "every": 2, "held_out_pairs": 2, "probe_every": 2, "probe_problems": 4}


def test_until_the_last_stage_is_trained_only_dev_problems_are_answered(tmp_path, monkeypatch):
    tree = copy.deepcopy(RECIPE)
    tree["train"]["redi"]["guard"] = GUARD
    tree["diagnosis"] = "two-habits"
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"problem": f"{i}-{i}=", "answer": 0}) + "\n" for i in range(5)))
    tree["evaluate"] |= {"benchmarks": [{"name": "sums", "file": str(path)}, {"name": "dev"}], "n": 1}
    asked = []  # (the prompts, whether all stages were finished), in the order in which students were asked

    def watched(engine, student, requests, sampling, **options):
        finished = (tmp_path / "tiny" / "train" / "redi" / "ledger.json").exists()
        asked.append(({request.prompt for request in requests}, finished))
        return [Sample("1", 1, "stop") for _ in requests]

    monkeypatch.setattr(answer, "draw", watched)
    folder = run(parse_recipe(tree, "here"), runs_dir=tmp_path)
    dev = {problem.statement for problem in StageFolder(folder / "select", "").read("dev")}
    during = [prompts for prompts, finished in asked if not finished]
    after = [prompts for prompts, finished in asked if finished]
    # during training: the diagnosis before redi and the probes after its steps 2 and 4, all of them on dev
    assert len(during) >= 3 and all(prompts <= dev for prompts in during)
    benchmark = {f"{i}-{i}=" for i in range(5)}
    assert benchmark in after and not benchmark & dev and dev in after  # and the scores on both come from the same code
