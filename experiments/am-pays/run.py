"""SFT on what the pipeline keeps, on all of it, and on a random part of equal size: accuracy and held-out log-probs, over seeds.

python experiments/am-pays/run.py --out runs/am-pays --seeds 0 1 2 [--rows 4000] [--steps 800]
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redistill import api
from redistill.corpus.sources import SOURCES
from redistill.io.parquet import read_records
from redistill.records import Group

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import planted_corpus

ARMS = ("kept", "unfiltered", "random")
SPAN = (11, 99)
Row = tuple[str, str | None, str]  # statement, gold answer, completion


def unfiltered(folder: Path) -> list[Row]:
    """Every row of the corpus that its source can read."""
    recipe = planted_corpus.recipe(folder)
    rows: list[Row] = []
    for source in recipe["corpus"]["sources"]:
        options = {name: value for name, value in source.items() if name != "name"}
        for group in SOURCES[source["name"]](**options):
            if isinstance(group, Group):
                rows += [(group.problem.statement, group.problem.answer, trace.completion) for trace in group.traces]
    return rows


def kept(run: Path) -> list[Row]:
    """The examples of the pipeline's run."""
    problems = {
        g.problem.id: g.problem for path in sorted((run / "select/groups").iterdir()) for g in read_records(path)
    }
    examples = (row for path in sorted((run / "select/examples").iterdir()) for row in read_records(path))
    return [(problems[e.problem_id].statement, problems[e.problem_id].answer, e.completion) for e in examples]


def part_of(rows: Iterable[Row], characters: int, seed: int) -> list[Row]:
    """Rows drawn at random until they have so many characters, which are the student's tokens."""
    shuffled = sorted(rows)
    random.Random(seed).shuffle(shuffled)
    drawn: list[Row] = []
    for row in shuffled:
        if characters <= 0:
            break
        drawn.append(row)
        characters -= len(row[2])
    return drawn


def write(path: Path, rows: Iterable[Row]) -> None:
    """A file of the source `traces` whose label calls every row right: the arm trains on it as it stands. Equal rows stay: each
    occurrence is told apart by its number at the end of the question, for the corpus would merge them."""
    lines = []
    for number, (statement, answer, completion) in enumerate(rows):
        table = {
            "problem": f"{statement} [{number}]",
            "answer": answer,
            "generations": [{"text": completion, "correct": True}],
        }
        lines.append(json.dumps(table) + "\n")
    path.write_text("".join(lines))


def train(folder: Path, arm: str, seed: int, steps: int) -> dict[str, float]:
    """Train the arm's student and evaluate it on the held-out problems."""
    base = planted_corpus.recipe(folder)
    recipe = {
        **base,
        "name": arm,
        "seed": seed,
        "student": {
            **base["student"],
            "from_config": {"model_type": "llama", "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3,
                            "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 4096,
                            "tie_word_embeddings": True},
        },
        "corpus": {
            "sources": [{"name": "traces", "path": str(folder / f"{arm}.jsonl")}], "dev_fraction": 0, "near_duplicates": "off",
            "decontaminate": {"benchmarks": False},
        },
        "verify": {"verifiers": [], "labels": ["teacher_label"], "policy": "teacher_label"},
        "score": [],
        "select": {"max_completion_tokens": 3000, "truncated_correct": "keep"},
        "train": {"sft": {"objective": "sft", "start": "base", "learning_rate": 2e-3, "batch_size": 16, "steps": steps}},
        "evaluate": {"models": ["sft"], "benchmarks": [{"name": "held", "file": str(folder / "held.jsonl")}], "n": 1, "temperature": 0, "max_new_tokens": 600},
    }  # fmt: skip
    run = api.run(recipe, runs_dir=folder / "runs")
    api.score(
        folder / "right.jsonl",
        [{"name": "perplexity", "model": str(run / "train/sft/model")}],
        out=folder / f"{arm}-scored.jsonl",
        template="bare",
    )
    values = [t["scores"]["perplexity"] for row in _rows(folder / f"{arm}-scored.jsonl") for t in row["generations"]]
    scores = json.loads((run / "evaluate/sft/held/scores.json").read_text())
    return {"accuracy": scores["pass_at_1"]["value"], "nll": sum(map(math.log, values)) / len(values)}


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def prepare(folder: Path, rows: int, seed: int, held: int) -> None:
    """The corpus, the pipeline's run, the arms' files, and the held-out problems with their right traces."""
    made = planted_corpus.plant(rows, seed, span=SPAN)
    planted_corpus.write(made, folder)
    everything, best = unfiltered(folder), kept(planted_corpus.run(folder))
    write(folder / "kept.jsonl", best)
    write(folder / "unfiltered.jsonl", everything)
    write(folder / "random.jsonl", part_of(everything, sum(len(row[2]) for row in best), seed))
    other = planted_corpus.plant(800, 1000 + seed, span=SPAN)
    sound = [
        other.files[file][place] for file, place, defect in other.defects if defect == "sound" and file == "plain"
    ][:held]
    (folder / "held.jsonl").write_text(
        "".join(
            json.dumps({"problem": f"{row['problem']} [{number}]", "answer": row["answer"]}) + "\n"
            for number, row in enumerate(sound)
        )
    )
    (folder / "right.jsonl").write_text(
        "".join(json.dumps({**row, "problem": f"{row['problem']} [{n}]"}) + "\n" for n, row in enumerate(sound))
    )


def main() -> None:
    """Print a line per seed and arm, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--held", type=int, default=200, help="held-out problems, at most about 100 to 200 of 800 rows")
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in options.seeds:
        folder = options.out / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, options.rows, seed, options.held)
        for arm in ARMS:
            found = train(folder, arm, seed, options.steps)
            results[arm].append(found)
            print(f"seed {seed}  {arm:<10}  accuracy {found['accuracy']:.3f}  nll {found['nll']:.4f}", flush=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=2))
    for arm, found in results.items():
        for name in ("accuracy", "nll"):
            values = [one[name] for one in found]
            print(
                f"{arm:<10} {name:<8} mean {sum(values) / len(values):.4f}  {min(values):.4f} to {max(values):.4f}  ({len(values)} seeds)"
            )


if __name__ == "__main__":
    main()
