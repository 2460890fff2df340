"""The import path without the current folder: a `random.py` that lies where a command is given is not imported.

    import_path()      ["/venv/lib/python3.11", ..., "/home/ann/plugins"]     for processes that this one starts
    leave_folder()     the same for this process: what `python -m redistill` does first

Python puts the current folder first for `python -m`, `python -c` and an interactive session, before its own library. This
file imports nothing that is not loaded when Python starts, so that nothing is imported before the path is clean.
"""

import os
import sys


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # somebody deleted it: nothing can be imported from there
        return None


STARTED_IN = _folder()


def import_path() -> list[str]:
    """`sys.path` with absolute paths and without the current folder.

    The folder stays where the user wrote it into PYTHONPATH, and where it stands behind Python's own library (an editable
    install, `--code`). It moves to the end where this process has imported a module from it, such as the user's own
    script: processes must find that module, and at the end nothing of the folder takes the place of another module.
    """
    here = {os.path.realpath(folder) for folder in (_folder(), STARTED_IN) if folder is not None}
    written = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    asked_for = {os.path.realpath(folder) for folder in written.split(os.pathsep) if folder}
    library = os.path.dirname(os.__file__)
    kept: list[str] = []
    moved: list[str] = []
    for entry in sys.path:
        if not entry and _folder() is None:
            continue
        folder, real = os.path.abspath(entry), os.path.realpath(entry)
        if real not in here or real in asked_for or library in kept:
            kept.append(folder)
        elif _imported_from({folder, real}):
            moved.append(folder)
    return list(dict.fromkeys([*kept, *moved]))


def leave_folder() -> None:
    """Take the current folder out of this process's import path, as in `import_path`."""
    sys.path[:] = import_path()


def _imported_from(folders: set[str]) -> bool:
    """Whether a module that this process has imported lies in one of the folders."""
    for name, module in list(sys.modules.items()):
        if "." in name or not isinstance(module, type(sys)):
            continue
        file, path = vars(module).get("__file__"), vars(module).get("__path__")
        places = list(path) if path is not None else [file] if isinstance(file, str) else []
        if any(os.path.dirname(os.path.abspath(place)) in folders for place in places):
            return True
    return False
