"""Hashes of values: equal for equal content, whatever the order of keys.

fingerprint({"a": 1}, "text")  ->  "5f0c..."
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from redistill.io.atomic import sha256_file


def fingerprint(*parts: Any) -> str:
    """A hash of JSON-able values, keys sorted: equal for equal content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def code_fingerprint(*modules: str) -> str:
    """A hash of the source of the named files and folders of this package (`verify`, `records.py`): the code version."""
    root = Path(__file__).parents[1]
    files = sorted(p for m in modules for p in ([root / m] if m.endswith(".py") else sorted((root / m).rglob("*.py"))))
    return fingerprint([(str(p.relative_to(root)), sha256_file(p)) for p in files])
