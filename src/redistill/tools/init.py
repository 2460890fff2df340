"""`redistill init`: a user's file and a model -> a commented recipe that runs.

    found = survey("mine.jsonl", SOURCES)
    text = recipe_text(found, judge(found.best), traces="mine.jsonl", model="HuggingFaceTB/SmolLM2-135M-Instruct", name="mine")
    print(table(found, judge(found.best)))     every source on a sample of the rows: rows read, traces, right, wrong, what was dropped and why

What the file cannot say (rates, epochs) is the paper's or a usual choice, and a comment says which.
"""

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redistill.config.binding import options_of
from redistill.config.tables import StudentSettings
from redistill.corpus.sources import SOURCES
from redistill.corpus.sources.layouts import Layout, Survey
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Dropped, Outcome, Problem, Trace
from redistill.safety.paths import shell_word
from redistill.safety.terminal import one_line
from redistill.text.figures import plural
from redistill.text.prompts import as_chat
from redistill.tools.init_advice import Advice, advise
from redistill.tools.init_choices import (
    CHARACTERS_PER_TOKEN,
    Choices,
    Counts,
    Schedule,
    choose,
    student_facts,
    template_for,
)
from redistill.tools.init_trial import empty_streams
from redistill.tools.validate import mistakes_in
from redistill.verify import VERIFIERS, VerifierPool


def name_of(traces: str) -> str:
    """A recipe's name from the file's: letters, digits, `.`, `_` and `-`."""
    stem = re.sub(r"(\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|tar|tgz|zip|gz|zst))+$", "", Path(traces).name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "mine"


def check_usable(survey: Survey, traces: str) -> None:
    """OperatorError for a file that no recipe can be made from: without traces, without anybody who says which are right, or with gold
    answers that contradict each other."""
    layout = survey.best
    if layout.source == "step-judgements":
        raise OperatorError(
            f"{traces} holds labelled steps and no written judgement of them (it reads as `step-judgements`); copy the recipe r-prm, "
            "which trains a critic that writes on such steps, or read them with `labelled-steps` and train a critic with the objective "
            "process (docs/how-to/where-is-the-error.md)."
        )
    if not layout.traces:
        raise OperatorError(
            f"{traces} holds problems and no trace (it reads as `{layout.source}`), so there is nothing to learn from; give a file "
            "of traces (docs/datasets.md, Layouts), and list this one with it in corpus.sources."
            f"{_unread_text(survey)}"
        )
    if not layout.answers and not layout.labels:
        raise OperatorError(
            f"{traces} has neither gold answers nor labels, so right traces cannot be distinguished from wrong ones; add a column "
            "`answer` with the gold answer of each problem, or a label for each trace (docs/datasets.md, Layouts)."
            f"{_unread_text(survey)}"
        )
    if 2 * layout.contradicted > max(1, layout.repeated):
        column = layout.options.get("answer_column", "answer")
        raise OperatorError(
            f"{traces}: column `{column}` holds different answers to the same problem, for {layout.contradicted} of "
            f"{layout.repeated} problems that occur more than once ({layout.contradiction}), so it has the traces' "
            f"answers, not the gold answer; write the gold answer there, or leave the column out and label each trace true or false."
        )


def recipe_text(
    survey: Survey,
    judged: "Judged",
    *,
    traces: str,
    model: str,
    name: str,
    out: Path | None = None,
    choices: Choices | None = None,
) -> str:
    """The recipe as YAML with comments. out: its file, which the commands in it name; choices: where they are known already. OperatorError where the file has no traces, where nothing says which are right, or
    where its gold answers contradict each other."""
    check_usable(survey, traces)
    layout = survey.best
    choices = choices or choices_for(survey, judged, traces, model)
    chat, about_chat, opens = _chat(model)
    if layout.unopened > 0.5 and not (chat and opens) and "open_thinking" in options_of(SOURCES[layout.source]):
        layout.options["open_thinking"] = True  # what the teacher's template wrote before its text
    here = shell_word(out or f"{name}.yaml")
    lines = [
        f"# {one_line(name)}: written by `redistill init` for {one_line(traces)}",
        f"#   {layout.groups} of {layout.rows} sampled rows read as `{layout.source}`, {plural(len(layout.traces), 'trace')}; gold answers for "
        f"{layout.answers:.0%} of the problems; {_labels_text(layout)}",
        *(f"#   {line}" for line in _left_out(survey)),
        *(f"#   {line}" for line in filter(None, (choices.power, *choices.warnings))),
        f"# Check it:   redistill validate {here}      The rows a student would see:   redistill doctor --recipe {here}",
        f"# Look at the pairs before training:   redistill run {here} --until select      Every setting: docs/recipes.md",
        "# Completion in an editor:   redistill validate --schema > recipe.schema.json      and this line:",
        "# yaml-language-server: $schema=recipe.schema.json",
        f"name: {_quoted(name)}",
        "seed: 0",
        "",
        f"student: {{model: {_quoted(model)}{_end_of_turn(model) if chat else ''}}}      # a folder, a hub id, a .gguf file or package:NAME",
        "prompt:",
        f"  template: {template_for(layout.traces)}      # asks for the form in which most traces answer; or text of your own with {{problem}} in it",
        f"  chat: {str(chat).lower()}      # {about_chat}",
        "",
        *_corpus(layout, traces, choices),
        "",
        *_verify(layout),
        "",
        *_select(choices),
        "",
        *_train(layout.paired and not (survey.whole and not judged.pairs), choices),
        *advice_for(survey, judged, choices).stage,
        "",
        *_evaluate(choices),
        "",
        '# card: {license: apache-2.0, data_licenses: ["whose traces, under which licence"]}      # for the students\' model cards',
    ]
    return "\n".join(lines) + "\n"


def write_recipe(
    survey: Survey, judged: "Judged", traces: str, model: str, name: str, out: Path, choices: Choices | None = None
) -> Path:
    """Write the recipe where no file is yet, once it is known to be without mistakes, and return its path."""
    if out.exists():  # said before the recipe is tried
        raise OperatorError(f"{out} already exists; choose another --out.")
    choices = choices or choices_for(survey, judged, traces, model)
    text = recipe_text(survey, judged, traces=traces, model=model, name=name, out=out, choices=choices)
    where = f"the recipe for {traces}"
    if wrong := mistakes_in(text, where):
        raise OperatorError("\n  ".join(wrong))
    if survey.whole or not judged.right or choices.max_completion_tokens is not None:
        empty = empty_streams(text, where)
        if "examples" in empty:
            raise OperatorError(f"{traces}: {empty['examples']}")
        if "pairs" in empty:  # the verifier and the labels together may decide less than either
            judged = replace(judged, pairs=0)
            text = recipe_text(
                replace(survey, whole=True), judged, traces=traces, model=model, name=name, out=out, choices=choices
            )
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError as error:
        raise OperatorError(f"{out} already exists; choose another --out.") from error
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
    """Text as YAML reads it back: in double quotes, with YAML's own escapes, where a bare word would not do."""
    plain_word = re.fullmatch(r"(?:\.{0,2}/|[A-Za-z_])[A-Za-z0-9_./-]*", text)
    if plain_word and text.lower() not in ("yes", "no", "on", "off", "null", "true", "false"):
        return text
    escapes = {'"': '\\"', "\\": "\\\\"}
    return (
        '"'
        + "".join(escapes.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode()) for c in text)
        + '"'
    )


def _written(value: Any) -> str:
    """An option as YAML."""
    if isinstance(value, list):
        return f"[{', '.join(_written(item) for item in value)}]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _left_out(survey: Survey) -> list[str]:
    """What of the file the recipe does not use: splits, dropped rows, columns."""
    layout = survey.best
    lines = [survey.note] if survey.note else []
    if layout.dataset:
        lines.append(f"the columns are those of {layout.dataset}")
    if layout.dropped or layout.lost:
        reasons = [f"{plural(count, 'row')} {reason}" for reason, count in layout.dropped.items()]
        reasons += [f"{plural(count, 'trace')} {reason}" for reason, count in layout.lost.items()]
        lines.append(f"dropped of the sample: {', '.join(reasons)}")
    if layout.unread:
        lines.append(f"columns that are not read: {', '.join(layout.unread)}")
    return [one_line(" ".join(line.split())) for line in lines]


def _unread_text(survey: Survey) -> str:
    return f" No source reads the columns {', '.join(survey.unread)}." if survey.unread else ""


def _labels_text(layout: Layout) -> str:
    if not layout.labels:
        return "no labels"
    return "labels " + ", ".join(f"{one_line(name)} (wrong: {share:.0%})" for name, share in layout.labels.items())


def advice_for(survey: Survey, judged: "Judged", choices: Choices) -> Advice:
    """What to do beside SFT and the file's own pairs (init_advice.py)."""
    return advise(gold=survey.best.answers, wrong=judged.wrong, choices=choices)


MOST_COUNTED = 50_000  # groups of the file that are counted; a file of more has problems enough for every choice


def choices_for(survey: Survey, judged: "Judged", traces: str, model: str) -> Choices:
    """The numbers for this file and this student (init_choices.py)."""
    layout = survey.best
    problems, lengths, problem = _counted(layout, traces)
    counts = Counts(
        problems=problems,
        right_per_problem=judged.right_per_problem,
        pairs_per_problem=judged.pairs_per_problem,
        longest_trace=lengths[-1] // CHARACTERS_PER_TOKEN,
        usual_trace=lengths[(99 * (len(lengths) - 1)) // 100] // CHARACTERS_PER_TOKEN,
        longest_problem=problem // CHARACTERS_PER_TOKEN,
    )
    return choose(counts, student_facts(model), has_dev=bool(layout.answers))


def _counted(layout: Layout, traces: str) -> tuple[int, list[int], int]:
    """(different problems, characters of the traces in rising order, of the longest problem) of the file, read as the recipe will; the
    sample may hold one trace of each of many problems, so its share of problems says nothing."""
    ids, lengths, longest_problem = set[str](), [0], 0
    for item in itertools.islice(SOURCES[layout.source](path=traces, **layout.options), MOST_COUNTED):
        if isinstance(item, Dropped):
            continue
        if item.problem.answer is not None or not layout.answers:
            ids.add(item.problem.id)
        longest_problem = max(longest_problem, len(item.problem.statement))
        lengths += [len(trace.completion) for trace in item.traces]
    return len(ids), sorted(lengths), longest_problem


def _chat(model: str) -> tuple[bool, str, bool]:
    """(prompt.chat, why, whether the chat template's prompt ends in an open <think>)."""
    try:
        tokenizer = loading.load_tokenizer(StudentSettings(model=model))
    except OperatorError:
        return False, "the tokenizer could not be loaded: write true for a chat model", False
    if not tokenizer.chat_template:
        return False, "the tokenizer has no chat template", False
    try:
        opens = as_chat(tokenizer, "2+2?").rstrip().endswith("<think>")
    except OperatorError:
        return False, "the tokenizer's chat template cannot be rendered: mend it and write true", False
    return True, "the tokenizer has a chat template; false does not use it", opens


def _end_of_turn(model: str) -> str:
    """The setting for a student whose chat template ends turns with another token than the tokenizer's own, as base models' do."""
    try:
        tokenizer = loading.load_tokenizer(StudentSettings(model=model))
        end = loading.template_end(tokenizer, model)
    except OperatorError:  # the template's end is no token: `redistill doctor` says what to do
        return ""
    return f", end_of_turn: {loading.OF_TEMPLATE}" if end not in (None, tokenizer.eos_token) else ""


def _corpus(layout: Layout, traces: str, choices: Choices) -> list[str]:
    options = {"path": traces, **layout.options}
    written = ", ".join(f"{key}: {_written(value)}" for key, value in options.items())
    if choices.dev:
        held = f"  dev_problems: {choices.dev}      # never trained on, the same for all seeds: students are scored on these"
    else:
        held = "  dev_fraction: 0      # without gold answers, or with one problem, none can be held out to score on"
    return ["corpus:", "  sources:", f"    - {{name: {layout.source}, {written}}}", held]


def _verify(layout: Layout) -> list[str]:
    names = labels_to_count(layout)
    listed = ", ".join(map(_quoted, names))
    if layout.answers:
        lines = ["verify:", "  verifiers: [cascade]      # judges each trace by the gold answer"]
        return [*lines, *_lines_on_labels(listed, any(layout.labels[name] > 0 for name in names))]
    policy = _quoted(names[0]) if len(names) == 1 else "all"
    return [
        "verify:",
        "  verifiers: []      # no gold answers: the data's own labels decide",
        f"  labels: [{listed}]",
        f"  policy: {policy}",
    ]


def _lines_on_labels(names: str, some_wrong: bool) -> list[str]:
    """The lines of `verify` about the labels that the data brings: counted beside the verifier, where they call any trace wrong.
    Labels that call every trace right would only make undecided what the verifier finds wrong."""
    if not names:
        return ["  policy: cascade"]
    if not some_wrong:
        return [
            f"  labels: []      # {names} calls every trace right; write its name here to count it",
            "  policy: cascade",
        ]
    return [
        f"  labels: [{names}]      # what the data itself says; [] leaves the verifier alone",
        "  policy: agree      # right or wrong only where all say so; where they differ, the run shows how often and examples",
    ]


def labels_to_count(layout: Layout) -> list[str]:
    """The labels that nearly every trace has; where none is on so many, the commonest: one that is missing decides nothing."""
    common = [name for name in layout.labels if layout.label_shares[name] >= 0.9]
    return common or sorted(layout.labels, key=lambda name: -layout.label_shares[name])[:1]


def _select(choices: Choices) -> list[str]:
    lines = [
        "select:",
        "  examples: all      # first: one right trace a problem, as in the paper",
        f"  pairing: {{name: certain, max_pairs: {choices.max_pairs}}}      # only what is wrong for sure is rejected; pairs of a problem at most",
    ]
    if choices.max_completion_tokens is not None:
        lines.append(
            f"  max_completion_tokens: {choices.max_completion_tokens}      # what fits into the student's context"
        )
    return lines


def _stage(objective: str, start: str, schedule: Schedule, rate: float) -> str:
    return (
        f"    {{objective: {objective}, start: {start}, batch_size: {schedule.batch_size}, epochs: {schedule.epochs}, "
        f"learning_rate: {rate:.1e}, mixed_precision: auto}}"
    ).replace("e-0", "e-")


def _train(paired: bool, choices: Choices) -> list[str]:
    stages = [
        "train:",
        f"  # rates: {choices.about_rates}; the paper's are 5e-5 and 1e-6 at 1.5 billion",
        f"  sft:      # right traces, about {choices.sft.steps:,} steps",
        _stage("sft", "base", choices.sft, choices.sft_rate),
    ]
    if not paired:
        return [
            *stages,
            "  # no problem has both a right and a wrong trace that the verdicts are sure of, so there are no pairs for REDI",
        ]
    return [
        *stages,
        "  control:      # the same pairs and steps with the negatives' weight at 0: what they must beat",
        _stage("{name: redi, rejected_weight: 0.0}", "sft", choices.pairs, choices.redi_rate),
        f"  redi:      # the method, about {choices.pairs.steps:,} steps; its learning rate matters most: redistill lr-find",
        _stage("{name: redi, rejected_weight: 0.8}", "sft", choices.pairs, choices.redi_rate),
    ]


def _evaluate(choices: Choices) -> list[str]:
    if choices.dev:
        benchmarks = "  benchmarks: [dev]      # or {name: mine, file: my_problems.jsonl}, columns problem and answer"
    else:
        benchmarks = "  benchmarks: []      # nothing is scored; name a file: {name: mine, file: my_problems.jsonl}, columns problem and answer"
    return [
        "evaluate:",
        benchmarks,
        "  n: 4      # samples per problem; the paper takes 16",
        "  temperature: 0.6",
        "  top_p: 0.95",
        f"  max_new_tokens: {choices.max_new_tokens}      # from the longest trace seen and the student's context",
    ]


# --- what was seen ----------------------------------------------------------------------------------------------------

MAX_JUDGED = 200  # traces of the sample that the verifier judges
SHOWN = 300  # characters of an example's beginning and end


@dataclass(frozen=True, slots=True)
class Judged:
    """Right, wrong and undecided traces of a sample, as its labels say or, where it has none that say wrong, its gold
    answers."""

    right: int
    wrong: int
    undecided: int
    pairs: int  # problems with a right trace and a wrong one that was not cut off
    by: str  # labels or gold answers
    right_per_problem: float = 0.0
    pairs_per_problem: float = 0.0  # mean over problems of the smaller of the counts of right and wrong traces


def judge(layout: Layout) -> Judged:
    """Count the right and the wrong traces of a layout's sample."""
    if layout.wrong or not layout.answers:
        undecided = len(layout.traces) - layout.right - layout.wrong
        labels = [
            (problem.id, any(v.outcome == Outcome.incorrect for v in trace.verdicts.values()), trace.finish_reason)
            for problem, trace in layout.said
            if trace.verdicts
        ]
        sides = [(id, not is_wrong, is_wrong and reason != "length") for id, is_wrong, reason in labels]
        return Judged(layout.right, layout.wrong, undecided, int(layout.paired), "labels", *_per_problem(sides))
    items = [(problem, trace) for problem, trace in layout.said if problem.answer is not None][:MAX_JUDGED]
    outcomes: Counter[Outcome] = Counter()
    right, wrong, sides = set[str](), set[str](), list[tuple[str, bool, bool]]()
    with VerifierPool({"cascade": VERIFIERS["cascade"]}, workers=1, timeout_seconds=5.0, memory_mb=2048) as pool:
        for (problem, trace), verdicts in zip(items, pool.judge(items), strict=True):
            outcome = verdicts["cascade"].outcome
            outcomes[outcome] += 1
            is_wrong = outcome == Outcome.incorrect and trace.finish_reason != "length"
            sides.append((problem.id, outcome == Outcome.correct, is_wrong))
            if outcome == Outcome.correct:
                right.add(problem.id)
            elif outcome == Outcome.incorrect and trace.finish_reason != "length":
                wrong.add(problem.id)
    decided = outcomes[Outcome.correct], outcomes[Outcome.incorrect]
    return Judged(*decided, len(layout.said) - sum(decided), len(right & wrong), "gold answers", *_per_problem(sides))


def _per_problem(sides: Sequence[tuple[str, bool, bool]]) -> tuple[float, float]:
    """(right traces of a problem, pairs that a problem can give), means over problems, of (problem, is right, is wrong)."""
    right, wrong = Counter[str](), Counter[str]()
    for id, is_right, is_wrong in sides:
        right[id] += is_right
        wrong[id] += is_wrong
    ids = {id for id, *_ in sides}
    count = max(1, len(ids))
    return sum(right.values()) / count, sum(min(right[id], wrong[id]) for id in ids) / count


def table(survey: Survey, best: Judged) -> str:
    """Every source on the sample, the one that was taken first: rows, traces, right, wrong, and what was dropped and why;
    then two examples of it as they are read, and what is left out."""
    rows: list[tuple[str, ...]] = [("source", "rows", "traces", "right", "wrong", "dropped")]
    rows.append(_line(survey.best, str(best.right), str(best.wrong)))
    rows += [_line(layout, str(layout.right), str(layout.wrong)) for layout in survey.tried]
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[5]]).rstrip() for row in rows]
    lines.append(
        f"taken: {survey.best.source} {_options_text(survey.best)}; right and wrong by its {best.by}, {best.undecided} undecided"
    )
    for number, (problem, trace) in enumerate(_examples_of(survey.best), 1):
        lines += [
            f"--- example {number}, problem (gold answer: {problem.answer})",
            *_indented(problem.statement),
            f"--- example {number}, trace",
            *_indented(trace.completion),
        ]
    lines += _left_out(survey)
    if survey.unread:
        lines.append(f"no source reads the columns: {', '.join(survey.unread)}")
    return "\n".join(lines)


def _line(layout: Layout, right: str, wrong: str) -> tuple[str, ...]:
    dropped = [f"{reason} {count}" for reason, count in layout.dropped.items()]
    dropped += [f"{reason} {count} (of single traces)" for reason, count in layout.lost.items()]
    why = next((layout.reasons[reason] for reason in layout.dropped), "")
    kept = layout.groups > 0
    return (
        layout.source,
        f"{layout.groups} of {layout.rows}",
        str(layout.readable),
        right if kept else "0",
        wrong if kept else "0",
        f"{', '.join(dropped) or '-'}{f' ({why})' if why else ''}",
    )


def _options_text(layout: Layout) -> str:
    return (
        "{" + ", ".join(f"{key}: {_written(value)}" for key, value in layout.options.items()) + "}"
        if layout.options
        else ""
    )


def _examples_of(layout: Layout) -> list[tuple[Problem, Trace]]:
    """The first traces of two problems, or of one where there is no other."""
    first = {problem.id: (problem, trace) for problem, trace in reversed(layout.said)}
    return list(first.values())[-2:][::-1]


def _indented(text: str) -> list[str]:
    short = (
        text
        if len(text) <= 2 * SHOWN
        else f"{text[:SHOWN]}\n[... {len(text) - 2 * SHOWN:,} characters ...]\n{text[-SHOWN:]}"
    )
    return [f"  {line}" for line in short.splitlines()]


def as_facts(survey: Survey) -> dict[str, Any]:
    """What was seen, for programs."""
    layout = survey.best
    return {
        "source": layout.source,
        "dataset": layout.dataset,
        "options": layout.options,
        "rows": layout.rows,
        "groups": layout.groups,
        "traces": len(layout.traces),
        "answers": layout.answers,
        "labels": layout.labels,
        "paired": layout.paired,
        "dropped": layout.dropped,
        "lost_traces": layout.lost,
        "unread_columns": list(layout.unread),
        "unread_by_all": list(survey.unread),
        "left_out": survey.note,
        "tried": [
            {"source": one.source, "options": one.options, "groups": one.groups, "traces": one.readable, "dropped": one.dropped,
             "reasons": one.reasons}
            for one in survey.tried
        ],
    }  # fmt: skip
