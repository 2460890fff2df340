"""The answer of `redistill plan` as text for a terminal: numbers in, lines out; no text of a trace is in it.

print(text(forecast(recipe, runs_dir=Path("runs"))))
"""

from collections.abc import Mapping, Sequence
from typing import Any

BAR = 40  # characters of the longest bar
COMPONENTS = {  # what a table shows, and of which parts of the estimate it is the sum
    "weights": ("weights",),
    "copies": ("low_precision", "gathered"),
    "gradients": ("gradients",),
    "optimizer": ("optimizer",),
    "activations": ("activations",),
    "head": ("head",),
    "working": ("working",),
}

_WORDS = {"rollouts": "own answers"}  # what a stream is called in the table


def text(estimate: Mapping[str, Any]) -> str:
    """The whole answer."""
    parts = [_rows(estimate), _tokens(estimate), _stages(estimate)]
    parts += [_memory(estimate, gpu) for gpu in list(estimate["totals"])[:1]]
    parts += [_cost(estimate), _rest(estimate)]
    return "\n\n".join(part for part in parts if part)


def _rows(estimate: Mapping[str, Any]) -> str:
    rows = estimate["rows"]
    said = [
        f"{estimate['recipe']}: a student of {_short(estimate['parameters'])} weights",
        f"rows      {rows['how']}",
        f"          {_amount(rows['problems'])} problems, {_amount(rows['traces'])} traces; held out to score on: {_amount(rows['dev'])}",
        f"          {_amount(rows['examples'])} examples, {_amount(rows['pairs'])} pairs",
    ]
    judged = sum(rows["outcomes"].values())
    if judged:
        said.append(
            "verdicts  " + ", ".join(f"{word} {count / judged:.1%}" for word, count in rows["outcomes"].items())
        )
    for name, reasons in rows["dropped"].items():
        if reasons:
            shown = ", ".join(f"{count} {reason}" for reason, count in list(reasons.items())[:5])
            said.append(f"no {name}: {shown}" + ("" if rows["exact"] else " (in the sample)"))
    return "\n".join(said)


def _tokens(estimate: Mapping[str, Any]) -> str:
    used = {stage["stream"] for stage in estimate["stages"].values()}
    parts = []
    for name, histogram in estimate["tokens"].items():
        if name not in used or not histogram["bins"]:
            continue
        most = max(count for _, count in histogram["bins"])
        lines = [
            f"tokens of {name}, prompt and completion ({'each side' if name == 'pairs' else 'each'}): median {histogram['p50']:,}, "
            f"90% {histogram['p90']:,}, 99% {histogram['p99']:,}, longest {histogram['max']:,}"
        ]
        for label, count in histogram["bins"]:
            lines.append(f"  {label:>15}  {'#' * round(BAR * count / most):<{BAR}}  {count:,}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _stages(estimate: Mapping[str, Any]) -> str:
    header = ["stage", "objective", "rows", "steps", "tokens", "longest", "padding saved", "micro-batches", "FLOPs"]
    table = []
    for name, stage in estimate["stages"].items():
        flops = next(iter(stage["flops"].values()))["total"] if stage["flops"] else None
        packing, most = stage["packing"], "<= " if stage.get("at_most") else ""
        steps = "" if stage.get("rollouts", {}).get("steps_exact") else most
        table.append([
            name, stage["objective"], f"{most}{_amount(stage['rows'])} {_WORDS.get(stage['stream'], stage['stream'])}",
            f"{steps}{_amount(stage['steps'])}", f"{most}{_short(stage['tokens'])}", f"{most}{stage['longest']:,}",
            "-" if packing is None else f"{packing['saved_share_of_padded']:.0%}",
            "-" if packing is None else f"{packing['micro_batches_per_step']:.1f}/step",
            "-" if flops is None else f"{most}{flops:.2e}",
        ])  # fmt: skip
    lines = _table(header, table)
    lines += [_rollouts(name, stage["rollouts"]) for name, stage in estimate["stages"].items() if "rollouts" in stage]
    for name, stage in estimate["stages"].items():
        lost = [
            f"{stage[key]:,} {words}"
            for key, words in (("too_long", "too long"), ("held_out", "held out for the guard"))
            if stage[key]
        ]
        lines += [f"{name}: without {' and '.join(lost)}"] if lost else []
    return "\n".join(lines)


def _rollouts(name: str, rounds: Mapping[str, Any]) -> str:
    """What a stage that draws its own rows draws, what is not known of it, and its pace where it has drawn some."""
    said = (
        f"{name}: {rounds['rounds']:,} rounds of {rounds['problems_per_round']:,} problems, {rounds['answers']:,} answers of its own, "
        f"at most {_short(rounds['generated_tokens_at_most'])} tokens sampled; all its numbers are upper bounds: {rounds['unknown']}"
    )
    pace = rounds["measured"]
    if pace is None:
        return said + "."
    return said + (
        f" (measured here over {pace['rounds']:,} rounds: {pace['tokens_per_answer']:.0f} tokens per answer, "
        f"{pace['tokens_per_second']:,.0f} tokens/s, {pace['hours']:.3g} h for all rounds)."
    )


def _memory(estimate: Mapping[str, Any], gpu: str) -> str:
    header = ["stage", "GPUs", "layout", "total", *COMPONENTS, "recomputed", "fits", "longest that fits"]
    alike: dict[str, list[str]] = {}  # stages that need the same share a row
    for name, stage in estimate["stages"].items():
        if gpu in stage["memory"]:
            alike.setdefault(str(stage["memory"][gpu]), []).append(name)
    table = []
    for names in alike.values():
        for count, memory in estimate["stages"][names[0]]["memory"][gpu].items():
            sums = [sum(memory["bytes"][part] for part in parts) for parts in COMPONENTS.values()]
            saved = f"{memory['checkpointed_layers']} layers" if memory["checkpointed_layers"] else "-"
            saved += ", moments on the host" if memory["offload_optimizer"] else ""
            table.append([
                ", ".join(names), count, memory["layout"], _gib(memory["total"]), *map(_gib, sums), saved,
                "yes" if memory["fits"] else "NO", f"{memory['longest_that_fits']:,}",
            ])  # fmt: skip
    unknown = [
        f"{name}: the student's config names no hidden size or layers, so its memory is not estimated"
        for name, stage in estimate["stages"].items()
        if gpu not in stage["memory"]
    ]
    if not table:
        return "\n".join(unknown)
    title = f"peak memory of one {gpu} in GiB, by component, with what the stage would choose (an estimate; not measured on a GPU)"
    lines = [title, *_table(header, table), *unknown]
    for name, stage in estimate["stages"].items():
        wrong = [m["sentence"] for m in stage["memory"].get(gpu, {}).values() if not m["fits"]]
        lines += [f"{name}: {sentence}" for sentence in dict.fromkeys(wrong)]
    return "\n".join(lines)


def _cost(estimate: Mapping[str, Any]) -> str:
    assumed = estimate["assumed"]
    header = ["GPU", "FLOPs", "GPU hours", "1 GPU", "2 GPUs", "4 GPUs", "8 GPUs", "dollars"]
    table = [
        [
            name, f"{total['flops']:.2e}", f"{total['gpu_hours']:.3g}", *(f"{hours:.3g} h" for hours in total["hours"].values()),
            f"{total['dollars']:,.2f} (at {assumed['dollars_per_hour'][name]:.2f} per hour)",
        ]
        for name, total in estimate["totals"].items()
    ]  # fmt: skip
    if not table:
        return ""
    title = f"training, all stages, at {assumed['utilisation']:.0%} of the peak (assumed, like the prices and an even split over GPUs)"
    return "\n".join([title, *_table(header, table)])


def _rest(estimate: Mapping[str, Any]) -> str:
    disk, evaluation = estimate["disk"], estimate["evaluate"]
    lines = [
        f"disk      {_bytes(disk['stages'])} for the stages before training, {_bytes(disk['students'])} for students, up to "
        f"{_bytes(disk['while_training'])} more while a stage trains"
        + (f", up to {_bytes(disk['rollouts'])} for the answers that stages draw" if disk["rollouts"] else "")
    ]
    lines += [f"shows     {line}" for line in estimate["shows"]]
    if evaluation["dev_answers"]:
        lines.append(
            f"scoring   {evaluation['dev_answers']:,} answers on dev, at most {_short(evaluation['dev_tokens_at_most'])} tokens"
            + (
                f" with {evaluation['candidates']} candidates a step as long as the one kept, and {_short(evaluation['dev_critic_calls_at_most'])} "
                "critic calls"
                if "candidates" in evaluation
                else ""
            )
            + " (not in the hours)"
        )
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]]


def _amount(amount: Mapping[str, int]) -> str:
    """`3,920`, or `3,920 (3,871 to 3,969)` for an estimate."""
    value, low, high = amount["value"], amount["low"], amount["high"]
    return f"{value:,}" if low == high else f"{value:,} ({low:,} to {high:,})"


def _short(count: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}"


def _bytes(count: int) -> str:
    for size, word in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{count / 1024:.3g} KiB"
