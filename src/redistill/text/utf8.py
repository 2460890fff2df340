r"""Text that UTF-8 can hold: the one rule for lone surrogates, which broken JSON ("\ud800") brings. They become "?" where text comes in.

    utf8("half \ud800")              ->  "half ?"
    utf8_values({"a": ["\ud800"]})   ->  {"a": ["?"]}

Files, tokenizers and hashes hold UTF-8, and an id must be the id of what is stored.
"""

from typing import Any


def utf8(text: str) -> str:
    """The text with every lone surrogate as "?"."""
    return str(text) if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def utf8_values(value: Any) -> Any:
    """Plain data (tables, lists, texts, numbers) with the keys and texts in it as `utf8` has them."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {utf8_values(key): utf8_values(inner) for key, inner in value.items()}
    return [utf8_values(inner) for inner in value] if isinstance(value, list) else value
