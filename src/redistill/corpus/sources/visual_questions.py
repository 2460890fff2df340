"""Questions about images: rows with images in them or beside them, in the layouts of the well-known sets.

    {"image": {"bytes": ..., "path": null}, "question": "How many chairs?", "answer": "3"}               Parquet of datasets
    {"id": "1", "image": "coco/1.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is shown?"}, {"from": "gpt", ...}]}    LLaVA
    {"image_bytes": [...], "question": "Which is closer?", "answers": ["lamp", "sofa"], "correct_answer": "sofa"}                       SAT
    {"image": ..., "question": "How many?", "choices": ["2", "3"], "answer": "(B)", "task": "Count"}     CV-Bench

Each row becomes a problem with its images, and with no trace but for the turn of a conversation where that is asked for. A student
that reads images has them kept in the run (io/images.py). `<image>` in a question says that an image is shown, not where: the prompt
template places it.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from redistill.corpus.sources import fields, turns
from redistill.corpus.sources.rows import Row, RowError, read_groups
from redistill.records import Dropped, Group, Image, make_problem, make_trace

IMAGE_COLUMNS = ("images", "image", "image_bytes", "img", "image_path")
QUESTION_COLUMNS = ("question", "problem", "query", "prompt", "conversations", "messages")
OPTION_COLUMNS = ("choices", "options", "answers", "answer_choices")
ANSWER_COLUMNS = ("answer", "correct_answer", "label", "solution", "ground_truth")
KIND_COLUMNS = ("task", "question_type", "type", "category")
LETTERS = "ABCDEFGHIJ"
_SHOWN = re.compile(r"<image>", re.IGNORECASE)
_LETTER = re.compile(r"\(?([A-J])\)?[.:]?")


def visual_questions(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    image_column: str | None = None,
    question_column: str | None = None,
    answer_column: str | None = None,
    options_column: str | None = None,
    options: Literal["letters", "words"] = "letters",
    shuffle_options: bool = True,
    conversation: Literal["answer", "trace"] = "answer",
    max_rows: int | None = None,
    seed: int = 0,
) -> Iterator[Group | Dropped]:
    """Groups of one problem with its images.

    Columns that are not named are found by their usual names. options: how the choices are listed, as lettered lines (the
    gold answer is a letter) or as in VisualThinker, "Choose between the following options: a, b or c" (the gold answer is the
    option itself); shuffle_options puts them into an order that `seed` and the row decide, because some sets write the right one first.
    conversation: what the assistant's turn is, the gold answer or a trace; an <answer> tag in it holds the gold answer in both cases.
    max_rows: no more rows of a file are read (VisualThinker trains on the first 15,000 of SAT).

    Reasons beside those of every source: `no_image`, `bad_image_path`, `missing_image`, those of images that cannot be kept,
    `image_inside_text` (an image in the middle of a question), `several_turns`, `no_such_option` (the answer is none of the options).
    """

    def parse(row_id: str, row: Row) -> Group:
        images = _images(row, image_column)
        cell = row.first([question_column] if question_column else QUESTION_COLUMNS)
        if cell is None:
            raise fields.missing(question_column or QUESTION_COLUMNS[0])
        column, _ = cell
        statement, said = _asked(row, column)
        gold = _gold(row, answer_column)
        if gold is None and said is not None:
            tagged = said.partition("<answer>")[2].partition("</answer>")
            gold = tagged[0].strip() if tagged[1] else said.strip() if conversation == "answer" else None
        choices = _options(row, options_column)
        kind = None
        if choices:
            statement, gold = _with_options(statement, choices, gold, options, shuffle_options, f"{seed} {statement}")
            kind = "choice" if options == "letters" else None
        task = row.first(KIND_COLUMNS)
        problem = make_problem(
            statement,
            answer=gold,
            answer_type=kind,
            source=fields.text(row.get("source") or row.get("data_source"), "source") or "visual-questions",
            source_row=row_id,
            images=images,
            metadata={"task": fields.text(task[1], task[0])} if task and isinstance(task[1], str) else {},
        )
        traces = () if said is None or conversation == "answer" else (make_trace(problem.id, said, author="teacher"),)
        return Group(problem, traces)

    return itertools.islice(read_groups(path, parse, revision=revision, split=split), max_rows)


def _images(row: Row, column: str | None) -> tuple[Image, ...]:
    """The images of a row, one or several. RowError `no_image` where it has none."""
    cell = row.first([column] if column else IMAGE_COLUMNS)
    if cell is None:
        raise RowError("no_image", f"none of the columns {', '.join([column] if column else IMAGE_COLUMNS)} holds one")
    value = cell[1]
    several = value if isinstance(value, list) else [value]
    if not several:
        raise RowError("no_image", f"column `{cell[0]}` is an empty list")
    return tuple(fields.image(one, row.folder) for one in several)


def _asked(row: Row, column: str) -> tuple[str, str | None]:
    """(question without the words for its images, what the assistant says to it, None where the row is not a conversation)."""
    value = row[column]
    said = None
    if turns.is_turns(value):
        talk = turns.conversation(value, row, column)
        text, said = fields.asked(talk.question, column), talk.completion
    else:
        text = turns.prompt_of(row, column)
    kept = _SHOWN.sub("\0", text).strip("\0 \n\t")
    if "\0" in kept:
        raise RowError(
            "image_inside_text",
            "an image is inside the question; the template puts all images before or after it",
        )
    if not kept:
        raise RowError("empty_statement", f"column `{column}` holds only images")
    return kept, None if said is None else str(said)


def _gold(row: Row, column: str | None) -> str | None:
    cell = row.first([column] if column else ANSWER_COLUMNS)
    return None if cell is None else fields.answer(cell[1], cell[0])


def _options(row: Row, column: str | None) -> list[str]:
    """The answers to choose from; of a table by letters ({"A": ..., "B": ...}) its values."""
    cell = row.first([column] if column else OPTION_COLUMNS)
    if cell is None:
        return []
    value = cell[1]
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value)]
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise RowError("wrong_type", f"column `{cell[0]}` must hold a list of 2 to {len(LETTERS)} options")
    named = [fields.answer(one, cell[0]) or "" for one in value]
    if len(set(named)) < len(named) or not all(named):
        raise RowError("wrong_type", f"column `{cell[0]}` has a repeated or an empty option")
    return named


def _with_options(
    statement: str, choices: Sequence[str], gold: str | None, how: str, shuffles: bool, key: str
) -> tuple[str, str | None]:
    """(the question with its options, the gold answer among them). RowError `no_such_option`."""
    right = None
    if gold is not None:
        letter = _LETTER.fullmatch(gold.strip())
        exact = [place for place, option in enumerate(choices) if option.strip() == gold.strip()]
        right = exact[0] if exact else LETTERS.index(letter[1]) if letter else len(choices)
        if right >= len(choices):
            raise RowError("no_such_option", f"the answer {gold[:60]!r} is none of {len(choices)} options")
    order = list(range(len(choices)))
    if shuffles:
        random.Random(hashlib.sha256(key.encode("utf-8", "replace")).digest()).shuffle(order)
    shown = [choices[place] for place in order]
    if how == "words":
        listed = f"{', '.join(shown[:-1])} or {shown[-1]}"
        text = f"Answer in natural language. {statement} Choose between the following options: {listed}"
        return text, None if right is None else choices[right]
    lines = "\n".join(f"({letter}) {option}" for letter, option in zip(LETTERS, shown, strict=False))
    return f"{statement}\n{lines}", None if right is None else LETTERS[order.index(right)]
