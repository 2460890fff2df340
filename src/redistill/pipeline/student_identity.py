"""What a model is that a recipe names: by what a server may know it, and what it is for cache keys.

student_address(student)      "/models/qwen", or "Qwen/Qwen2.5-0.5B"
student_identity(student)     its settings, and the checksums of its files where they are on this machine
"""

from pathlib import Path
from typing import Any

from redistill.config.tables import StudentSettings
from redistill.io.atomic import sha256_file
from redistill.model import loading
from redistill.pipeline.keys import table
from redistill.safety.paths import home_path


def student_address(student: StudentSettings) -> str:
    """By what a server on this machine may know a student: its folder or hub id; empty where it has neither."""
    model = student.model or ""
    folder = home_path(model)
    nameless = model.startswith("package:") or model.endswith(".gguf")
    return str(folder.resolve()) if folder.is_dir() else "" if nameless else model


def student_identity(student: StudentSettings) -> dict[str, Any]:
    """What the student is, for cache keys: its settings, and the checksums of its files where they are on this machine."""
    if student.from_config is not None:
        return {"student": table(student)}
    where, gguf = loading.locate(student)
    folder = Path(where)
    if not folder.is_dir():
        return {"student": table(student)}
    names = (
        [gguf]
        if gguf
        else sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".model", ".jinja"))
    )
    return {
        "student": table(student, "model"),
        "student_files": {name: sha256_file(folder / name) for name in names},
    }
