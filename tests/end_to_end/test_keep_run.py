"""A run that keeps the best traces of its whole corpus, whatever its shards."""

import json
from collections import Counter

from mini import MINI

from redistill.io.parquet import read_records


def test_a_run_keeps_the_shortest_right_traces_of_half_its_problems(tool, tmp_path):
    chosen = "{examples: all, sample: {by: source, keep: {two-habits: 0.5}}, keep: {by: tokens_left, top: 6}}"
    recipe = MINI.replace("{examples: first, pairing: certain}", chosen)
    wrong = tool(tmp_path, "run", write(tmp_path, recipe), "--until", "select")
    assert wrong.returncode == 2 and "no_score" in wrong.stderr  # nothing writes a score of this name
    recipe = recipe.replace("tokens_left", "length_rank, best: lowest")
    done = tool(tmp_path, "run", write(tmp_path, recipe), "--until", "select")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "mini"
    rows = [row for path in sorted((run / "select/examples").iterdir()) for row in read_records(path)]
    account = json.loads((run / "select/ledger.json").read_text())["accounts"]["examples"]
    assert len(rows) == 6 == account["kept"] and account["in"] == 6 + sum(account["dropped"].values())
    assert account["dropped"]["not_in_sample"] > 0 and account["dropped"]["not_in_top"] > 0
    columns = {
        trace.id: trace.scores["length_rank"]
        for path in (run / "select/groups").iterdir()
        for group in read_records(path)
        for trace in group.traces
    }
    dropped = [d for path in (run / "select/dropped").iterdir() for d in read_records(path)]
    left = [d.id for d in dropped if d.stage == "select/examples" and d.reason == "not_in_top"]
    assert max(columns[row.trace_id] for row in rows) <= min(columns[id] for id in left)
    assert Counter(row.trace_id for row in rows).most_common(1)[0][1] == 1


def write(folder, text):
    path = folder / "mini.yaml"
    path.write_text(text)
    return path
