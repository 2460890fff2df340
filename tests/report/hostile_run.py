"""A made-up run whose every text attacks the page: markup, handlers, addresses, hidden characters, endless lines."""

import dataclasses
import json
import shutil
from pathlib import Path

from made_up_run import judged

from redistill.io.atomic import write_json
from redistill.io.parquet import write_records
from redistill.records import FINAL, Candidate, Group, Image, Outcome, Pair, Span, Verdict, make_problem
from tiny_recipe import write_layout

RUNS = "document.title='owned';window.ran=1;console.log('owned')"
BAD = (
    f'<script>{RUNS};alert(1)</script></pre></style></title></textarea><img src=http://evil.example/x onerror="{RUNS}">'
    f'"><svg onload="{RUNS}"><a href="javascript:{RUNS}">{{{{ 7*7 }}}}</a>\' onmouseover=\'{RUNS}\' '
    f"<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe><base href=//evil.example>"
    "<meta http-equiv=refresh content='0;url=http://evil.example'><style>@import url(http://evil.example/c.css)</style>"
    '<!-- ]]> --!> {"a": "</script><script>alert(2)</script>"} &lt;script&gt; &#x3c;b&#x3e; if a<b and c>d then x<y '
    "\u202eright to left\u202c \u2066isolate\u2069 \x00\x1b[31m\x1b]0;owned\x07\u200b \u0645\u0631\u062d\u0628\u0627 "
)
ZALGO = "Z" + "\u0300\u0301\u0489" * 400
# inside, overlapping, on every character, outside, turned round; values that are not a size
SPANS = (Span(0, 9, 1.0), Span(3, 1_000_000, float("nan")), *(Span(i, i + 1, -float(i)) for i in range(400)), Span(-5, 3, 1.0),
         Span(9, 2, 1.0), Span(0, 2**60, 1.0), Span(1, 5, float("inf")), Span(0, 1, 1e-320))  # fmt: skip
LONG = BAD + "x" * 1_000_000  # one line without a place to break


def write_hostile(run_folder: Path, run: Path) -> Path:
    """A copy of the made-up run in `run`, every text of it replaced."""
    shutil.copytree(run_folder, run)
    for marker in run.rglob("*.done"):
        marker.unlink()  # they would say that the shards below are not those that were made
    problem = make_problem(BAD + ZALGO, answer=BAD, source=BAD, source_row=BAD, images=(Image(BAD, BAD),) * 9)
    wrong = judged(problem.id, BAD + LONG + "\u6f22" * 50_000, Outcome.incorrect, 0, BAD)
    right = judged(problem.id, BAD + ZALGO + "\n".join("y" * 20_000), Outcome.correct, 1, BAD)
    shouted = Verdict(Outcome.correct, BAD, BAD, BAD, BAD, 0.0)
    right = right.with_verdict(BAD, shouted).with_verdict(FINAL, shouted)
    judged_parts = {BAD: SPANS, **{f"{BAD}{i}": SPANS for i in range(30)}}
    wrong, right = (
        dataclasses.replace(trace, spans=judged_parts, notes={BAD: BAD + LONG, **{f"n{i}": BAD for i in range(30)}})
        for trace in (wrong, right)
    )
    for stream in ("evaluate/redi/dev/groups", "verify/groups"):
        write_records(run / stream / "part-00000.parquet", Group, [Group(problem, (wrong,)), Group(problem, (right,))])
    texts = (BAD + right.completion, BAD + wrong.completion)
    pair = Pair(problem.id, BAD, *texts, right.id, wrong.id, 1.0, SPANS, SPANS)
    write_records(run / "select" / "pairs" / "part-00000.parquet", Pair, [pair] * 12)
    paper = Candidate("x", BAD, problem.id, BAD, right.id, wrong.id, BAD, BAD, 5, 9, 2)
    write_records(run / "select" / "candidates" / "part-00000.parquet", Candidate, [paper] * 3)
    side = [(i, i + 1, -1.0, -1.0 - i) for i in range(400)] + [(400, 2_000_000, -1.0, 1.0)]
    changes = [{"chosen_id": right.id, "rejected_id": wrong.id, "chosen": side, "rejected": side}]
    write_json(run / "train/redi/token_changes.json", {"stage": "redi", "start": BAD, "pairs": changes})
    shutil.copytree(run / "evaluate" / "redi" / "dev", run / "evaluate" / "redi" / "<b onload=x>$x^2$")
    lone = BAD + "\ud800"
    ledger = {"accounts": {lone: {"unit": lone, "in": 1, "kept": 0, "dropped": {lone: 1}}}}
    ledger["tallies"] = {"outcomes": {lone: 3}, f"outcomes:{lone}": {lone: 3}, f"reasons:{lone}": {lone: 3}}
    (run / "verify" / "ledger.json").write_text(json.dumps(ledger))  # half a letter stands in JSON as \\ud800
    write_json(run / "select" / "ledger.json", {"tallies": {"tokens_correct": {BAD: 3, "1-2": 4}}})
    statistics = {"own": BAD, "policies": {BAD: {"pairs": 3, "source": {BAD: 3}}}, "shared_pairs": {BAD: {BAD: 1}}}
    traces = {"source": {BAD: {"traces": 3, "right": 2}}, "teacher": {ZALGO + BAD: {"traces": 3, "right": 2}}}
    write_json(run / "select" / "statistics.json", {**statistics, "traces": traces})
    rows = [{"label": BAD, "value": BAD}]
    write_json(run / "evaluate" / "diagnosis.json", {"title": BAD, "sentence": BAD, "rows": rows})
    write_json(run / "evaluate" / "comparisons.json", [{"a": BAD, "b": BAD, "difference": 0.1, "sentence": BAD}])
    facts = {"name": lone, "packages": {lone: lone}, "inputs": {lone: lone}, "hardware": {lone: lone}}
    (run / "run.json").write_text(json.dumps({**facts, "git_commit": BAD}))
    guard = {"sentence": BAD, "rollbacks": [{"at": 1, "to": 0, "reasons": [BAD]}]}
    write_json(run / "train/redi/ledger.json", {"start": BAD, "device": BAD, "guard": guard})
    write_layout(run)
    (run / "recipe.yaml").write_text(
        "train: {redi: {objective: redi, guard: {}}}\nreport: {title: '</title><script>alert(5)</script>'}\n"
    )
    return run
