"""A GGUF file as an ordinary folder, made once: every later load reads that folder.

    copy_of(Path("SmolLM2-135M.Q4_1.gguf"), make)      ~/.cache/redistill/gguf/3f0c...

To read a GGUF means to build its tokenizer and its quantised weights in Python, which every stage of a run did anew. The copy's
name is made of the file's SHA-256 and the versions of the libraries that read it, so another file or another reading is another
copy. It holds fp32 weights, four bytes each, and nothing removes it; it may be deleted at any time.
"""

import os
import shutil
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from redistill.errors import OperatorError
from redistill.io.atomic import writing
from redistill.io.progress import say
from redistill.io.stores import CACHE, cache_folder
from redistill.model.checksums import CHECKSUMS, sha256_of
from redistill.records import content_id


def copy_of(gguf: Path, make: Callable[[Path], None]) -> Path:
    """The folder of a GGUF file; `make` writes it, whole, where there is none. OperatorError where there is no place for it."""
    place = (
        cache_folder() / "gguf" / content_id("", sha256_of(gguf), *(version(name) for name in ("transformers", "gguf")))
    )
    if (place / CHECKSUMS).is_file():
        return place
    mine = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        make(mine)
    except OperatorError as error:
        if not str(error).startswith("cannot write"):
            raise
        raise OperatorError(
            f"student.model: {gguf} is kept as a folder, and this is no place for it: {error} Set {CACHE}."
        ) from error
    try:
        os.rename(mine, place)
        size = sum(path.stat().st_size for path in place.iterdir())
        say(f"student  {gguf.name} was read, and is kept as {place} ({size / 2**20:,.0f} MiB) for later runs")
    except OSError:  # another process made the same one meanwhile
        shutil.rmtree(mine)
        if not (place / CHECKSUMS).is_file():
            raise
    return place
