"""A recipe of one-layer students and a few steps, as plain data: what tests of whole runs in one process take."""

RECIPE = {
    "name": "tiny",
    "student": {
        "from_config": {"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
                        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128},
        "alphabet": "0123456789+-*=;#",
    },
    "prompt": {"template": "bare"},
    "corpus": {"sources": [{"name": "two-habits", "problems": 60}], "dev_fraction": 0.2},
    "train": {
        "sft": {"objective": "sft", "learning_rate": 1e-3, "steps": 2, "batch_size": 4},
        "redi": {"objective": "redi", "start": "sft", "learning_rate": 1e-3, "steps": 4, "batch_size": 4},
    },
    "evaluate": {"max_new_tokens": 4},
}  # fmt: skip


def write_layout(folder):
    """What a run of today's layout has beside its recipe."""
    (folder / "layout.json").write_text('{"layout": 2, "recipe_file": "", "name": "x"}')


def fresh_fingerprints(recipe):
    """The fingerprint of every stage of a recipe that has not been run."""
    from redistill.pipeline.graph import fingerprints_of, ordered, resolve
    from redistill.pipeline.plan import make_plan
    from redistill.pipeline.stages import stages_of

    return fingerprints_of(resolve(ordered(stages_of(make_plan(recipe))), None).values())


def with_rollouts():
    """The recipe with two stages that draw their own rows: GRPO, and pairs of the student's own answers."""
    own = {"problems": 2, "n": 2, "rounds": 2, "updates": 1, "max_new_tokens": 4}
    stage = {"start": "sft", "learning_rate": 1e-3, "batch_size": 4, "rollouts": own}
    train = {
        "sft": RECIPE["train"]["sft"],
        "grpo": {"objective": "grpo", **stage},
        "own": {"objective": "redi", **stage},
    }
    return {**RECIPE, "train": train}
