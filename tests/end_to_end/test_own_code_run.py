"""A verifier, a pairing and an objective from a file outside the package: in a run, in a file's verdicts, in sentences."""

import json

OWN = """\
from redistill.records import Outcome, Verdict

def last_digit(problem, trace, *, digits: int = 1):
    said = trace.completion.rpartition("#")[2].strip()
    if not said:
        return Verdict(Outcome.no_answer, None, "nothing_said", "own", "1")
    same = said[-digits:] == (problem.answer or "")[-digits:]
    return Verdict(Outcome.correct if same else Outcome.incorrect, said, "last_digit", "own", "1")

def last_pair(group):
    right = [t for t in group.traces if t.verdict.outcome == Outcome.correct]
    wrong = [t for t in group.traces if t.verdict.outcome == Outcome.incorrect]
    return [(right[-1], wrong[-1])] if right and wrong else "no_pair_of_mine"

def margin(chosen_logps, rejected_logps, *, scale: float = 1.0):
    from redistill.train.objectives import Losses
    import torch
    found = -torch.nn.functional.logsigmoid(scale * (chosen_logps - rejected_logps))
    return Losses(found, torch.ones_like(found))

def broken(problem, trace):
    return {}["no such key"]
"""
BROKEN = "verify={verifiers: ['mine:broken'], workers: 1}"
STAGE = "train={redi: {objective: {name: 'mine:margin', scale: 0.5}, batch_size: 4, steps: 2, learning_rate: 1e-3}}"
SET = [
    "--set", "verify={verifiers: [{name: 'mine:last_digit', digits: 1}], workers: 1}", "--set", "select.pairing=mine:last_pair",
    "--set", STAGE, "--set", "diagnosis=null", "--set", "corpus.shards=1",
    "--set", "evaluate={verifier: 'mine:last_digit', models: [redi], n: 1, max_new_tokens: 8}",
]  # fmt: skip


def test_own_plug_ins_run_to_the_report_and_a_changed_file_makes_their_stages_again(here, tool):
    (here / "mine.py").write_text(OWN)
    done = tool(here, "run", "mini.yaml", "--code", "mine.py", *SET)
    assert done.returncode == 0, done.stderr
    run = here / "runs/mini"
    outcomes = json.loads((run / "verify/ledger.json").read_text())["tallies"]["outcomes:mine:last_digit"]
    assert outcomes["correct"] > 0 and outcomes["incorrect"] > 0
    facts = json.loads((run / "run.json").read_text())
    assert [path.rpartition("/")[2] for path in facts["inputs"]] == ["mine.py"]
    card = (run / "train/redi/model/README.md").read_text()
    assert "`mine:margin` (scale=0.5)" in card and "`mine.py` sha256" in card and "--code mine.py" in card
    fingerprints = {
        stage_dir: json.loads((run / stage_dir / "ledger.json").read_text())["fingerprint"]
        for stage_dir in ("corpus", "verify")
    }
    (here / "mine.py").write_text(OWN.replace('last_digit", "own", "1"', 'last_digit", "own", "2"'))
    done = tool(here, "run", "mini.yaml", "--code", "mine.py", "--until", "verify", *SET)
    assert done.returncode == 0, done.stderr
    after = {
        stage_dir: json.loads((run / stage_dir / "ledger.json").read_text())["fingerprint"]
        for stage_dir in ("corpus", "verify")
    }
    assert after["corpus"] == fingerprints["corpus"] and after["verify"] != fingerprints["verify"]


def test_a_recipe_alone_imports_nothing_and_faults_of_own_code_are_sentences(here, tool):
    (here / "mine.py").write_text(OWN)
    done = tool(here, "run", "mini.yaml", *SET)
    assert done.returncode == 2 and "--code mine.py" in done.stderr and "Traceback" not in done.stderr
    done = tool(here, "validate", "mini.yaml", "--code", "mine.py", "--set", BROKEN)
    assert done.returncode == 0, done.stderr
    done = tool(here, "run", "mini.yaml", "--code", "mine.py", "--set", BROKEN)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    line = 1 + OWN.splitlines().index('    return {}["no such key"]')
    assert "mine:broken failed on trace t" in done.stderr
    assert f"KeyError: 'no such key' (line {line} of mine.py)" in done.stderr
    (here / "rows.jsonl").write_text('{"gold": "17", "said": "#27"}\n{"gold": "17", "said": "#28"}\n')
    done = tool(here, "verify", "rows.jsonl", "--gold", "gold", "--prediction", "said", "--code", "mine.py",
                "--verifier", "mine:last_digit", "--workers", "1", "--json")  # fmt: skip
    assert json.loads(done.stdout)["outcomes"] == {"mine:last_digit": {"correct": 1, "incorrect": 1}}


WRONG = """\
def verdict(problem, trace):
    return True

def drops(side):
    return True

def score(groups):
    return [1.0 for _ in groups]

def pairs(group):
    return True

def loss(chosen_logps, rejected_logps):
    return (rejected_logps - chosen_logps).mean()
"""
WRONG_KINDS = {
    "verdict": ["verify={verifiers: ['wrong:verdict'], workers: 1}"],
    "drops": ["select.filters=[{name: 'wrong:drops'}]"],
    "score": ["score=[{name: 'wrong:score', into: mine}]"],
    "pairs": ["select.pairing=wrong:pairs"],
    "loss": ["train={redi: {objective: 'wrong:loss', batch_size: 4, steps: 1, learning_rate: 1e-3}}"],
}


def test_a_plug_in_that_returns_something_else_ends_the_run_with_a_sentence(here, tool):
    """Whatever its kind; one run folder, so each goes on from what the last one has finished."""
    (here / "wrong.py").write_text(WRONG)
    for name, changes in WRONG_KINDS.items():
        settings = ["diagnosis=null", "corpus.shards=1", "verify.workers=1", *changes]
        arguments = [word for setting in settings for word in ("--set", setting)]
        done = tool(here, "run", "mini.yaml", "--code", "wrong.py", "--overwrite", *arguments)
        said = done.stderr.splitlines()[-1]
        assert done.returncode == 2 and "Traceback" not in done.stderr, (name, done.stderr[-2000:])
        assert f"wrong:{name} returned " in said and "it should return " in said, (name, said)
