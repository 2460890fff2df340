"""The section about doing it again: the resolved recipe, versions, checksums, hardware and seconds."""

import hashlib
from typing import Any

from redistill.report.blocks import Block, Code, Details, Table, Text
from redistill.report.files import RunFiles
from redistill.report.sections.costs import costs
from redistill.report.text import duration, join, number, short

MAX_RECIPE = 60_000  # characters
MAX_INPUTS = 40


def facts(run: RunFiles) -> list[Block]:
    """What was run, on what, with which versions, how long."""
    record = run.facts
    if not (run.folder / "run.json").exists():
        blocks: list[Block] = [
            Text("Left out: run.json is not in this folder, so versions and hardware are unknown.", "missing")
        ]
        return blocks + _recipe(run)
    commit = short(record.git_commit or "unknown", 60)
    dirty = {True: ", with changes that were not committed", False: ", clean"}.get(record.git_dirty, "")  # type: ignore[arg-type]
    again = [Code("the command that made this run", record.command)] if record.command else []
    rows = [("name", short(record.name, 100)), ("seed", number(record.seed)), ("git commit", commit + dirty)]
    rows += _hashes(run)
    rows += [(short(str(key), 40), _fact(value)) for key, value in record.hardware.items()]
    blocks = [*again, Table("The run and its machine", ("fact", "value"), rows, (1,))]
    blocks += costs(run)
    if record.seconds:
        total = sum(record.seconds.values())
        times = [(short(stage_dir, 60), duration(s)) for stage_dir, s in record.seconds.items()]
        blocks.append(Table("Wall time by stage", ("stage", "time"), [*times, ("all", duration(total))]))
    versions = [(short(name, 60), short(version, 40)) for name, version in sorted(record.packages.items())]
    if versions:
        blocks.append(
            Details("Versions of packages", [Table("Versions of packages", ("package", "version"), versions)])
        )
    inputs = sorted(record.inputs.items())
    if inputs:
        listed = [(short(name, 80), short(digest, 70)) for name, digest in inputs[:MAX_INPUTS]]
        more = f" (the first {MAX_INPUTS} of {len(inputs):,})" if len(inputs) > MAX_INPUTS else ""
        table = Table(f"Inputs and their SHA-256{more}", ("file", "SHA-256"), listed, (1,))
        blocks.append(Details(f"Checksums of the inputs{more}", [table]))
    return blocks + _recipe(run)


def _hashes(run: RunFiles) -> list[tuple[str, str | None]]:
    """SHA-256 of the resolved recipe, and of each student's weights as they were saved."""
    hashes: list[tuple[str, str | None]] = []
    if run.recipe_text:
        hashes.append(("recipe.yaml, SHA-256", hashlib.sha256(run.recipe_text.encode()).hexdigest()))
    for stage in run.stages:
        sums = run.checksums(stage)
        weights = [sums[name] for name in sorted(sums) if name.endswith(".safetensors")]
        if weights:
            more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
            hashes.append((f"weights of {short(stage, 40)}, SHA-256", short(weights[0], 70) + more))
    return hashes


def _fact(value: Any) -> str | None:
    """A value of the hardware table; an empty list of devices reads `none`."""
    return (join([short(str(v), 60) for v in value]) or "none") if isinstance(value, list) else number(value)


def _recipe(run: RunFiles) -> list[Block]:
    text = run.recipe_text
    if not text:
        return [Text("Left out: recipe.yaml is not in this folder.", "missing")]
    cut = f"\n# cut here: {len(text) - MAX_RECIPE:,} more characters in recipe.yaml" if len(text) > MAX_RECIPE else ""
    return [Details("The resolved recipe", [Code("recipe.yaml", text[:MAX_RECIPE] + cut)])]
