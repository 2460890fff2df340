"""Packages that only some recipes need: which they are, and how to get one where it is missing.

    check_installed("peft", "train.redi.lora")
        OperatorError: train.redi.lora needs peft, which is not installed: pip install 'peft>=0.19' (in the extra `lora`).

The hint names the package itself, so it works where redistill was installed from a folder and stands on no index.
"""

import importlib.util

from redistill.errors import OperatorError

# module -> (extra of pyproject.toml, what to give to pip)
EXTRAS: dict[str, tuple[str, str]] = {
    "peft": ("lora", "peft>=0.19"),
    "bitsandbytes": ("eight-bit", "bitsandbytes>=0.50"),
    "PIL": ("images", "pillow>=11"),
    "ray": ("ray", "ray>=2.50"),
    "trackio": ("tracking", "trackio>=0.40"),
    "tensorboard": ("tracking", "tensorboard>=2.18"),
    "wandb": ("wandb", "wandb>=0.22"),
    "reasoning_gym": ("reasoning-gym", "reasoning-gym>=0.1.25,<0.2"),
    "bm25s": ("retrieval", "bm25s>=0.3.16"),
    "Stemmer": ("retrieval", "PyStemmer>=3.1"),
    "faiss": ("retrieval", "faiss-cpu>=1.15"),
    "model2vec": ("retrieval", "model2vec>=0.10"),
    "fastapi": ("serve", "fastapi>=0.120"),
    "uvicorn": ("serve", "uvicorn>=0.35"),
    "s3fs": ("s3", "s3fs>=2025.5"),
    "gcsfs": ("gcs", "gcsfs>=2025.5"),
}


def is_installed(module: str) -> bool:
    """True where the module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def install_hint(module: str) -> str:
    """`pip install 'peft>=0.19' (in the extra `lora`)`; of a module that is in no extra `pip install NAME`."""
    if module not in EXTRAS:
        return f"pip install {module.replace('_', '-')}"
    extra, requirement = EXTRAS[module]
    return f"pip install '{requirement}' (in the extra `{extra}`)"


def missing(module: str, what: str) -> str:
    """The sentence on a module that `what` needs and that is not there."""
    return f"{what} needs {module}, which is not installed: {install_hint(module)}."


def check_installed(module: str, what: str) -> None:
    """OperatorError where the module cannot be found."""
    if not is_installed(module):
        raise OperatorError(missing(module, what))
