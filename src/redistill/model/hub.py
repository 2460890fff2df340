"""Whether a model on the Hugging Face hub can be fetched, asked once and for ten seconds.

    hub_options(name, None)                   ->  {"local_files_only": False}

Without a network, transformers asks for each file of a model five times, with growing pauses: most of a minute, and no word
of what is wrong. A model that was fetched before is then taken from the cache; any other is one sentence.
"""

import functools
from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from redistill.errors import OperatorError

SECONDS = 10.0  # that the hub is waited for


def hub_options(model: str, revision: str | None, *, where: str = "student.model") -> dict[str, bool]:
    """Options of `from_pretrained` for a folder (none) or a hub id. OperatorError, naming the recipe's place `where`, for a
    model that is neither in the cache nor can be fetched."""
    if Path(model).is_dir():
        return {}
    if _answers(model, revision):
        return {"local_files_only": False}
    if isinstance(try_to_load_from_cache(model, "config.json", revision=revision or "main"), str):
        return {"local_files_only": True}
    offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
    raise OperatorError(
        f"{where}: {model} is not a folder here, {constants.ENDPOINT} cannot be reached{offline} and the model is not in its cache; "
        "give a folder, or connect."
    )


@functools.lru_cache(maxsize=64)
def _answers(model: str, revision: str | None) -> bool:
    """Whether the hub replied, be it that there is no such model: then transformers says what is wrong."""
    try:
        HfApi().model_info(model, revision=revision, timeout=SECONDS)
    except HfHubHTTPError:
        return True
    except (HTTPError, OSError):  # no connection, no reply in time, or HF_HUB_OFFLINE
        return False
    return True
