"""What two or more settings do not share, by dotted paths: only what differs, and the values that differ.

differing_paths([{"corpus": {"sources": [{"name": "two-habits", "problems": 4300}]}},
                 {"corpus": {"sources": [{"name": "two-habits", "problems": 1200}]}}])
    ->  {"corpus.sources.0.problems": [4300, 1200]}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MISSING = "not set"


def flat(tree: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every leaf; places of lists are numbers, as in --set. An empty table or list is a leaf."""
    if isinstance(tree, Mapping) and tree:
        inner: Iterator[tuple[Any, Any]] = iter(tree.items())
    elif isinstance(tree, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in tree):
        inner = iter(enumerate(tree))
    else:
        yield before, tree
        return
    for key, value in inner:
        yield from flat(value, f"{before}.{key}" if before else str(key))


def differing_paths(trees: Sequence[Any]) -> dict[str, list[Any]]:
    """Path -> the value of each tree, MISSING where it has none. Paths that all set come first, each part in the order met."""
    tables = [dict(flat(tree)) for tree in trees]
    paths = dict.fromkeys(path for table in tables for path in table)
    by_path = {path: [table.get(path, MISSING) for table in tables] for path in paths}
    differ = {
        path: values for path, values in by_path.items() if any(_set(value) != _set(values[0]) for value in values)
    }
    return dict(sorted(differ.items(), key=lambda item: MISSING in item[1]))  # stable


def _set(value: Any) -> Any:
    """A setting that is null and one that is not there are the same."""
    return None if value == MISSING else value


def differing_words(values: Sequence[Any], length: int) -> list[str]:
    """The values as text of about `length` characters each that still differ where the values do: what is cut is what they share."""
    return distinct([" ".join(str(value).split()) for value in values], length)


def distinct(names: Sequence[str], length: int) -> list[str]:
    """Names cut to about `length` characters, so that two that differ never look the same: of those that would, the shared opening
    and ending give way to an ellipsis; where even that is too long they are numbered."""
    cut = [_middle(name, length) for name in names]
    for shown in {text for text in cut if len({n for n, c in zip(names, cut) if c == text}) > 1}:
        places = [i for i, text in enumerate(cut) if text == shown]
        group = [names[i] for i in places]
        start, end = _shared(group), _shared([name[::-1] for name in group])
        end = min(end, min(map(len, group)) - start)
        # a few shared characters stay on either side, so that a number or word is not torn
        start, end = max(0, start - 8), max(0, end - 4)
        for i in places:
            name = names[i]
            body = name[start : len(name) - end]
            text = f"{'… ' if start else ''}{body}{' …' if end else ''}"
            cut[i] = text if len(text) <= length + 4 else f"{text[: length - 2]} …"
    if len(set(cut)) < len(set(names)):
        number = {name: place for place, name in enumerate(dict.fromkeys(names), 1)}
        cut = [
            f"{number[n]}: {c}" if len({m for m, d in zip(names, cut) if d == c}) > 1 else c for n, c in zip(names, cut)
        ]
    return cut


def _middle(text: str, length: int) -> str:
    """One line of at most about `length` characters, its middle replaced by an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length * 2 // 3]} … {line[-length // 4 :]}"


def _shared(names: Sequence[str]) -> int:
    """How many characters all of them share at the start."""
    first, last = min(names), max(names)
    return next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
