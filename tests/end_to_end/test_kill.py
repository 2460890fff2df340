"""A run killed with -9 in any stage, anywhere in it, and run again ends as if nothing had happened."""

import json

import pytest
from mini import cut_at

STAGES = ("corpus", "verify", "select", "train", "evaluate", "report")
SHARD = "redistill.io.stage_folder:StageFolder.finish_shard"

CUTS = {  # stage, what must not be there yet, where the process dies
    "corpus, while rows are read": (
        "corpus",
        "corpus/ledger.json",
        cut_at("redistill.corpus.reading:_append", "corpus"),
    ),
    "corpus, after the rows are parted": (
        "corpus",
        "corpus/ledger.json",
        cut_at("redistill.corpus.reading:_append", "corpus", when="after"),
    ),
    "corpus, after its second shard": (
        "corpus",
        "corpus/ledger.json",
        cut_at(SHARD, "/corpus", call=2, when="after"),
    ),
    "verify, after its first shard": ("verify", "verify/ledger.json", cut_at(SHARD, "/verify", when="after")),
    "verify, between a shard and its done-marker": (
        "verify",
        "verify/part-00001.done",
        cut_at("redistill.io.stage_folder:write_json", "verify/part-00001.done"),
    ),
    "verify, in the middle of a shard's file": (
        "verify",
        "verify/groups/part-00001.parquet",
        cut_at("os:replace", "verify/groups/part-00001.parquet."),
    ),
    "select, after its second shard": ("select", "select/ledger.json", cut_at(SHARD, "/select", call=2, when="after")),
    "train, in the first stage": (
        "train",
        "train/sft/ledger.json",
        cut_at("redistill.train.guard_state:GuardState.judge", "train/sft", call=3, when="after"),
    ),
    "train, while rows are encoded": (
        "train",
        "train/control/rows/account.json",
        cut_at("redistill.train.rows:write_json", "train/control/rows/account.json"),
    ),
    "train, after a checkpoint's files and before its mark": (
        "train",
        "train/redi/checkpoints/step-000002/done.json",
        cut_at("redistill.train.checkpoints:write_json", "train/redi/checkpoints/step-000002/done.json"),
    ),
    "train, in the last stage after a checkpoint": (
        "train",
        "train/redi/ledger.json",
        cut_at("redistill.train.guard_state:GuardState.judge", "train/redi", call=3, when="after"),
    ),
    "train, when the student is written and not yet renamed": (
        "train",
        "train/redi/model",
        cut_at("os:replace", "train/redi/model.part"),
    ),
    "train, between the student and the ledger": (
        "train",
        "train/redi/ledger.json",
        cut_at("redistill.train.stage:write_json", "train/redi/ledger.json"),
    ),
    "evaluate, when the answers are drawn and not yet judged": (
        "evaluate",
        "evaluate/control/dev/ledger.json",
        cut_at(SHARD, "evaluate/control"),
    ),
    "evaluate, between the ledger and the scores": (
        "evaluate",
        "evaluate/redi/dev/scores.json",
        cut_at("redistill.evaluate.stage:write_json", "evaluate/redi/dev/scores.json"),
    ),
    "evaluate, before the comparisons": (
        "evaluate",
        "evaluate/comparisons.json",
        cut_at("redistill.pipeline.stages:write_json", "evaluate/comparisons.json"),
    ),
    "report, while the page is written": ("report", "report.html", cut_at("os:replace", "report.html.")),
}


# Some cuts are in `make test`, beside the kills at every writer of ../faults/test_kills.py; `make recipes` has all.
IN_SHORT = {
    "corpus, after the rows are parted",
    "verify, between a shard and its done-marker",
    "train, when the student is written and not yet renamed",
    "evaluate, between the ledger and the scores",
}

# one cut a stage goes on to the report; the others to the last student, whose bytes are what the rest depends on
TO_THE_END = {
    "corpus, after its second shard",
    "verify, between a shard and its done-marker",
    "select, after its second shard",
    "train, after a checkpoint's files and before its mark",
}


def result(run):
    """All that a run has found: the weights' bytes, the scores, the chosen rows, the curves without their clocks."""
    found = {str(p.relative_to(run)): p.read_bytes() for p in run.glob("train/*/model/*.safetensors")}
    found |= {str(p.relative_to(run)): p.read_bytes() for p in run.glob("evaluate/*/*/scores.json")}
    found |= {str(p.relative_to(run)): p.read_bytes() for p in run.glob("select/*/*.parquet")}
    found |= {str(p.relative_to(run)): p.read_bytes() for p in run.glob("evaluate/comparisons.json")}
    for path in run.glob("train/*/metrics.jsonl"):
        lines = map(json.loads, path.read_text().splitlines())
        found[str(path)[len(str(run)) :]] = [
            {k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines
        ]
    for stage_dir in ("corpus", "verify", "evaluate"):
        found |= {str(p.relative_to(run)): p.read_bytes() for p in run.glob(f"{stage_dir}/**/*.parquet")}
    for path in run.rglob("ledger.json"):
        found[str(path.relative_to(run))] = json.loads(path.read_text())["accounts"]
    return found


@pytest.mark.parametrize(
    "name", [name if name in IN_SHORT else pytest.param(name, marks=pytest.mark.recipes) for name in CUTS]
)
def test_a_run_killed_in_any_stage_and_run_again_ends_with_the_same_bytes(name, whole, copy, tool):
    stage_dir, not_yet, cut = CUTS[name]
    folder = copy(*STAGES[: STAGES.index(stage_dir)])
    run = folder / "runs" / "mini"
    killed = tool(folder, "run", "mini.yaml", cut=cut)
    assert killed.returncode == -9, killed.stderr
    assert not (run / not_yet).exists() and not (run / "report.html").exists()
    to_the_end = stage_dir in ("evaluate", "report") or name in TO_THE_END
    again = tool(folder, "run", "mini.yaml", *([] if to_the_end else ["--until", "train"]))
    assert again.returncode == 0, again.stderr
    expected, found = result(whole / "runs" / "mini"), result(run)
    if not to_the_end:
        expected = {k: v for k, v in expected.items() if not k.startswith("evaluate/") or k in found}
    assert sum(k.endswith(".safetensors") for k in expected) == 3
    assert found == expected
    assert (run / "report.html").exists() == to_the_end
    assert not list(run.rglob("*.part")), "half-written files stay behind"
