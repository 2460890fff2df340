"""`redistill doctor`: the rows a recipe would train on, token by token, and what is wrong with them.

    found = examine(StudentSettings(model="my-model"), None, num_rows=2)
    print(picture(found, colour=False));  found.sentences      one for every check that fails

    row 1: 25 tokens, 15 learned
    <|im_start|>user
    What is 2+2?<|im_end|>
    <|im_start|>assistant
    [<think>
    ...The answer is \\boxed{4}.<|im_end|>]

Brackets (colour in a terminal) hold what carries loss. Without rows of the recipe's own, a made-up trace in the manner of
R1 stands in. Only the tokenizer and the config are loaded, never the weights.
"""

import dataclasses
import glob
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.config.binding import bind
from redistill.config.tables import ImageSettings, PromptSettings, Recipe, StudentSettings
from redistill.corpus import SOURCES
from redistill.model import loading
from redistill.model.pictures import pictures_of
from redistill.model.rendering import check_prompts
from redistill.pipeline.images import keeping_images_of
from redistill.records import Dropped, Problem
from redistill.safety.paths import home_path
from redistill.text.figures import plural
from redistill.train.preflight import CHECKED_ROWS, EXAMPLE, make_subject, texts_of
from redistill.train.token_checks import CHECKS, Subject, notes

SHOWN_CHARACTERS = 600  # of the prompt's end, and of each end of the completion


@dataclass(frozen=True, slots=True)
class Findings:
    """What the doctor saw. verdicts: check -> its sentence, None where all is well; origin: where the rows come from;
    notes: what is not a mistake and good to know."""

    subject: Subject
    origin: str
    verdicts: dict[str, str | None]
    num_rows: int
    notes: list[str]

    @property
    def sentences(self) -> list[str]:
        """What is wrong, one sentence each."""
        return [sentence for sentence in self.verdicts.values() if sentence]


def examine(student: StudentSettings, recipe: Recipe | None, *, num_rows: int = 2) -> Findings:
    """Every check on this student under the recipe's prompts, data and lengths.

    Without a recipe: the template `plain`, in the chat template where the tokenizer has one. OperatorError where the
    student's tokenizer, config or chat template cannot be read at all.
    """
    tokenizer = loading.load_tokenizer(student)
    if student.from_config is None:
        loading.check_unchanged(Path(loading.locate(student)[0]))  # the weights too, which are not loaded here
    prompt = recipe.prompt if recipe else PromptSettings(chat=bool(tokenizer.chat_template))
    check_prompts(prompt, tokenizer)
    limits = recipe.corpus.images if recipe else ImageSettings()
    with (
        tempfile.TemporaryDirectory(prefix="redistill-images-") as scratch,
        keeping_images_of(tokenizer, limits, Path(scratch)),
    ):
        return _examined(recipe, student, prompt, tokenizer, num_rows)


def _examined(
    recipe: Recipe | None, student: StudentSettings, prompt: PromptSettings, tokenizer: Any, num_rows: int
) -> Findings:
    """What `examine` finds, with the images of the first rows at hand."""
    traces, origin = _first_traces(recipe)
    texts = texts_of(prompt, tokenizer, traces)
    prefill = recipe.evaluate.prefill if recipe else ""
    subject = make_subject(student, prompt, tokenizer, texts, prefill, _wanted(recipe))
    if recipe:
        most = recipe.select.max_completion_tokens
        trained = [row for row in subject.rows if most is None or sum(row.learned) <= most]  # select drops the others
        longest = max((len(row.ids) for row in trained), default=0)
        subject = dataclasses.replace(subject, wanted={**subject.wanted, f"the longest row of {origin}": longest})
    return Findings(subject, origin, {name: check(subject) for name, check in CHECKS.items()}, num_rows, notes(subject))


def _first_traces(recipe: Recipe | None) -> tuple[list[tuple[Problem, str]], str]:
    """(problem, completion) of the recipe's first traces, and where they are from."""
    if recipe is not None:
        for place, source in enumerate(recipe.corpus.sources):
            path = source.options.get("path")
            if isinstance(path, str) and not (home_path(path).exists() or glob.glob(path, recursive=True)):
                continue
            traces = list(itertools.islice(_traces(bind(SOURCES, source, f"corpus.sources.{place}")), CHECKED_ROWS))
            if traces:
                return traces, f"the first {plural(len(traces), 'trace')} of corpus.sources.{place}"
    why = "no recipe was given" if recipe is None else "the recipe's data is not on this machine"
    return [EXAMPLE], f"a made-up trace ({why})"


def _traces(source: Callable[[], Iterator[Any]]) -> Iterator[tuple[Problem, str]]:
    for group in source():
        if not isinstance(group, Dropped):
            yield from ((group.problem, trace.completion) for trace in group.traces if trace.completion.strip())


def _wanted(recipe: Recipe | None) -> dict[str, int]:
    """The lengths that a recipe allows, by the setting that allows them."""
    if recipe is None:
        return {}
    select, lengths = recipe.select, {"evaluate.max_new_tokens": recipe.evaluate.max_new_tokens}
    if select.max_completion_tokens:
        lengths["select.max_prompt_tokens + max_completion_tokens"] = (
            select.max_prompt_tokens or 0
        ) + select.max_completion_tokens
    return lengths | {f"train.{name}.max_tokens": s.max_tokens for name, s in recipe.train.items() if s.max_tokens}


# --- what is shown ------------------------------------------------------------------------------------------------


def picture(findings: Findings, *, colour: bool, clean: Callable[[str], str] = str) -> str:
    """The rows with what carries loss marked, the facts of the student, and one line per check. clean: makes text harmless."""
    subject, lines = findings.subject, []
    dim, bold, off = ("\x1b[2m", "\x1b[1;32m", "\x1b[0m") if colour else ("", "[", "]")
    for number, row in enumerate(subject.rows[: findings.num_rows], 1):
        learned = sum(row.learned)
        prompt, completion = (_text(subject, part) for part in (row.ids[: len(row.ids) - learned], row.ids[-learned:]))
        lines.append(f"row {number}: {len(row.ids)} tokens, {learned} learned")
        shown = dim + clean(_cut(prompt, 0, SHOWN_CHARACTERS)) + (off if colour else "")
        lines.append(shown + bold + clean(_cut(completion, SHOWN_CHARACTERS, SHOWN_CHARACTERS)) + off)
        if row.question != row.prompt:
            asked = clean(_cut(_text(subject, row.asked), 0, SHOWN_CHARACTERS))
            lines += [f"evaluation asks it so ({len(row.asked)} tokens):", dim + asked + (off if colour else "")]
        lines.append("")
    marks = "green carries loss" if colour else "[...] carries loss"
    lines.append(f"rows: {findings.origin}; {marks}")
    lines += [f"{key}: {clean(str(value))}" for key, value in facts(findings).items()]
    lines += [f"note: {clean(note)}" for note in findings.notes]
    lines += [f"{'FAILS' if sentence else 'ok':<6}{name}" for name, sentence in findings.verdicts.items()]
    return "\n".join(lines)


def facts(findings: Findings) -> dict[str, Any]:
    """What the student's tokenizer and config say of themselves."""
    subject, tokenizer = findings.subject, findings.subject.tokenizer
    pad = str(tokenizer.pad_token)
    same = all(row.question == row.prompt for row in subject.rows)
    pictures = pictures_of(tokenizer)
    shown = {} if pictures is None else {"images": f"as patches, by {type(pictures.processor).__name__}"}
    return {
        "end token": f"{tokenizer.eos_token} ({subject.end})",
        "pad token": pad
        + (", the end token; no row is padded, so it keeps its loss" if pad == tokenizer.eos_token else ""),
        "opening token": str(tokenizer.bos_token) if loading.encode_prompts(tokenizer, [""])[0] else "none is added",
        "prompt": _manner(subject.chat)
        if same
        else f"training {_manner(subject.chat)}, evaluation another, {_manner(subject.asked_chat)}",
        "context": f"{loading.context_length(subject.config):,} tokens",
        **shown,
    }


def _manner(chat: Callable[[str], str] | None) -> str:
    return "in the tokenizer's chat template" if chat else "without a chat template"


def as_json(findings: Findings) -> dict[str, Any]:
    """Everything for programs; every checked row whole, with its ids and mask."""
    subject = findings.subject
    return {
        "healthy": not findings.sentences,
        "checks": [{"name": name, "ok": not text, "sentence": text or ""} for name, text in findings.verdicts.items()],
        "notes": findings.notes,
        "facts": facts(findings),
        "origin": findings.origin,
        "rows": [
            {
                "text": _text(subject, r.ids),
                "ids": r.ids,
                "learned": r.learned,
                "asked": r.asked,
                "question": r.question,
            }
            for r in subject.rows[: findings.num_rows]
        ],
    }


def _text(subject: Subject, ids: list[int]) -> str:
    return str(subject.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _cut(text: str, head: int, tail: int) -> str:
    """The text's two ends, with what was left out counted."""
    if len(text) <= head + tail + 40:
        return text
    return f"{text[:head]} ... {len(text) - head - tail:,} characters ... {text[len(text) - tail :]}"
