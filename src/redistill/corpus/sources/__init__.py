"""Sources: one file per layout; each reads rows of a file and yields a Group or a Dropped for every row, streamed.

    SOURCES["traces"](path="mine.jsonl.gz")  ->  Group | Dropped, one for every row

A new source is one function that yields Groups and Dropped, and one line in SOURCES; its keyword-only arguments are its
options in a recipe.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from redistill.corpus.sources.am import am_deepseek_r1
from redistill.corpus.sources.chat import messages, preference
from redistill.corpus.sources.completions import completions
from redistill.corpus.sources.drawn_shapes import drawn_shapes
from redistill.corpus.sources.labelled_steps import labelled_steps
from redistill.corpus.sources.openr1 import openr1_math_raw
from redistill.corpus.sources.openr1_220k import openr1_math_220k
from redistill.corpus.sources.openthoughts import openthoughts
from redistill.corpus.sources.problems import problems
from redistill.corpus.sources.purchase_history import purchase_history
from redistill.corpus.sources.queries import queries
from redistill.corpus.sources.step_judgements import step_judgements
from redistill.corpus.sources.toy_catalogue import toy_catalogue
from redistill.corpus.sources.traces import traces
from redistill.corpus.sources.visual_questions import visual_questions
from redistill.corpus.two_habits.judgements import two_habits_judgements
from redistill.corpus.two_habits.teacher import two_habits
from redistill.records import Dropped, Group
from redistill.retrieval.collection import files_of
from redistill.retrieval.histories import history_files

SOURCES: dict[str, Callable[..., Iterator[Group | Dropped]]] = {
    "traces": traces,
    "openr1-math-raw": openr1_math_raw,
    "openr1-math-220k": openr1_math_220k,
    "am-deepseek-r1": am_deepseek_r1,
    "openthoughts": openthoughts,
    "messages": messages,
    "preference": preference,
    "completions": completions,
    "problems": problems,
    "step-judgements": step_judgements,
    "labelled-steps": labelled_steps,
    "two-habits": two_habits,
    "two-habits-judgements": two_habits_judgements,
    "queries": queries,
    "purchase-history": purchase_history,
    "toy-catalogue": toy_catalogue,
    "visual-questions": visual_questions,
    "drawn-shapes": drawn_shapes,
}

# Sources that ask about images.
VISUAL = ("visual-questions", "drawn-shapes")

# Sources whose option `folder` names files that belong together, and which these are.
FOLDERS: dict[Callable[..., Iterator[Group | Dropped]], Callable[[str], list[Path]]] = {
    queries: files_of,
    purchase_history: history_files,
}
