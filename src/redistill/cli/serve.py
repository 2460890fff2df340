"""`redistill serve MODEL`: a server for the engine `openai`, in an environment of its own."""

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from redistill.cli.common import plain
from redistill.errors import OperatorError
from redistill.paths import HUB_ID
from redistill.quiet import switched_off

ENGINES = ("vllm", "transformers")
KEY_ENV = "REDISTILL_API_KEY"  # as in keys.py, which is not imported here: this verb becomes the server at once
LOOPBACK = ("127.0.0.1", "localhost", "::1")

TEXT = """\
Serve a student over HTTP, for `evaluate.engine: {name: openai, ...}` or any OpenAI client.

The command is printed and then becomes this process: Ctrl-C ends it. vLLM never shares the environment of redistill: it
comes by `uvx` (which fetches it once), or from a virtual environment of yours that --env names. `transformers serve` runs
in this environment (extra `serve`) or in that of --env: slow, but there wherever redistill is. The server listens on this
machine only unless --host says otherwise. Where REDISTILL_API_KEY is set, vLLM asks its callers for that key.

examples:
  redistill serve runs/quickstart/train/redi/model --engine transformers
  redistill serve Qwen/Qwen2.5-Math-1.5B --port 8001 --more --max-model-len 16384
  redistill serve runs/x/train/redi/model --env /opt/vllm --print          only print the command
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "model", metavar="MODEL", help="a folder of `save_pretrained`, such as runs/x/train/redi/model, or a hub id"
    )
    parser.add_argument("--engine", choices=ENGINES, default="vllm", help="what serves (default: vllm)")
    parser.add_argument("--env", type=Path, metavar="DIR", help="a virtual environment that has the engine")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument(
        "--more",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="all that follows goes to the server as it is",
    )
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the command and end")


def do(options: argparse.Namespace) -> None:
    """Print the server's command, and become the server."""
    if not 0 < options.port < 65536:
        raise OperatorError(f"serve: --port {options.port} is no port; take one from 1 to 65535.")
    if not re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:-]*", options.host):
        raise OperatorError(
            f"serve: --host {options.host!r} is no address; take one such as 127.0.0.1 or a host's name."
        )
    model = model_name(options.model)
    found = command(options.engine, model, env=options.env, host=options.host, port=options.port, more=options.more)
    if options.only_print:
        print(plain(shlex.join(found)))
        return
    _check_runnable(options.engine, found[0], options.env)
    address = f"http://{options.host}:{options.port}/v1"
    print(
        plain(f"$ {shlex.join(found)}\nevaluate.engine: {{name: openai, base_url: '{address}', model: '{model}'}}"),
        file=sys.stderr,
    )
    if options.host not in LOOPBACK and not (options.engine == "vllm" and os.environ.get(KEY_ENV)):
        print(
            plain(f"warning: whoever reaches {options.host}:{options.port} can use this server; it asks for no key."),
            file=sys.stderr,
        )
    sys.stderr.flush()
    os.execvpe(found[0], found, _environment(options.engine))


def model_name(model: str) -> str:
    """A folder's whole path, or the hub id. OperatorError for what a server cannot load."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise OperatorError(
                f"serve: {model} has no config.json; name the folder of a student, such as RUN/train/STAGE/model."
            )
        return str(folder.resolve())
    if not HUB_ID.fullmatch(model) or model.endswith(".gguf"):
        raise OperatorError(
            f"serve: {model} is neither a folder that holds a model nor a hub id such as Qwen/Qwen2.5-0.5B."
        )
    return model


def command(engine: str, model: str, *, env: Path | None, host: str, port: int, more: Sequence[str] = ()) -> list[str]:
    """The server's command line. The key is no part of it: other users of a machine see command lines."""
    where = ["--host", host, "--port", str(port), *more]
    if engine == "vllm":
        # --generation-config vllm: without it vLLM takes top_k and penalties from the model's folder, unasked
        program = [str(env / "bin" / "vllm")] if env else ["uvx", "vllm"]
        return [*program, "serve", model, "--generation-config", "vllm", *where]
    program = [str(env / "bin" / "transformers")] if env else [sys.executable, "-m", "transformers.cli.transformers"]
    return [*program, "serve", model, *where]


def _check_runnable(engine: str, program: str, env: Path | None) -> None:
    if engine == "vllm" and env is not None and env.resolve() == Path(sys.prefix).resolve():
        raise OperatorError(
            "serve: --env is the environment of redistill itself; vLLM pins a torch of its own and wants its own environment."
        )
    if env is not None and not Path(program).is_file():
        raise OperatorError(
            f"serve: there is no {program}; install {engine} in that environment, or name another --env."
        )
    if engine == "vllm" and env is None and shutil.which("uvx") is None:
        raise OperatorError(
            "serve: vLLM comes by uvx, which is not here; install uv (https://docs.astral.sh/uv), name an environment that has vLLM with "
            "--env, or take --engine transformers."
        )
    if engine == "transformers" and env is None:
        missing = [name for name in ("fastapi", "openai", "uvicorn") if importlib.util.find_spec(name) is None]
        if missing:
            raise OperatorError(
                f"serve: transformers serve wants {', '.join(missing)}: pip install -c constraints.txt -e '.[serve]'."
            )


def _environment(engine: str) -> dict[str, str]:
    """Ours, with the engine's telemetry off, and for vLLM without the paths of this environment and with the key."""
    environment = switched_off(os.environ)
    if engine == "vllm":
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
        if environment.get(KEY_ENV):
            environment["VLLM_API_KEY"] = environment[KEY_ENV]
    return environment
