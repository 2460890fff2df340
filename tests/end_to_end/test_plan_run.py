"""`redistill plan` against what the run really did: rows, steps, tokens and the memory estimate are the same numbers."""

import json


def facts(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.name != ".lock")


def test_plan_says_before_and_after_what_the_run_did(here, copy, tool, whole):
    before = tool(here, "plan", "mini.yaml", "--json", "--runs-dir", "elsewhere")
    assert before.returncode == 0, before.stderr
    folder = copy("corpus", "verify", "select")
    standing = facts(folder)
    after = tool(folder, "plan", "mini.yaml", "--json")
    assert after.returncode == 0, after.stderr
    assert facts(folder) == standing  # nothing is written
    guessed, counted = json.loads(before.stdout), json.loads(after.stdout)
    assert guessed["rows"]["exact"] and guessed["rows"]["how"].startswith("all ")
    assert counted["rows"]["exact"] and "counted in runs/mini/select" in counted["rows"]["how"]
    run = whole / "runs" / "mini"
    accounts = json.loads((run / "select/ledger.json").read_text())["accounts"]
    for found in (guessed, counted):
        assert found["rows"]["dev"]["value"] == accounts["dev"]["kept"]
        for name, stage in found["stages"].items():
            ledger = json.loads((run / f"train/{name}/ledger.json").read_text())
            lines = [json.loads(line) for line in (run / f"train/{name}/metrics.jsonl").read_text().splitlines()]
            assert stage["rows"]["value"] == ledger["rows"]["kept"] and stage["steps"]["value"] == ledger["steps"]
            assert stage["memory"]["cpu"]["1"]["bytes"] == ledger["memory"]["bytes"]
            if found is counted:  # the run's own order of rows
                assert stage["tokens"] == sum(line["tokens"] for line in lines)


def test_a_recipe_that_cannot_run_is_one_sentence(here, tool):
    done = tool(here, "plan", "mini.yaml", "--set", "train.redi.objective=reddi")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "train.redi.objective: there is no 'reddi'; did you mean 'redi'?" in done.stderr
