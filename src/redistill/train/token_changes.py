"""What a stage did to every token of the pairs that the report shows: their log-probs before and after it.

    write_token_changes(Path("runs/demo"), recipe, "redi", pairs)  ->  runs/demo/train/redi/token_changes.json

The report reads files and has no model; this module has both students, the one the stage began with and the one it left.

    {"stage": "redi", "start": "sft", "pairs": [{"chosen_id": ..., "rejected_id": ..., "chosen": SIDE, "rejected": SIDE}]}

SIDE lists tokens [first character, end, log-prob before, log-prob after]; the end-of-turn token, which has no characters,
stands at the end of the text. Log-probs in nats, rounded to a thousandth.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import Recipe
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json
from redistill.io.images import image_folders, look_in
from redistill.io.progress import bar
from redistill.model import loading
from redistill.model.logps import PackedPolicy, TokenSequence, make_pack, prepare_for_packing
from redistill.model.precision import precision_of
from redistill.records import Pair
from redistill.text.image_marks import images_in

FILE = "token_changes.json"
MAX_TOKENS = 4096  # of a completion, from its beginning: a token's log-prob looks at nothing behind it
Student = tuple[PreTrainedModel, PreTrainedTokenizerFast]
Side = list[tuple[int, int, float]]  # characters of a token and its log-prob


def write_token_changes(folder: Path, recipe: Recipe, stage: str | None, pairs: Sequence[Pair]) -> Path | None:
    """Measure these pairs before and after `stage`, unless it was done for them, and return the file's path; None where
    there is no such stage or no pair. OperatorError where a student is missing or damaged."""
    if stage is None or not pairs:
        return None
    path = folder / "train" / stage / FILE
    if _is_of(path, pairs):
        return path
    settings = recipe.train[stage]
    autocast = precision_of(settings.mixed_precision) == "bf16"
    before = _of_pairs(_student(folder, recipe, settings.start), pairs, settings.start, autocast)
    after = _of_pairs(_student(folder, recipe, stage), pairs, stage, autocast)
    changes = [
        {
            "chosen_id": pair.chosen_id,
            "rejected_id": pair.rejected_id,
            "chosen": _joined(old[0], new[0]),
            "rejected": _joined(old[1], new[1]),
        }
        for pair, old, new in zip(pairs, before, after, strict=True)
    ]
    write_json(path, {"stage": stage, "start": settings.start, "pairs": changes})
    return path


def _is_of(path: Path, pairs: Sequence[Pair]) -> bool:
    """True when the file is there, whole, and of these pairs; a damaged one is measured again."""
    try:
        listed = read_json(path)["pairs"] if path.exists() else []
        return [(p["chosen_id"], p["rejected_id"]) for p in listed] == [(p.chosen_id, p.rejected_id) for p in pairs]
    except (OperatorError, KeyError, TypeError, ValueError):
        return False


def _student(folder: Path, recipe: Recipe, name: str) -> Student:
    look_in(*image_folders(folder))
    if name != "base":
        return loading.load_folder(folder / "train" / name / "model")
    tokenizer = loading.load_tokenizer(recipe.student)
    return loading.load_model(recipe.student, tokenizer, seed=recipe.seed), tokenizer


def _of_pairs(student: Student, pairs: Sequence[Pair], name: str, autocast: bool) -> list[tuple[Side, Side]]:
    """(chosen, rejected) of each pair under one student."""
    model: Any = student[0]
    tokenizer = student[1]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    policy = PackedPolicy(model, packs=prepare_for_packing(model))
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        return [
            (_side(policy, tokenizer, pair.prompt, pair.chosen), _side(policy, tokenizer, pair.prompt, pair.rejected))
            for pair in bar(pairs, f"tokens of {name}", unit="pair")
        ]


def _side(policy: PackedPolicy, tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Side:
    """The log-prob of each token of one completion, as training reads it; one sequence a pack, so lengths do not add up."""
    ids = loading.encode_prompts(tokenizer, [prompt])[0]
    tokens = loading.encode_completions(tokenizer, [completion])[0]
    places = [*loading.completion_offsets(tokenizer, [completion])[0], (len(completion), len(completion))]
    most = max(1, min(MAX_TOKENS, loading.context_length(policy.model) - len(ids)))
    tokens, places = tokens[:most], places[:most]
    pack = make_pack([TokenSequence([*ids, *tokens], len(ids), images_in(prompt))], [0], [0.0]).to(
        next(policy.parameters()).device
    )
    logps = policy(pack)[1].double().tolist()
    places = places[len(places) - len(logps) :]  # without a prompt nothing predicts the very first token
    return [(start, end, logp) for (start, end), logp in zip(places, logps, strict=True)]


def _joined(before: Side, after: Side) -> list[list[float]]:
    pairs = zip(before, after, strict=True)
    return [[start, end, round(old, 3), round(new, 3)] for (start, end, old), (_, _, new) in pairs]
