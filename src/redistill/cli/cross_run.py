"""What `redistill compare` and `redistill regrade` print: a paragraph for each benchmark; a table for each two verifiers."""

import json
from collections.abc import Mapping
from typing import Any

from redistill.cli.text_tables import aligned
from redistill.config.differences import differing_words
from redistill.text.figures import between, p_value, percent, points

MAX_FLIPS = 12  # lines on the screen; all of them are in the file
MAX_EXAMPLES = 6  # on the screen; more are in regraded/agreement.json


def compare_text(rows: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """The findings, and the file that keeps them."""
    from redistill.io.stores import place_of_copy
    from redistill.tools.cross_run import kept_in

    kept = kept_in(place_of_copy(options["run_a"]), rows)
    return "\n\n".join([*map(_difference, rows), f"kept in {kept}"])


def _difference(comparison: dict[str, Any]) -> str:
    a, b = comparison["a"], comparison["b"]
    lines = [f"{comparison['benchmark']}: {comparison['sentence']}"]
    lines.append(
        f"  pass@1 of {a} {percent(comparison['pass_at_1'][0])}%, of {b} {percent(comparison['pass_at_1'][1])}%"
    )
    if any(comparison["left_out"]):
        lines.append(
            f"  left out: {comparison['left_out'][0]} problems of {a} alone, {comparison['left_out'][1]} of {b} alone"
        )
    lines += [
        f"  {one['sentence']}" for kind in ("choose", "self_correction") for one in comparison.get(kind, {}).values()
    ]
    for key, (one, other) in comparison["settings_differ"].items():
        lines.append(f"  differs: {key} {' against '.join(differing_words([_value(one), _value(other)], 80))}")
    flips = comparison["flips"]
    lines.append(
        f"  solved by both {flips['both']}, by {a} alone {flips['only_a']}, by {b} alone {flips['only_b']}, "
        f"by neither {flips['neither']}; McNemar {p_value(comparison['mcnemar_p'])}"
    )
    for title, key in (("by difficulty", "by_difficulty"), ("by length of the answers", "by_length")):
        lines.append(f"  {title}: {comparison[key]['note']}")
        head = ("", "problems", "points", "95% interval")
        cells = [
            (row["label"], str(row["num_problems"]), points(row["difference"]), between(row["interval95"], signed=True))
            for row in comparison[key]["bins"]
        ]
        lines += [f"    {line}" for line in aligned(head, cells, names=1)] if cells else []
    for flip in comparison["flipped"][:MAX_FLIPS]:
        statement = " ".join(flip["a"]["statement"].split())
        cut = statement if len(statement) <= 60 else f"{statement[:57]}..."
        read = [_read(flip[side]) for side in ("a", "b")]
        lines.append(f"  {flip['problem_id']} {cut}")
        lines.append(f"    gold {flip['a']['gold']}; {a}: {read[0]}; {b}: {read[1]}")
    if len(comparison["flipped"]) > MAX_FLIPS:
        lines.append(f"  and {len(comparison['flipped']) - MAX_FLIPS} more problems that flipped")
    return "\n".join(lines)


def _read(side: dict[str, Any]) -> str:
    said = f"“{side['read'][:40]}”" if side["read"] is not None else "no answer"
    return f"{said} ({side['outcome']}; {side['correct']} of {side['samples']} right)"


def _value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def regrade_text(rows: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """The tables, and where they are kept."""
    from redistill.io.stores import place_of_copy

    return "\n\n".join([*map(_agreement, rows), f"kept in {place_of_copy(options['run']) / 'regraded'}"])


def _agreement(agreement: dict[str, Any]) -> str:
    a, b = agreement["a"], agreement["b"]
    share = "-" if agreement["agree"] is None else f"{agreement['agree']:.1%}"
    lines = [
        f"{agreement['student']} on {agreement['benchmark']}: {a} and {b} agree on {share} of {agreement['num_samples']:,} answers; "
        f"correct by {a} alone: {agreement['only_a_correct']}, by {b} alone: {agreement['only_b_correct']}."
    ]
    columns = sorted({word for row in agreement["table"].values() for word in row})
    cells = [[word, *(f"{row.get(column, 0):,}" for column in columns)] for word, row in agreement["table"].items()]
    lines += [f"  {line}" for line in aligned((f"{a} down, {b} across", *columns), cells, names=1)]
    for example in agreement["examples"][:MAX_EXAMPLES]:
        one, other = example[a], example[b]
        lines.append(f"  {example['trace_id']} gold {_cut(example['gold'])}: {a} {_said(one)}; {b} {_said(other)}")
    return "\n".join(lines)


def _said(verdict: dict[str, Any]) -> str:
    return f"{verdict['outcome']} ({verdict['reason']}, read {_cut(verdict['read'])})"


def _cut(text: str | None) -> str:
    line = "nothing" if text is None else " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:37]}..."
