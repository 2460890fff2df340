"""`redistill init`: ask what was not given, look at the traces, write the recipe.

init_recipe("mine.jsonl", "org/model", name=None, out=None, split=None).path   ->   mine.yaml
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import Survey, survey
from redistill.errors import OperatorError
from redistill.io.progress import say
from redistill.safety.terminal import plain
from redistill.tools.init import Judged, check_usable, choices_for, judge, name_of, write_recipe
from redistill.tools.init_choices import Choices


@dataclass(frozen=True, slots=True)
class WrittenRecipe:
    """A recipe that was written, and what it was made from."""

    path: Path
    traces: str
    survey: Survey
    judged: Judged
    choices: Choices


def init_recipe(
    traces: str | Path | None, model: str | None, *, name: str | None, out: str | Path | None, split: str | None
) -> WrittenRecipe:
    """Ask at the keyboard for what is None, look, and write. With file and model given nothing is asked: name and place follow
    from the file."""
    asked = not (traces and model)
    file = str(traces) if traces else _ask("Your traces (file, folder or glob)", None, "--traces FILE")
    say(f"init     trying every layout on the first rows of {file}")
    surveyed = survey(file, SOURCES, split)
    model = model or _ask("The student (folder, hub id, .gguf or package:NAME)", None, "--model M")
    name = name or (_ask("Name of the recipe", name_of(file), "") if asked else name_of(file))
    path = Path(out or (_ask("Write it to", f"{name}.yaml", "") if asked else f"{name}.yaml"))
    say("init     judging a sample of the traces")
    judged = judge(surveyed.best)
    check_usable(surveyed, file)
    say("init     choosing settings that fit the data and the student")
    choices = choices_for(surveyed, judged, file, model)
    path = write_recipe(surveyed, judged, file, model, name, path, choices)
    return WrittenRecipe(path, file, surveyed, judged, choices)


def _ask(question: str, default: str | None, flag: str) -> str:
    """A user's answer. OperatorError where nobody is there to give one."""
    if not sys.stdin.isatty():
        if default is not None:
            return default
        raise OperatorError(f"init: the input is not interactive; give {flag}.")
    while True:
        try:
            answer = input(plain(f"{question}{f' [{default}]' if default else ''}: ")).strip() or default
        except EOFError as error:
            raise OperatorError(f"init: no answer; give {flag or 'it as an argument'}.") from error
        if answer:
            return answer
