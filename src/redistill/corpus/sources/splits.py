"""Which split of a data set a file belongs to, by its name, as the hub's loader decides, and which one is read.

    split_of(Path("data/train-00000-of-00010.parquet"))   ->  "train"
    split_of(Path("saved/test/data-00000-of-00001.arrow"))  ->  "test"
    split_of(Path("math/part-1.jsonl"))                    ->  None: no split, so it is read

Training on a test split is the mistake that this file is here to prevent: without a word from the recipe only `train` is read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from redistill.errors import OperatorError

TRAIN = "train"
# The words of the hub's loader (datasets, data_files.py), and what each of them means.
_WORDS = {
    "train": TRAIN, "training": TRAIN, "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "dev": "validation", "val": "validation",
}  # fmt: skip
_NO_SPLIT = frozenset(("data", "part", "shard", "chunk", "dataset", "default", "file", "rows", "output"))
ALL = "all"  # what a recipe writes to read every split
_WITH_SPLITS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip", ".json")  # what may hold splits inside
_SHARDED = re.compile(r"(?P<split>\w+(?:[.-]\w+)*)-\d{5}-of-\d{5}")  # how push_to_hub and save_to_disk name files


def split_of(file: PurePath) -> str | None:
    """The split of a file by its name, else by the innermost folder that says one; None where nothing does."""
    stem = file.name.partition(".")[0]
    sharded = _SHARDED.fullmatch(stem)
    if sharded and sharded["split"].lower() not in _NO_SPLIT:
        return _WORDS.get(sharded["split"].lower(), sharded["split"])  # train_prefs and train_sft are two
    return _word_in(stem) or _of_folders(file)


def _of_folders(file: PurePath) -> str | None:
    return next((word for part in reversed(file.parts[:-1]) if (word := _word_in(part))), None)


def _word_in(name: str) -> str | None:
    """The split that a name holds as a word of its own: `gsm8k_test`, but not `latest` or `contest`."""
    return next((_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _WORDS), None)


def names_of(file: PurePath) -> set[str]:
    """All that a recipe may call this file by in `split`: its split, its name before the shard's number, its folders."""
    stem = file.name.partition(".")[0]
    sharded = _SHARDED.fullmatch(stem)
    return {name for name in (split_of(file), stem, sharded["split"] if sharded else None, *file.parts[:-1]) if name}


def choose(
    files: Sequence[Path], inside: Mapping[Path, PurePath], name: str, split: str | None, *, asked: bool
) -> tuple[list[Path], str]:
    """(the files to read, a sentence on the others): those of `split`; without one, those of `train` and of no split.

    inside: each file's path below the folder that was named. asked: the files themselves were named, by a pattern, so that
    a lone test split is read without a question. OperatorError for a split that is not there, and where none is `train`.
    """
    of = {file: split_of(inside[file]) for file in files}
    present = sorted({found for found in of.values() if found})
    if split == ALL:
        return list(files), ""
    if split is not None:
        chosen = [file for file in files if split in names_of(inside[file])]
        inner = [file for file in files if file.name.lower().endswith(_WITH_SPLITS)]
        if not chosen and inner:
            return inner, ""
        if not chosen:
            there = f"its splits are {', '.join(present)}" if present else "no file is named after a split"
            raise OperatorError(f"{name} has no split {split!r}; {there}.")
        return chosen, ""
    unnamed = [file for file in files if of[file] is None]
    name_read = None if unnamed and TRAIN not in present else wanted(present, name, asked=asked)
    if name_read is None and (asked or not unnamed):
        return list(files), ""
    chosen = [file for file in files if of[file] in (None, name_read)]
    return chosen, said(name, name_read, [found for found in present if found != name_read])


def wanted(present: Iterable[str], name: str, *, asked: bool = False) -> str | None:
    """Which of the splits is read where no recipe says: `train`, or the only one. OperatorError where that is not clear."""
    present = sorted(present)
    if TRAIN in present or not present:
        return TRAIN if present else None
    training = [found for found in present if found.lower().startswith(TRAIN)]
    if len(training) == 1:
        return training[0]
    if len(present) == 1:
        return present[0]
    if asked:
        return None
    raise OperatorError(
        f"{name} has the splits {', '.join(present)} and none called train; write split: NAME for one of them, or split: all."
    )


def said(name: str, chosen: str | None, left: Sequence[str]) -> str:
    """The sentence on what is left out; chosen None: the files that no split's name is in."""
    if left:
        several = "splits" if len(left) > 1 else "split"
        read = f"the split {chosen} is read" if chosen else "files of no split are read"
        return f"{name}: {read}, not the {several} {', '.join(left)}; write split: NAME for another."
    if chosen and chosen != TRAIN:
        return f"{name}: the split {chosen} is read; there is no other."
    return ""
