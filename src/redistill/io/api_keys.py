"""A server's key comes from the environment and goes to that server; it is in no recipe, file, page, line or error.

    base_url: BaseUrl     an address; one with a password or a query in it is refused, and not said back
    key_env: KeyEnv       the name of the variable that holds the key, not the key
    extra: Extra          more fields of a request; one that is called like a key is refused

OperatorError, and no ValidationError, which would show what was written.
"""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

from redistill.errors import OperatorError

KEY_ENV = "REDISTILL_API_KEY"  # a name of our own: OPENAI_API_KEY must not travel to a server of somebody else's
SHORTEST_KEY = 8  # characters; a shorter one would be struck out of ordinary words
_KEY_NAMES = re.compile(
    r"(^|[_-])(key|apikey|token|secret|password|passwd|authorization|auth|bearer|headers?|cookie)$", re.I
)
_STRUCK = "***"


def _address(value: str) -> str:
    """The address, if it holds nothing but one."""
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise OperatorError("base_url: not a valid URL.") from error
    if "@" in value or parts.query or parts.fragment:
        raise OperatorError(
            "base_url: remove user, password and everything after a ? from the URL; the key is read from the "
            f"environment variable that key_env names ({KEY_ENV})."
        )
    return value


def _variable(value: str) -> str:
    """The name of an environment variable."""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value):
        raise OperatorError(
            f"key_env: write the name of the environment variable that holds the key, such as {KEY_ENV}; never write the key "
            "itself into a recipe."
        )
    return value


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request's body, none of which is called like a key."""
    for name in value:
        if _KEY_NAMES.search(str(name)):
            raise OperatorError(
                f"extra: {name} looks like a key, which must not be in a recipe; set it in the environment variable that key_env "
                f"names ({KEY_ENV})."
            )
    return value


BaseUrl = Annotated[str, AfterValidator(_address)]
KeyEnv = Annotated[str, AfterValidator(_variable)]
Extra = Annotated[dict[str, Any], AfterValidator(_fields)]


def without(secret: str, data: bytes) -> bytes:
    """What a server sent, the key struck out: some servers say it back, and a model served by them may as well."""
    return data.replace(secret.encode(), _STRUCK.encode()) if len(secret) >= SHORTEST_KEY else data


def without_in_text(secret: str, text: str) -> str:
    """The same in a text that was decoded: a key may have been escaped, `\\u0073k-...`."""
    return text.replace(secret, _STRUCK) if len(secret) >= SHORTEST_KEY else text
