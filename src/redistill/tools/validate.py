"""`redistill validate`: every mistake of a recipe at once, found without reading the traces through or fetching anything.

    mistakes("my.yaml")  ->  ["train.redi.learning_rat: unknown key; did you mean 'learning_rate'?",
                              "train.redi.objective: there is no 'reddi'; did you mean 'redi'?"]

Keys and types come first (config/partial_parse.py), for which no library is loaded. What is left is looked at as `redistill run`
would. What lies on the hub or in object storage is left alone: `run` finds it or says so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.config.binding import bind
from redistill.config.partial_parse import partial_parse
from redistill.config.yaml_text import read_text, read_tree
from redistill.corpus.sources.files import note_on
from redistill.corpus.sources.rows import sample_rows, taking_notes
from redistill.errors import ErrorCollector, OperatorError
from redistill.pipeline.resolve import PLUGINS, find_parts, is_elsewhere
from redistill.records import Dropped


def mistakes(path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """All that is wrong with a recipe, a sentence each; empty where it is fine."""
    try:
        tree = read_tree(path, overrides)
    except OperatorError as error:
        return [str(error)]
    return _mistakes_of(tree)


def mistakes_in(text: str, where: str) -> list[str]:
    """The same of a recipe that is not in a file yet."""
    return _mistakes_of(read_text(text, where))


NOTED_ROWS = 200  # of every source's first file


def notes(path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """What is not a mistake and yet worth knowing of a recipe without mistakes: splits and files that its sources leave out,
    columns that they do not read, and rows that they drop, by a look at the first rows on this machine."""
    recipe = partial_parse(read_tree(path, overrides))[1]
    said: list[str] = []
    for place, plugin in enumerate(recipe.corpus.sources if recipe is not None else []):
        source = bind(PLUGINS["corpus.sources"], plugin, f"corpus.sources.{place}")
        options = source.keywords
        if "path" not in options or is_elsewhere(options["path"]):
            continue
        where = f"corpus.sources.{place}"
        if note := note_on(options):
            said.append(f"{where}: {note}")
        with taking_notes() as noted, sample_rows(options["path"], options.get("split"), NOTED_ROWS):
            items = list(source())
        dropped = Counter(item.reason for item in items if isinstance(item, Dropped))
        example = {
            item.reason: f"{item.id}: {item.detail}" if item.detail else item.id
            for item in reversed(items)
            if isinstance(item, Dropped)
        }
        said += [
            f"{where}: {count} of {len(items)} sampled rows are dropped as {reason}, such as {example[reason]}"
            for reason, count in dropped.most_common()
        ]
        if noted.unread:
            said.append(f"{where}: the columns {', '.join(sorted(noted.unread))} are not read by {plugin.name}")
    return said


def _mistakes_of(tree: Mapping[str, Any]) -> list[str]:
    mistakes, recipe, doubtful = partial_parse(tree)
    if recipe is not None:
        collector = ErrorCollector()
        find_parts(recipe, collector, fetch=False, doubtful=doubtful)
        mistakes += [sentence for sentence in collector.sentences if sentence not in mistakes]
    return mistakes
