"""`redistill compare RUN_A RUN_B`: is one student better than another, on the same problems?"""

import argparse
import json
from pathlib import Path
from typing import Any

from redistill.cli.common import add_json, plain
from redistill.config.differences import differing_words
from redistill.text.figures import between, p_value, percent, points

TEXT = """\
Compare two students on the same problems, from their stored answers: no model is needed.

Prints the difference of pass@1 with a 95% interval over the problems and what may be claimed, McNemar's exact test on the problems
that one side alone solves, the difference on hard and easy problems and among short and long answers, the settings in which
the two differ, and the problems that flipped. All of it, with both answers of each flip, goes into compare/ of RUN_A, and
onto its page.

examples:
  redistill compare runs/redi-seed0 runs/redi-seed1 --student redi
  redistill compare runs/mine runs/mine --student redi:control
  redistill compare runs/smollm2-t0.6 runs/smollm2-t1.0 --benchmark gsm8k --json
"""

MAX_FLIPS = 12  # lines on the screen; all of them are in the file


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run_a", metavar="RUN_A", type=Path, help="a run's folder")
    parser.add_argument("run_b", metavar="RUN_B", type=Path, help="another, or the same one for two of its students")
    parser.add_argument("--student", metavar="NAME", help="whose answers, where a run has several; A:B for two names")
    parser.add_argument("--benchmark", action="append", metavar="NAME", help="only this one (repeatable)")
    parser.add_argument("--verifier", metavar="NAME", help="by the verdicts of `redistill regrade` instead")
    parser.add_argument("--common", action="store_true", help="only the problems that both answered")
    add_json(parser, "the findings")


def do(options: argparse.Namespace) -> None:
    """Compare, print, and keep the findings on RUN_A's page."""
    from redistill.report import write_report
    from redistill.tools.compare import compare_runs, keep

    first, _, second = (options.student or "").partition(":")
    found = compare_runs(
        options.run_a,
        options.run_b,
        students=(first or None, second or first or None),
        benchmarks=options.benchmark,
        verifier=options.verifier,
        common=options.common,
    )
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(plain("\n\n".join(_readable(one) for one in found)))
    path = keep(options.run_a, found)
    if not options.json:
        print(plain(f"\nkept in {path}"))
    if (options.run_a / "report.html").exists():
        write_report(options.run_a)


def _readable(found: dict[str, Any]) -> str:
    a, b = found["a"], found["b"]
    lines = [f"{found['benchmark']}: {found['sentence']}"]
    lines.append(f"  pass@1 of {a} {percent(found['pass_at_1'][0])}%, of {b} {percent(found['pass_at_1'][1])}%")
    if any(found["left_out"]):
        lines.append(f"  left out: {found['left_out'][0]} problems of {a} alone, {found['left_out'][1]} of {b} alone")
    lines += [f"  {one['sentence']}" for kind in ("choose", "self_correction") for one in found.get(kind, {}).values()]
    for key, (one, other) in found["settings_differ"].items():
        lines.append(f"  not the same: {key} {' against '.join(differing_words([_value(one), _value(other)], 80))}")
    flips = found["flips"]
    lines.append(
        f"  solved by both {flips['both']}, by {a} alone {flips['only_a']}, by {b} alone {flips['only_b']}, "
        f"by neither {flips['neither']}; McNemar {p_value(found['mcnemar_p'])}"
    )
    for title, key in (("by difficulty", "by_difficulty"), ("by length of the answers", "by_length")):
        lines.append(f"  {title}: {found[key]['note']}")
        for row in found[key]["bins"]:
            within = f"({between(row['interval95'], signed=True)})"
            lines.append(
                f"    {row['label']:<40}{row['num_problems']:>6} problems {points(row['difference']):>6} points {within}"
            )
    for flip in found["flipped"][:MAX_FLIPS]:
        statement = " ".join(flip["a"]["statement"].split())
        cut = statement if len(statement) <= 60 else f"{statement[:57]}..."
        read = [_read(flip[side]) for side in ("a", "b")]
        lines.append(f"  {flip['problem_id']} {cut}")
        lines.append(f"    gold {flip['a']['gold']}; {a}: {read[0]}; {b}: {read[1]}")
    if len(found["flipped"]) > MAX_FLIPS:
        lines.append(f"  and {len(found['flipped']) - MAX_FLIPS} more problems that flipped")
    return "\n".join(lines)


def _read(side: dict[str, Any]) -> str:
    said = f"“{side['read'][:40]}”" if side["read"] is not None else "no answer"
    return f"{said} ({side['outcome']}; {side['correct']} of {side['samples']} right)"


def _value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
