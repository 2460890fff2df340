"""What a name may be that becomes a folder, a file of a cache or a word of a command; and where a run's folder may lead.

FOLDER_NAME.fullmatch("redi-seed1")        a name that a recipe gives: one folder of the run, never a way out of it
HUB_ID.fullmatch("Qwen/Qwen2.5-0.5B")      nothing that a launched command could take for an option
check_links(Path("runs/demo"))             OperatorError where a link leads out of it
shell_word("my file.yaml")                 'my file.yaml', for a command that is printed
"""

import contextlib
import os
import re
import shlex
import stat
from pathlib import Path

from redistill.errors import OperatorError

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(
    r"[A-Za-z0-9_](?:[.]?[A-Za-z0-9_/-]){0,199}"
)  # a branch, tag or commit: a file in the hub's cache


def home_path(path: str | Path) -> Path:
    """A path with `~` and `~ann` as a shell takes them. A file called `~draft.jsonl` keeps its name: there is no such user."""
    return Path(os.path.expanduser(path))


def check_text(path: str | Path) -> None:
    """OperatorError for a name whose bytes are no UTF-8: neither a recipe nor Parquet can hold it."""
    if not str(path).isascii() and any("\ud800" <= c <= "\udfff" for c in str(path)):
        raise OperatorError(f"{str(path)!r} is not UTF-8 text; rename the file, and write its new name.")


def check_kind(path: Path) -> None:
    """OperatorError for what is there and neither file nor folder: a pipe, whose reader would wait for a writer, a socket, a device."""
    with contextlib.suppress(OSError, ValueError):
        mode = path.stat().st_mode
        kind = next((word for holds, word in _KINDS if holds(mode)), None)
        if kind is not None:
            raise OperatorError(f"{path} is a {kind} and no ordinary file; name a file.")


def check_content(path: Path) -> None:
    """`check_kind`, and OperatorError for the pointer file that Git leaves where large files were not fetched."""
    check_kind(path)
    with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        with open(path, "rb") as file:
            start = file.read(len(_POINTER))
        if start == _POINTER:
            raise OperatorError(
                f"{path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull` in its repository, or download it."
            )


_POINTER = b"version https://git-lfs.github.com/spec/"
_KINDS = (
    (stat.S_ISFIFO, "named pipe (FIFO)"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def shell_word(path: str | Path) -> str:
    """A path as one word of a command that is printed for the user: quoted where a shell would read more in it, and never an option."""
    word = str(path)
    word = f"./{word}" if word.startswith("-") else word
    if word.isprintable():
        return shlex.quote(word)
    codes = "".join(c if c.isprintable() and c not in "\\'" else _bytes_of(c) for c in word)
    return f"$'{codes}'"


def _bytes_of(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def check_links(folder: Path) -> None:
    """OperatorError where a symbolic link inside a run's folder leads out of it. A folder may come from somebody else:
    nothing outside it is shown as its own, and nothing outside it is written over or removed. The folder itself, and
    those above it, may be links."""
    root = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise OperatorError(
                    f"{path} is a link to {path.resolve()}, outside the run folder; remove it, or move the whole run folder there."
                )
