"""`redistill init`: a person's file and a model -> a commented recipe that runs.

    layout = recognise("mine.jsonl", SOURCES)
    text = recipe_text(layout, traces="mine.jsonl", model="HuggingFaceTB/SmolLM2-135M-Instruct", name="mine")

What the file cannot say (rates, epochs) is the paper's or a usual choice, and a comment says which.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redistill.config.tables import StudentSettings
from redistill.corpus.sources.layouts import Layout
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.tools.validate import mistakes_in

CHARACTERS_PER_TOKEN = 3  # of mathematics in English, roughly; only bounds the answers' length


def name_of(traces: str) -> str:
    """A recipe's name from the file's: letters, digits, `.`, `_` and `-`."""
    stem = re.sub(r"(\.jsonl|\.parquet|\.gz|\.zst)+$", "", Path(traces).name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "mine"


def recipe_text(layout: Layout, *, traces: str, model: str, name: str) -> str:
    """The recipe as YAML with comments. OperatorError where the file has no traces, or nothing says which are right."""
    if not layout.traces:
        raise OperatorError(
            f"{traces} holds problems and no trace (it reads as `{layout.source}`), so there is nothing to learn from; give a file "
            "of traces (README.md, `Bring your own traces`), and list this one beside it in corpus.sources."
        )
    if not layout.answers and not layout.labels:
        raise OperatorError(
            f"{traces} has neither gold answers nor labels, so nobody can tell a right trace from a wrong one; add a column "
            "`answer` with the gold answer of each problem, or a label for each trace (README.md, `Bring your own traces`)."
        )
    chat, about_chat = _chat(model)
    lines = [
        f"# {name}: written by `redistill init` after a look at {traces}",
        f"#   {layout.groups} of the first {layout.rows} rows read as `{layout.source}`, {len(layout.traces)} traces; gold answers for "
        f"{layout.answers:.0%} of the problems; {_labels_text(layout)}",
        f"# Check it:   redistill validate {name}.yaml      The rows a student would see:   redistill doctor --recipe {name}.yaml",
        f"# Look at the pairs before training:   redistill run {name}.yaml --until select      Every setting: docs/recipes.md",
        f"name: {_quoted(name)}",
        "seed: 0",
        "",
        f"student: {{model: {_quoted(model)}}}      # a folder, a hub id, a .gguf file or package:NAME",
        "prompt:",
        f"  template: {_template(layout.traces)}      # bare, plain, paper, json, or text of your own with {{problem}} in it",
        f"  chat: {str(chat).lower()}      # {about_chat}",
        "",
        *_corpus(layout, traces),
        "",
        *_verify(layout),
        "",
        *_select(layout),
        "",
        *_train(layout),
        "",
        *_evaluate(layout),
        "",
        '# card: {license: apache-2.0, data_licenses: ["whose traces, under which licence"]}      # for the students\' model cards',
    ]
    return "\n".join(lines) + "\n"


def write_recipe(layout: Layout, traces: str, model: str, name: str, out: Path) -> Path:
    """Write the recipe where no file is yet, once it is known to be without mistakes, and return its path."""
    text = recipe_text(layout, traces=traces, model=model, name=name)
    if wrong := mistakes_in(text, f"the recipe for {traces}"):
        raise OperatorError("\n  ".join(wrong))
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError as error:
        raise OperatorError(f"{out} is there already; choose another --out.") from error
    except OSError as error:
        raise OperatorError(f"cannot write {out}: {error.strerror}; choose another --out.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        out.unlink(missing_ok=True)  # half a recipe would stand in the way of the next try
        raise
    return out


def _quoted(text: str) -> str:
    """Text as YAML reads it back: JSON's quotes where a bare word would not do."""
    plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", text) and text.lower() not in ("yes", "no", "on", "off", "null", "true", "false")  # fmt: skip
    return text if plain else json.dumps(text)


def _labels_text(layout: Layout) -> str:
    if not layout.labels:
        return "no labels"
    return "labels " + ", ".join(f"{name} (wrong: {share:.0%})" for name, share in layout.labels.items())


def _template(traces: Sequence[str]) -> str:
    """`json` where most teachers answered in JSON, fenced or not, `plain` otherwise."""
    found = sum('"answer"' in text and text.rstrip("` \n").endswith("}") for text in traces)
    return "json" if 2 * found > len(traces) else "plain"


def _chat(model: str) -> tuple[bool, str]:
    """(prompt.chat, why)."""
    try:
        template = loading.load_tokenizer(StudentSettings(model=model)).chat_template
    except OperatorError:
        return False, "the tokenizer could not be looked at: write true for a chat model"
    if template:
        return True, "the tokenizer has a chat template; false asks without it"
    return False, "the tokenizer has no chat template"


def _corpus(layout: Layout, traces: str) -> list[str]:
    options = {"path": traces, **layout.options}
    written = ", ".join(f"{key}: {_quoted(value)}" for key, value in options.items())
    if layout.answers:
        held = "  dev_fraction: 0.05      # of the problems, never trained on: students are scored on these"
    else:
        held = "  dev_fraction: 0      # without gold answers no problem can be held out to score on"
    return ["corpus:", "  sources:", f"    - {{name: {layout.source}, {written}}}", held]


def _verify(layout: Layout) -> list[str]:
    names = ", ".join(layout.labels)
    if layout.answers:
        return ["verify:", "  verifiers: [cascade]      # judges each trace by the gold answer", *_labels_heard(names)]
    policy = names if len(layout.labels) == 1 else "all"
    return [
        "verify:",
        "  verifiers: []      # no gold answers: the data's own labels decide",
        f"  labels: [{names}]",
        f"  policy: {policy}",
    ]


def _labels_heard(names: str) -> list[str]:
    """The lines of `verify` about the labels that the data brings: heard beside the verifier, where there are any."""
    if not names:
        return ["  policy: cascade"]
    return [
        f"  labels: [{names}]      # what the data itself says; [] leaves the verifier alone",
        "  policy: agree      # right or wrong only where all say so; where they differ, the run shows how often and examples",
    ]


def _select(layout: Layout) -> list[str]:
    return [
        "select:",
        "  examples: all      # first: one right trace a problem, as in the paper",
        "  pairing: certain      # only what is wrong for sure is rejected",
    ]


def _train(layout: Layout) -> list[str]:
    stages = [
        "train:",
        "  sft:      # right traces; 5e-5, batches of 128 and 3 epochs are the paper's, for 1.5 billion weights",
        "    {objective: sft, start: base, batch_size: 32, epochs: 3, learning_rate: 5.0e-5}",
    ]
    if not layout.paired:
        return [
            *stages,
            "  # no wrong trace was seen, so there are no pairs: REDI needs right and wrong traces of one problem",
        ]
    return [
        *stages,
        "  control:      # the same pairs and steps with the negatives' weight at 0: what they must beat",
        "    {objective: {name: redi, rejected_weight: 0.0}, start: sft, batch_size: 32, epochs: 1, learning_rate: 1.0e-6}",
        "  redi:      # the method; its learning rate matters most: redistill lr-find",
        "    {objective: {name: redi, rejected_weight: 0.8}, start: sft, batch_size: 32, epochs: 1, learning_rate: 1.0e-6}",
    ]


def _evaluate(layout: Layout) -> list[str]:
    longest = max(map(len, layout.traces), default=0) // CHARACTERS_PER_TOKEN
    room = next(size for size in (256 << i for i in range(20)) if size >= longest)
    if layout.answers:
        benchmarks = "  benchmarks: [dev]      # or {name: mine, file: my_problems.jsonl}, columns problem and answer"
    else:
        benchmarks = "  benchmarks: []      # nothing is scored; name a file: {name: mine, file: my_problems.jsonl}, columns problem and answer"
    return [
        "evaluate:",
        benchmarks,
        "  n: 4      # samples a problem; the paper takes 16",
        "  temperature: 0.6",
        "  top_p: 0.95",
        f"  max_new_tokens: {room}      # from the longest trace seen",
    ]


def as_facts(layout: Layout) -> dict[str, Any]:
    """What was seen, for programs."""
    return {
        "source": layout.source,
        "options": layout.options,
        "rows": layout.rows,
        "groups": layout.groups,
        "traces": len(layout.traces),
        "answers": layout.answers,
        "labels": layout.labels,
        "paired": layout.paired,
    }
