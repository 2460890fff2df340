"""Whether a student's folder is what `save_model` wrote: a damaged one is refused by whoever would read it.

check_unchanged(Path("runs/x/train/redi/model"))      OperatorError names the file whose checksum differs
"""

import functools
from pathlib import Path

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sha256_file

CHECKSUMS = "checksums.json"  # {file name: SHA-256} of a folder that `save_model` wrote


def check_folder(folder: Path) -> None:
    """OperatorError when a checkpoint is missing or a file of it is not what was saved."""
    sums = folder / CHECKSUMS
    if not sums.exists():
        raise OperatorError(f"there is no finished checkpoint in {folder}; run the stage that makes it.")
    check_unchanged(folder)


def check_unchanged(folder: Path, *, weights: bool = True) -> None:
    """OperatorError when a file of a folder that `save_model` wrote is not what was saved; folders of others pass.

    weights: also the weights, which takes a second per gigabyte or so; files that have not changed since the last call in this
    process are not read again.
    """
    path = folder / CHECKSUMS
    sums = read_json(path) if path.is_file() else {}
    for name, expected in sums.items() if isinstance(sums, dict) else ():
        if weights or not name.endswith(".safetensors"):
            file = folder / str(name)
            checksum = sha256_of(file) if file.is_file() else None
            if checksum != expected:
                raise OperatorError(
                    f"{file} is not the file that was saved (its checksum differs): copy the folder again, or delete {folder} and run "
                    f"the stage that made it; if the change is yours, delete {CHECKSUMS} in it."
                )


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file; one that has not changed since the last call in this process is not read again."""
    return _sha256(file, *_stamp(file))


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


@functools.lru_cache(maxsize=4096)
def _sha256(file: Path, size: int, changed: int, inode: int) -> str:
    return sha256_file(file)
