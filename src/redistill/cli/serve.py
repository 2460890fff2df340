"""What `redistill serve` does with its command: print it, become it, or serve rewards in this process."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from redistill.errors import OperatorError
from redistill.safety.terminal import plain


def serve_text(
    command: list[str],
    options: Mapping[str, Any],
    *,
    only_print: Annotated[bool, Parameter("--print", help="print the command and exit")] = False,
) -> str | None:
    """The command; without --print this process becomes the server."""
    if only_print and options["rewards"] is not None:
        raise OperatorError("serve: --print, --server-args and --env belong to a MODEL; leave them out with --rewards.")
    if only_print:
        return shlex.join(command)
    from redistill.tools.serve import KEY_ENV, check_runnable, server_environment

    host, port = options["host"], options["port"]
    asks_for_key = bool(os.environ.get(KEY_ENV)) and (options["rewards"] is not None or options["engine"] == "vllm")
    if options["rewards"] is not None:
        _serve_rewards(options, asks_for_key)
        return None
    env = options["env"]
    check_runnable(options["engine"], command[0], Path(env) if env else None)
    engine = f"{{name: openai, base_url: 'http://{host}:{port}/v1', model: '{command[command.index('serve') + 1]}'}}"
    print(plain(f"$ {shlex.join(command)}\nevaluate.engine: {engine}"), file=sys.stderr)
    _warn(host, port, asks_for_key)
    os.execvpe(command[0], command, server_environment(options["engine"]))


def _serve_rewards(options: Mapping[str, Any], asks_for_key: bool) -> None:
    """Judge until Ctrl-C."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise OperatorError(
            f"serve: the reward server needs {', '.join(missing)}: pip install -c constraints.txt -e '.[serve]'."
        )
    from redistill.api.parameters import read_recipe
    from redistill.tools.reward_server import reward_app, run_server
    from redistill.tools.rewards import RewardFunction
    from redistill.tools.serve import KEY_ENV

    recipe = read_recipe(options["rewards"], options["overrides"], None, options["code"])
    host, port = options["host"], options["port"]
    with RewardFunction(recipe, options["stage"], workers=options["workers"]) as rewards:
        key = os.environ.get(KEY_ENV, "")
        app = reward_app(rewards, recipe=recipe.name, key=key, end_tokens=options["end_tokens"])
        where = f"http://{host}:{port}/rewards"
        print(plain(f"rewards of {recipe.name}, stage {rewards.stage}: {where}"), file=sys.stderr)
        _warn(host, port, asks_for_key)
        run_server(app, host, port)


def _warn(host: str, port: int, asks_for_key: bool) -> None:
    from redistill.tools.serve import LOOPBACK

    if host not in LOOPBACK and not asks_for_key:
        warning = f"warning: anyone who reaches {host}:{port} can use this server, because it needs no key."
        print(plain(warning), file=sys.stderr)
    sys.stderr.flush()
