"""What a name may be that becomes a folder, a file of a cache or a word of a command; and where a run's folder may lead.

FOLDER_NAME.fullmatch("redi-seed1")        a name that a recipe gives: one folder of the run, never a way out of it
HUB_ID.fullmatch("Qwen/Qwen2.5-0.5B")      nothing that a launched command could take for an option
check_links(Path("runs/demo"))             OperatorError where a link leads out of it
"""

import os
import re
from pathlib import Path

from redistill.errors import OperatorError

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(
    r"[A-Za-z0-9_](?:[.]?[A-Za-z0-9_/-]){0,199}"
)  # a branch, tag or commit: a file in the hub's cache


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
                    f"{path} is a link to {path.resolve()}, outside the run's folder; remove it, or put the whole folder there."
                )
