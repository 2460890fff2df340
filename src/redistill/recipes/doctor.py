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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from redistill import models
from redistill.corpus import SOURCES
from redistill.errors import OperatorError
from redistill.prompts import TEMPLATES, render
from redistill.recipes.checkup import CHECKS, Subject, refuse, token_rows
from redistill.records import Dropped, Example, Pair, Problem, make_problem
from redistill.settings import PromptSettings, Recipe, StudentSettings, bind, did_you_mean

EXAMPLE = (
    make_problem("What is 2+2?", answer="4"),
    "<think>\n2 and 2 make 4.\n</think>\n\nThe answer is \\boxed{4}.",
)
CHECKED_ROWS = (
    64  # rows of the data that the checks look at; reading them takes no time, and seams differ from row to row
)
SHOWN_CHARACTERS = 600  # of the prompt's end, and of each end of the completion


@dataclass(frozen=True, slots=True)
class Findings:
    """What the doctor saw. verdicts: check -> its sentence, None where all is well; origin: where the rows come from."""

    subject: Subject
    origin: str
    verdicts: dict[str, str | None]
    num_rows: int

    @property
    def sentences(self) -> list[str]:
        """What is wrong, one sentence each."""
        return [sentence for sentence in self.verdicts.values() if sentence]


def check_template(name: str, where: str) -> None:
    """OperatorError for what is neither a template's name nor text with one {problem} in it."""
    if name not in TEMPLATES and name.count("{problem}") != 1:
        raise OperatorError(
            f"{where}: {name!r} is neither a template nor text with one {{problem}} in it{did_you_mean(name, TEMPLATES)}"
        )


def renderer(
    prompt: PromptSettings, tokenizer: PreTrainedTokenizerFast
) -> tuple[Callable[[Problem], str], Callable[[str], str] | None]:
    """(problem -> prompt text, the chat function or None). OperatorError for a template that is none."""
    name = prompt.template
    check_template(name, "prompt.template")
    chat = models.chat_function(tokenizer) if prompt.chat else None
    return partial(render, template=TEMPLATES.get(name, name), chat=chat), chat  # pickles, for processes that select


def examine(student: StudentSettings, recipe: Recipe | None, *, num_rows: int = 2) -> Findings:
    """Every check on this student under the recipe's prompts, data and lengths.

    Without a recipe: the template `plain`, in the chat template where the tokenizer has one. OperatorError where the
    student's tokenizer, config or chat template cannot be read at all.
    """
    tokenizer = models.load_tokenizer(student)
    prompt = recipe.prompt if recipe else PromptSettings(chat=bool(tokenizer.chat_template))
    render, _ = renderer(prompt, tokenizer)
    texts, origin = _texts(recipe, render)
    prefill = recipe.evaluate.prefill if recipe else ""
    subject = make_subject(student, prompt, tokenizer, texts, prefill, _wanted(recipe))
    if recipe:
        longest = max(len(row.ids) for row in subject.rows)
        subject = dataclasses.replace(subject, wanted={**subject.wanted, f"the longest row of {origin}": longest})
    return Findings(subject, origin, {name: check(subject) for name, check in CHECKS.items()}, num_rows)


def make_subject(
    student: StudentSettings,
    prompt: PromptSettings,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[tuple[str, str]],
    prefill: str,
    wanted: dict[str, int],
) -> Subject:
    """The student as the checks want to see it; `texts` are (prompt, completion)."""
    _, chat = renderer(prompt, tokenizer)
    plain = student if student.from_config else student.model_copy(update={"config_edits": {}})
    return Subject(
        tokenizer=tokenizer,
        config=models.load_config(student, len(tokenizer)),
        original=models.load_config(plain, len(tokenizer)),
        template=TEMPLATES.get(prompt.template, prompt.template),
        chat=chat,
        prefill=prefill,
        rows=token_rows(tokenizer, texts, prefill),
        wanted=wanted,
    )


def check_before_run(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
    """The checks that need no data, before any work begins. OperatorError with the first that fails."""
    if recipe.student.from_config is not None:
        models.check_buildable(models.load_config(recipe.student, len(tokenizer)))
    render, _ = renderer(recipe.prompt, tokenizer)
    texts = [(render(EXAMPLE[0]), ANSWER_ALONE)]
    asked = {f"train.{name}.max_tokens": s.max_tokens for name, s in recipe.train.items() if s.max_tokens}
    refuse(make_subject(recipe.student, recipe.prompt, tokenizer, texts, recipe.evaluate.prefill, asked))


ANSWER_ALONE = "4"  # a completion that says nothing of how this recipe's traces begin


def check_rows(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, records: Iterable[Example | Pair]) -> None:
    """What needs the data, on the first rows that select made. OperatorError where they open <think> a second time."""
    first = itertools.islice(records, CHECKED_ROWS)
    texts = [(r.prompt, r.completion if isinstance(r, Example) else r.chosen) for r in first]
    refuse(make_subject(recipe.student, recipe.prompt, tokenizer, texts, recipe.evaluate.prefill, {}), ["opening"])


def _texts(recipe: Recipe | None, render: Callable[[Problem], str]) -> tuple[list[tuple[str, str]], str]:
    """(prompt, completion) of the recipe's first traces, and where they are from."""
    if recipe is not None:
        for place, source in enumerate(recipe.corpus.sources):
            path = source.options.get("path")
            if isinstance(path, str) and not (Path(path).expanduser().exists() or glob.glob(path, recursive=True)):
                continue
            rows = _traces(bind(SOURCES, source, f"corpus.sources.{place}"))
            found = [(render(problem), text) for problem, text in itertools.islice(rows, CHECKED_ROWS)]
            if found:
                return found, f"the first {len(found)} traces of corpus.sources.{place}"
    why = "no recipe was given" if recipe is None else "the recipe's data is not on this machine"
    return [(render(EXAMPLE[0]), EXAMPLE[1])], f"a made-up trace ({why})"


def _traces(source: Callable[[], Iterator[Any]]) -> Iterator[tuple[Problem, str]]:
    for group in source():
        if not isinstance(group, Dropped):
            yield from ((group.problem, trace.completion) for trace in group.traces if trace.completion.strip())


def _wanted(recipe: Recipe | None) -> dict[str, int]:
    """The lengths that a recipe allows, by the setting that allows them."""
    if recipe is None:
        return {}
    select, found = recipe.select, {"evaluate.max_new_tokens": recipe.evaluate.max_new_tokens}
    if select.max_completion_tokens:
        found["select.max_prompt_tokens + max_completion_tokens"] = (
            select.max_prompt_tokens or 0
        ) + select.max_completion_tokens
    return found | {f"train.{name}.max_tokens": s.max_tokens for name, s in recipe.train.items() if s.max_tokens}


# --- what is shown ------------------------------------------------------------------------------------------------


def picture(found: Findings, *, colour: bool, clean: Callable[[str], str] = str) -> str:
    """The rows with what carries loss marked, the facts of the student, and a line a check. clean: makes text harmless."""
    subject, lines = found.subject, []
    dim, bold, off = ("\x1b[2m", "\x1b[1;32m", "\x1b[0m") if colour else ("", "[", "]")
    for number, row in enumerate(subject.rows[: found.num_rows], 1):
        learned = sum(row.learned)
        prompt, completion = (_text(subject, part) for part in (row.ids[: len(row.ids) - learned], row.ids[-learned:]))
        lines.append(f"row {number}: {len(row.ids)} tokens, {learned} learned")
        shown = dim + clean(_cut(prompt, 0, SHOWN_CHARACTERS)) + (off if colour else "")
        lines += [shown + bold + clean(_cut(completion, SHOWN_CHARACTERS, SHOWN_CHARACTERS)) + off, ""]
    marks = "green carries loss" if colour else "[...] carries loss"
    lines.append(f"rows: {found.origin}; {marks}")
    lines += [f"{key}: {clean(str(value))}" for key, value in facts(found).items()]
    lines += [f"{'FAILS' if sentence else 'ok':<6}{name}" for name, sentence in found.verdicts.items()]
    return "\n".join(lines)


def facts(found: Findings) -> dict[str, Any]:
    """What the student's tokenizer and config say of themselves."""
    subject, tokenizer = found.subject, found.subject.tokenizer
    pad = str(tokenizer.pad_token)
    return {
        "end token": f"{tokenizer.eos_token} ({subject.end})",
        "pad token": pad
        + (", the end token; no row is padded, so its loss stays" if pad == tokenizer.eos_token else ""),
        "opening token": str(tokenizer.bos_token) if models.encode_prompts(tokenizer, [""])[0] else "none is added",
        "prompt": "in the tokenizer's chat template" if subject.chat else "without a chat template",
        "context": f"{models.context_length(subject.config):,} tokens",
    }


def as_json(found: Findings) -> dict[str, Any]:
    """Everything for programs; every checked row whole, with its ids and mask."""
    subject = found.subject
    return {
        "healthy": not found.sentences,
        "checks": [{"name": name, "ok": not text, "sentence": text or ""} for name, text in found.verdicts.items()],
        "facts": facts(found),
        "origin": found.origin,
        "rows": [
            {"text": _text(subject, r.ids), "ids": r.ids, "learned": r.learned, "asked": r.asked}
            for r in subject.rows[: found.num_rows]
        ],
    }


def _text(subject: Subject, ids: list[int]) -> str:
    return str(subject.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _cut(text: str, head: int, tail: int) -> str:
    """The text's two ends, with what was left out counted."""
    if len(text) <= head + tail + 40:
        return text
    return f"{text[:head]} ... {len(text) - head - tail:,} characters ... {text[len(text) - tail :]}"
