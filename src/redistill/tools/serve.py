"""The command that serves a student over HTTP, and whether it can run here.

command("vllm", model_name("runs/x/train/redi/model"), env=None, host="127.0.0.1", port=8000)  ->  ["uvx", "vllm", ...]
"""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.model.checksums import check_unchanged
from redistill.safety.child_processes import python, safe_environment
from redistill.safety.paths import HUB_ID, home_path
from redistill.safety.telemetry_off import switched_off

ENGINES = ("vllm", "transformers")


KEY_ENV = (
    "REDISTILL_API_KEY"  # as in io/api_keys.py, which is not imported here: this command becomes the server at once
)


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def model_name(model: str) -> str:
    """A folder's whole path, or the hub id. OperatorError for what a server cannot load, and for a student that is not what was saved."""
    folder = home_path(model)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise OperatorError(
                f"serve: {model} has no config.json; give the folder of a student, such as RUN/train/STAGE/model."
            )
        kind = str((read_json(folder / "config.json").get("architectures") or [""])[0])
        if kind.endswith("ForTokenClassification"):
            raise OperatorError(
                f"serve: {model} holds a critic ({kind}), which gives scores and no text; name it in the scorer process or outcome, "
                "which read it without a server."
            )
        check_unchanged(folder)  # the server itself would read whatever lies there
        return str(folder.resolve())
    if not HUB_ID.fullmatch(model) or model.endswith(".gguf"):
        raise OperatorError(
            f"serve: {model} is neither a folder that holds a model nor a hub id such as Qwen/Qwen2.5-0.5B."
        )
    return model


def command(
    engine: str, model: str, *, env: Path | None, host: str, port: int, server_args: Sequence[str] = ()
) -> list[str]:
    """The server's command line. The key is not part of it: other users of a machine see command lines."""
    where = ["--host", host, "--port", str(port), *server_args]
    if engine == "vllm":
        # --generation-config vllm: without it vLLM takes top_k and penalties from the model's folder, unasked
        program = [str(env / "bin" / "vllm")] if env else ["uvx", "vllm"]
        return [*program, "serve", model, "--generation-config", "vllm", *where]
    program = [str(env / "bin" / "transformers")] if env else [*python(), "-m", "transformers.cli.transformers"]
    return [*program, "serve", model, *where]


def check_address(host: str, port: int) -> None:
    """OperatorError for what is not a port, or no host."""
    if not 0 < port < 65536:
        raise OperatorError(f"serve: --port {port} is not a port; use one from 1 to 65535.")
    if not re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:-]*", host):
        raise OperatorError(f"serve: --host {host!r} is not an address; use one such as 127.0.0.1 or a host name.")


def rewards_command(
    recipe: str | Path, *, host: str, port: int, stage: str | None, overrides: Sequence[str], workers: int | None,
    end_tokens: Sequence[str], code: Sequence[str | Path],
) -> list[str]:  # fmt: skip
    """The command line of a server of rewards: this program's own."""
    options: list[tuple[str, object]] = [("--stage", stage), ("--workers", workers)]
    options += (
        [("--set", one) for one in overrides]
        + [("--end-token", one) for one in end_tokens]
        + [("--code", one) for one in code]
    )
    given = [f"{name}={value}" for name, value in options if value is not None]
    return [
        *python(),
        "-m",
        "redistill",
        "serve",
        "--rewards",
        str(recipe),
        "--host",
        host,
        "--port",
        str(port),
        *given,
    ]


def check_runnable(engine: str, program: str, env: Path | None) -> None:
    if engine == "vllm" and env is not None and env.resolve() == Path(sys.prefix).resolve():
        raise OperatorError(
            "serve: --env is the environment of redistill itself; vLLM pins another torch and needs its own environment."
        )
    if env is not None and not Path(program).is_file():
        raise OperatorError(
            f"serve: there is no {program}; install {engine} in that environment, or give another --env."
        )
    if engine == "vllm" and env is None and shutil.which("uvx") is None:
        raise OperatorError(
            "serve: vLLM is run by uvx, which is not installed; install uv (https://docs.astral.sh/uv), give an "
            "environment with vLLM as --env, or use --engine transformers."
        )
    if engine == "transformers" and env is None:
        missing = [name for name in ("fastapi", "openai", "uvicorn") if importlib.util.find_spec(name) is None]
        if missing:
            raise OperatorError(
                f"serve: transformers serve needs {', '.join(missing)}: pip install -c constraints.txt -e '.[serve]'."
            )


def server_environment(engine: str) -> dict[str, str]:
    """Ours, with the engine's telemetry off and no import from the current folder, and for vLLM without the paths of this environment and with the key."""
    environment = safe_environment(switched_off(os.environ))
    if engine == "vllm":
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
        if environment.get(KEY_ENV):
            environment["VLLM_API_KEY"] = environment[KEY_ENV]
    return environment
