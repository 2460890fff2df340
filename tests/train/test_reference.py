"""Reference log-probs: what the model itself says, computed once, kept under what they depend on, and never mixed up."""

import dataclasses

import numpy as np
import pytest
import torch

from redistill.config.binding import bind
from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.io.parquet import read_records, write_records
from redistill.io.schemas import from_row, to_row
from redistill.model import loading
from redistill.pipeline.resolve import check_one_stage
from redistill.records import Pair
from redistill.train import MODIFIERS, OBJECTIVES
from redistill.train import stage as train_loop
from redistill.train.objectives import redi
from redistill.train.rows import read_rows, write_rows
from redistill.train.trainer import Trainer

from .conftest import some_pairs, tiny_student
from .test_train_stage import SETTINGS, metrics, stage, weights

KTO = OBJECTIVES["kto"]


def test_a_stage_whose_start_is_its_reference_begins_at_log_two(tmp_path):
    stage(tmp_path / "a", settings=SETTINGS.model_copy(update={"steps": 2}), objective=OBJECTIVES["dpo"])
    assert metrics(tmp_path / "a")[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert abs(metrics(tmp_path / "a")[1]["loss"] - np.log(2)) > 1e-6  # the student has moved, the reference has not


def test_another_reference_is_asked_instead_of_the_start(tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 1})
    stage(tmp_path / "a", settings, OBJECTIVES["dpo"], reference=lambda: tiny_student(seed=5))
    assert abs(metrics(tmp_path / "a")[0]["loss"] - np.log(2)) > 1e-4


def test_a_stage_with_a_reference_cut_short_ends_with_the_same_bytes_and_computes_it_once(tmp_path, monkeypatch):
    real_find, runs = train_loop.reference_logps, []
    stage(tmp_path / "whole" / "a", objective=KTO)
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > 5:
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        stage(tmp_path / "cut" / "a", objective=KTO)
    monkeypatch.setattr(Trainer, "step", real)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cut" / ".references").iterdir()}
    assert sorted(name.split(".", 1)[1] for name in kept) == [
        "mismatched.npy", "mismatched.npy.json", "tokens.npy", "tokens.npy.json",
    ]  # fmt: skip
    monkeypatch.setattr(train_loop, "reference_logps", lambda *a, **k: runs.append(1) or real_find(*a, **k))
    stage(tmp_path / "cut" / "a", objective=KTO)
    assert runs and {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cut" / ".references").iterdir()} == kept
    assert weights(tmp_path / "cut" / "a") == weights(tmp_path / "whole" / "a")
    assert metrics(tmp_path / "cut" / "a") == metrics(tmp_path / "whole" / "a")


def test_reference_logps_are_shared_by_stages_of_the_same_rows_and_start_and_by_no_others(tmp_path):
    one = SETTINGS.model_copy(update={"steps": 1})
    for name, objective, student, records in (
        ("dpo", OBJECTIVES["dpo"], tiny_student, some_pairs(20)),
        ("ipo", OBJECTIVES["ipo"], tiny_student, some_pairs(20)),
        ("other-start", OBJECTIVES["dpo"], lambda: tiny_student(seed=3), some_pairs(20)),
        ("other-rows", OBJECTIVES["dpo"], tiny_student, some_pairs(19)),
    ):
        stage(tmp_path / name, settings=one, objective=objective, student=student, records=records)
    assert len(list((tmp_path / ".references").glob("*.npy"))) == 3


def test_an_objective_without_a_reference_computes_none(tmp_path):
    stage(tmp_path / "a", settings=SETTINGS.model_copy(update={"steps": 1}), objective=redi)
    assert not (tmp_path / ".references").exists()


# --- character spans ----------------------------------------------------------------------------------------------


def encode(folder, pairs, offsets=None):
    tokenizer = tiny_student()[1]
    write_rows(
        folder,
        pairs,
        encode_prompts=lambda texts: loading.encode_prompts(tokenizer, texts),
        encode_completions=lambda texts: loading.encode_completions(tokenizer, texts),
        max_tokens=200,
        completion_offsets=offsets or (lambda texts: loading.completion_offsets(tokenizer, texts)),
    )
    return read_rows(folder)


def test_spans_become_token_weights_the_mean_over_a_tokens_characters(tmp_path):
    pair = Pair("p", "1+1=", "2222", "33", "c", "r", chosen_spans=((1, 3, 0.0), (2, 3, 5.0)))
    rows, _ = encode(tmp_path / "characters", [pair])
    # a token a character: 1, 0, 5 (the last span wins), 1 and the end; rejected untouched
    assert rows.values["weight"].tolist() == [1, 0, 5, 1, 1, 1, 1, 1]
    # a tokenizer that cuts elsewhere: tokens of two characters weigh (1 + 0)/2 and (5 + 1)/2
    wide = {"2222": [(0, 2), (2, 4), (4, 4), (4, 4)], "33": [(0, 1), (1, 2)]}
    rows, _ = encode(tmp_path / "wide", [pair], lambda texts: [wide[t] for t in texts])
    assert rows.values["weight"].tolist() == [0.5, 3, 1, 1, 1, 1, 1, 1]


def test_a_span_outside_its_text_drops_the_pair_with_a_reason(tmp_path):
    pairs = [Pair("p", "1", "22", "3", "c", "r", rejected_spans=((0, 3, 0.5),)), Pair("p", "1", "22", "3", "d", "s")]
    rows, account = encode(tmp_path, pairs)
    assert dict(account.dropped) == {"bad_span": 1} and len(rows) == 1
    assert len(rows.values["weight"]) == int(rows.completion_starts()[-1])


def test_span_weights_without_a_span_is_one_sentence(tmp_path):
    with pytest.raises(OperatorError, match="no row has a span that changes a weight"):
        stage(tmp_path / "a", records=some_pairs(4), modifiers=[MODIFIERS["span-weights"]])


def test_pairs_with_spans_survive_storage_and_old_files_without_them_are_read(tmp_path):
    plain, marked = some_pairs(2)
    marked = dataclasses.replace(marked, chosen_spans=((0, 1, 0.5),), rejected_spans=((0, 1, 2.0), (1, 2, 0.0)))
    write_records(tmp_path / "pairs.parquet", Pair, [plain, marked])
    assert list(read_records(tmp_path / "pairs.parquet")) == [plain, marked]
    old = {name: value for name, value in to_row(plain).items() if not name.endswith("_spans")}
    assert from_row(Pair, old) == plain


def test_a_mismatched_sequence_is_this_rows_prompt_with_another_rows_completion(tmp_path):
    pairs = [Pair(f"p{i}", str(i), f"{i}+{i}", f"{i}-{i}", f"c{i}", f"r{i}") for i in range(4)]
    rows, _ = encode(tmp_path, pairs)
    tokenizer = tiny_student()[1]
    # half of four rows away; chosen for even rows, rejected for odd ones
    texts = [tokenizer.decode(rows.mismatched(row)[0], skip_special_tokens=True) for row in range(4)]
    assert texts == ["02+2", "13-3", "20+0", "31-1"]
    assert torch.tensor([rows.mismatched(row)[1] for row in range(4)]).tolist() == [1, 1, 1, 1]


# --- a recipe is checked before any work --------------------------------------------------------------------------


def recipe(**stage_settings):
    tree = {
        "name": "x",
        "student": {"model": "a"},
        "corpus": {"sources": ["traces"]},
        "train": {"sft": {"objective": "sft", "learning_rate": 1e-3}, "two": {"learning_rate": 1e-3, **stage_settings}},
    }
    return parse_recipe(tree, "x.yaml")


def check(read):
    objectives = {n: bind(OBJECTIVES, s.objective, n) for n, s in read.train.items()}
    modifiers = {n: [bind(MODIFIERS, m, n) for m in s.modifiers] for n, s in read.train.items()}
    for name in read.train:
        check_one_stage(read, name, objectives[name], modifiers[name])


def test_a_recipe_is_refused_before_work_where_a_stage_cannot_do_what_it_says():
    check(
        recipe(objective="dpo", reference="sft", modifiers=["shared-prefix-mask", {"name": "nll-anchor", "alpha": 0.2}])
    )
    with pytest.raises(OperatorError, match=r"train.two.reference: redi does not use a reference"):
        check(recipe(objective="redi", reference="sft"))
    with pytest.raises(
        OperatorError, match=r"train.two.reference: no earlier stage is called 'sff'; did you mean 'sft'"
    ):
        recipe(objective="dpo", reference="sff")
    with pytest.raises(OperatorError, match="gamma_beta_ratio is not an option"):
        check(recipe(objective={"name": "simpo", "gamma_beta_ratio": 0.5}))
    with pytest.raises(OperatorError, match="shared-prefix-mask works on pairs"):
        check(recipe(objective="sft", modifiers=["shared-prefix-mask"]))
