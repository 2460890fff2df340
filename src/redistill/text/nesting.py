"""JSON of unknown origin, with a bound on how deep it is nested.

    parsed('{"a": [1]}')          {"a": [1]}
    parsed("[" * 500 + "]" * 500)  ValueError: it is nested over 100 levels deep

Python reads nearly a thousand levels and then cannot pass on what it has read: pickle, the encoder of JSON and a chat template each give
up at fewer. So depth is refused where text becomes a value, as a ValueError like any other JSON that cannot be read.
"""

import json
from typing import Any

MAX_NESTING = 100  # levels; tables of tests and tool calls have fewer than ten
_DEEP = f"it is nested over {MAX_NESTING} levels deep"


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. ValueError where it is not JSON, or is nested deeper than `MAX_NESTING` levels."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if nested_too_deep(value):
        raise ValueError(_DEEP)
    return value


def nested_too_deep(value: Any) -> bool:
    """True if lists and tables are nested deeper than `MAX_NESTING` levels."""
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
