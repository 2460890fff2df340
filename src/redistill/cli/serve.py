"""`redistill serve MODEL`: a server for the engine `openai`, in an environment of its own; `--rewards RECIPE`: one of rewards."""

import argparse
import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path

from redistill.cli.common import add_code, plain
from redistill.errors import OperatorError
from redistill.tools.serve import ENGINES, KEY_ENV, LOOPBACK, check_runnable, command, model_name, server_environment

TEXT = """\
Serve a student over HTTP, for `evaluate.engine: {name: openai, ...}` or any OpenAI client; or a recipe's rewards.

The command is printed and then becomes this process: Ctrl-C ends it. vLLM never shares the environment of redistill: it
comes by `uvx` (which fetches it once), or from a virtual environment of yours that --env names. `transformers serve` runs
in this environment (extra `serve`) or in that of --env: slow, but there wherever redistill is. The server listens on this
machine only unless --host says otherwise. Where REDISTILL_API_KEY is set, vLLM asks its callers for that key.

With --rewards RECIPE there is no MODEL: the server (extra `serve`) judges answers by a stage's verifier and rewards. POST
/rewards takes rows, POST /get_reward what OpenRLHF sends to its remote reward URL, GET /health says that it is there.

examples:
  redistill serve runs/quickstart/train/redi/model --engine transformers
  redistill serve Qwen/Qwen2.5-Math-1.5B --port 8001 --more --max-model-len 16384
  redistill serve runs/x/train/redi/model --env /opt/vllm --print          only print the command
  redistill serve --rewards runs/x/recipe.yaml --stage grpo --port 8100
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a folder of `save_pretrained`, such as runs/x/train/redi/model, or a hub id",
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
    rewards = parser.add_argument_group("rewards")
    rewards.add_argument(
        "--rewards", metavar="RECIPE", help="serve this recipe's rewards; a YAML file or a shipped recipe"
    )
    rewards.add_argument(
        "--stage", metavar="NAME", help="whose rewards (default: the last stage with rollouts, or the last)"
    )
    rewards.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change a setting of the recipe (repeatable)"
    )
    rewards.add_argument("--workers", type=int, metavar="N", help="processes that judge (default: the cores)")
    rewards.add_argument(
        "--end",
        action="append",
        default=[],
        metavar="TEXT",
        help="of /get_reward: cut this special token off the end of a text, such as '<|im_end|>' (repeatable)",
    )
    add_code(parser)


def do(options: argparse.Namespace) -> None:
    """Print the server's command, and become the server."""
    if not 0 < options.port < 65536:
        raise OperatorError(f"serve: --port {options.port} is no port; take one from 1 to 65535.")
    if not re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:-]*", options.host):
        raise OperatorError(
            f"serve: --host {options.host!r} is no address; take one such as 127.0.0.1 or a host's name."
        )
    if (options.rewards is None) == (options.model is None):
        raise OperatorError("serve: name either a MODEL or --rewards RECIPE.")
    if options.rewards is not None:
        _serve_rewards(options)
        return
    model = model_name(options.model)
    found = command(options.engine, model, env=options.env, host=options.host, port=options.port, more=options.more)
    if options.only_print:
        print(plain(shlex.join(found)))
        return
    check_runnable(options.engine, found[0], options.env)
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
    os.execvpe(found[0], found, server_environment(options.engine))


def _serve_rewards(options: argparse.Namespace) -> None:
    """Judge until Ctrl-C."""
    if options.only_print or options.more or options.env is not None:
        raise OperatorError("serve: --print, --more and --env belong to a MODEL; leave them out beside --rewards.")
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise OperatorError(
            f"serve: a server of rewards wants {', '.join(missing)}: pip install -c constraints.txt -e '.[serve]'."
        )
    from redistill.config.parsing import load_recipe
    from redistill.tools.reward_server import reward_app, run_server
    from redistill.tools.rewards import RewardFunction

    recipe = load_recipe(options.rewards, options.set)
    key = os.environ.get(KEY_ENV, "")
    with RewardFunction(recipe, options.stage, workers=options.workers) as rewards:
        app = reward_app(rewards, recipe=recipe.name, key=key, ends=options.end)
        address = f"http://{options.host}:{options.port}"
        print(plain(f"rewards of {recipe.name}, stage {rewards.stage}: {address}/rewards"), file=sys.stderr, flush=True)
        if options.host not in LOOPBACK and not key:
            print(
                plain(
                    f"warning: whoever reaches {options.host}:{options.port} can use this server; it asks for no key."
                ),
                file=sys.stderr,
                flush=True,
            )
        run_server(app, options.host, options.port)
