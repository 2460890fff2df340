"""The smallest experiment that passes every stage and every writer: 30 problems, two stages of three steps, a reference."""

import json
import random
from pathlib import Path

RECIPE = """\
name: tiny
seed: 3
student:
  from_config: {model_type: llama, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2,
                num_key_value_heads: 2, max_position_embeddings: 96, tie_word_embeddings: true}
  alphabet: "0123456789+-*=;#"
prompt: {template: bare}
corpus: {sources: [{name: traces, path: rows.jsonl}], dev_fraction: 0.3, shards: 2}
verify: {verifiers: [], labels: [teacher_label], policy: teacher_label}
select: {examples: first, pairing: certain}
train:
  sft: {objective: sft, batch_size: 4, steps: 3, save_every: 1, learning_rate: 1e-2}
  dpo: {objective: dpo, start: sft, batch_size: 2, steps: 3, save_every: 1, learning_rate: 1e-3}
evaluate: {benchmarks: [dev], models: [dpo], verifier: exact, n: 1, temperature: 0.6, max_new_tokens: 8}
"""


def write_tiny(folder: Path) -> None:
    """tiny.yaml and rows.jsonl: sums, each with a right and a wrong trace, some of them duplicated."""
    draw = random.Random(7)
    rows = []
    for _ in range(30):
        a, b = draw.randint(1, 99), draw.randint(1, 99)
        right = {"text": f"{a}+{b}={a + b};#{a + b}", "correct": True, "teacher": "t"}
        wrong = {"text": f"{a}-{b}={a + b + 1};#{a + b + 1}", "correct": False, "teacher": "t"}
        rows.append({"problem": f"{a}+{b}=", "answer": str(a + b), "generations": [right, wrong]})
    again = [{**row, "problem": row["problem"].replace("+", " + ")} for row in rows[:4]]  # merged, across shards too
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *again]))
    (folder / "tiny.yaml").write_text(RECIPE)
