"""How much memory each stage holds at once: that of the longest problem with its traces, however many such there are."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from mini import MINI

LIMIT = 20_000  # corpus.max_chars of these runs: the longest trace and the longest statement that are accepted
BYTES_PER_CHAR = 500  # docs/guarantees.md
SLACK = 16 * 2**20  # what allocators keep, and pages that some runs touch and others do not
LONG_PROBLEMS = 6  # of two traces each; all of them at once would be above the bound
RECORD = 2 * LIMIT  # characters of one problem's traces
STAGES = (
    "corpus", "verify", "scorers/perplexity", "score", "select", "train/sft", "train/redi", "train/own",
    "evaluate/own/held-out", "report",
)  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def recipe():
    tree = yaml.safe_load(MINI)
    del tree["diagnosis"], tree["train"]["control"]
    tree["corpus"] |= {"sources": [{"name": "traces", "path": "rows.jsonl"}], "max_chars": LIMIT, "shards": 1}
    tree["score"] = ["perplexity"]
    own = {"problems": 2, "n": 2, "rounds": 1, "updates": 1, "max_new_tokens": 4}
    for stage in tree["train"].values():
        stage["steps"] = 2
    tree["train"]["own"] = {"objective": "grpo", "start": "sft", "learning_rate": 1e-3, "rollouts": own}
    benchmark = {"name": "held-out", "file": "held-out.jsonl"}
    tree["evaluate"] |= {"benchmarks": [benchmark], "n": 1, "max_new_tokens": 4, "models": ["own"]}
    return yaml.safe_dump(tree, sort_keys=False)


def text(length, answer):
    return "7+7=14;" * ((length - 12) // 7) + f"####{answer}"


def problem(statement, answer, length):
    generations = [{"text": text(length, answer)}, {"text": text(length, answer + 1)}]
    return {"problem": statement, "answer": str(answer), "generations": generations}


def peaks(folder, tool, length):
    """Stage -> its peak in KiB, of a run on problems that can be trained on and some of this length."""
    folder.mkdir()
    rows = [problem(f"0+{i}=", i, 60) for i in range(12)] + [
        problem(f"9+{i}=", 9 + i, length) for i in range(LONG_PROBLEMS)
    ]
    asked = [{"problem": f"1+{i}=" + "1" * (length - 60), "answer": "2"} for i in range(LONG_PROBLEMS)]
    for name, lines in (("rows", rows), ("held-out", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "mini.yaml").write_text(recipe())
    cut = {
        "setup": "stage_peaks:arm", "path": str(Path(__file__).parent), "to": str(folder / "peaks.json"), "chars_per_call": LIMIT
    }  # fmt: skip
    done = tool(folder, "run", "mini.yaml", cut=cut)
    assert done.returncode == 0, done.stderr
    audit = tool(folder, "audit", "rows.jsonl", "--workers", "1", "--benchmark", "file:held-out.jsonl")
    assert audit.returncode == 0, audit.stderr
    return {**dict(json.loads((folder / "peaks.json").read_text())), "audit": audit.peak_kib}


@pytest.fixture(scope="module")
def growth(tmp_path_factory, tool):
    """Stage -> how many bytes more it holds where records are as long as the corpus accepts them."""
    folder = tmp_path_factory.mktemp("memory")
    short, long = peaks(folder / "short", tool, 64), peaks(folder / "long", tool, LIMIT)
    assert short.keys() == long.keys()
    return {name: 1024 * (long[name] - short[name]) for name in short}


@pytest.mark.parametrize("name", [*STAGES, "audit"])
def test_a_stage_holds_one_record_at_a_time(growth, name):
    assert growth[name] <= BYTES_PER_CHAR * RECORD + SLACK, {
        name: f"{size / 2**20:.1f} MiB" for name, size in growth.items()
    }
