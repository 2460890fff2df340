"""What `redistill plan` says before a run: the sample against the whole, the beginning of a file, what cannot be planned."""

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.tools.estimate import estimate as module
from redistill.tools.estimate import sample
from redistill.tools.estimate.estimate import forecast
from redistill.tools.estimate.render import text
from redistill.tools.estimate.sample import _scaled, beginning, look

SMALL = {
    "name": "small",
    "student": {
        "from_config": {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "max_position_embeddings": 256,
        },
        "alphabet": "0123456789+-*=;#",
    },
    "prompt": {"template": "bare"},
    "corpus": {"sources": [{"name": "two-habits", "problems": 400, "traces": 3}], "dev_fraction": 0.2},
    "verify": {"verifiers": ["exact"], "policy": "exact", "workers": 1},
    "train": {
        "sft": {"objective": "sft", "learning_rate": 1e-3, "epochs": 2, "batch_size": 8},
        "dpo": {
            "objective": "dpo",
            "start": "sft",
            "learning_rate": 1e-4,
            "batch_size": 8,
            "guard": {"held_out_pairs": 10},
        },
    },
}


def recipe(**changes):
    return parse_recipe({**SMALL, **changes}, "test")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of the recipe, looked at once for all tests that change only what comes after."""
    return look(make_plan(recipe()), tmp_path_factory.mktemp("empty"))


@pytest.fixture
def looked_at(rows, monkeypatch):
    monkeypatch.setattr(module, "look", lambda plan, folder: rows)


def test_a_sample_says_of_the_whole_what_the_whole_says_of_itself(tmp_path, monkeypatch, rows):
    whole = rows
    monkeypatch.setattr(sample, "SAMPLED_PROBLEMS", (1, 120))
    monkeypatch.setattr(sample, "SAMPLED_TRACES", 10**9)
    some = look(make_plan(recipe()), tmp_path)
    assert whole.exact and not some.exact and "120 problems" in some.sentence
    assert some.problems.value == whole.problems.value == 400
    assert some.dev.value == whole.dev.value  # which problems are held out is known of all
    for one, other in [
        (some.traces, whole.traces),
        *((some.streams[k].amount, whole.streams[k].amount) for k in some.streams),
    ]:
        assert other.low == other.value == other.high and one.low < one.high
        assert one.low <= other.value <= one.high and abs(one.value - other.value) < 0.1 * other.value
    lengths = [found.streams["pairs"].lengths.mean() for found in (some, whole)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.05)
    assert whole.disk_bytes / 2 < some.disk_bytes < 2 * whole.disk_bytes
    limited = look(make_plan(recipe(corpus={**SMALL["corpus"], "max_problems": 50})), tmp_path)
    assert limited.exact and limited.problems.value == 50


def test_the_interval_of_a_sum_by_hand():
    # counts 0, 1, 2, 3 of 100 problems: mean 1.5, variance 5/3; of a finite population 96% of that remains
    found = _scaled([0, 1, 2, 3], 100)
    half = 1.96 * math.sqrt(5 / 3 / 4 * 0.96) * 100
    assert (found.value, found.low, found.high) == pytest.approx((150, 150 - half, 150 + half))
    assert _scaled([0, 1, 2, 3], 4).low == _scaled([0, 1, 2, 3], 4).high == 6
    assert _scaled([5, 0, 0, 0], 5).low == 5  # never fewer than were seen


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_of_a_large_file_the_first_rows_are_taken_whole(tmp_path, suffix):
    rng = np.random.default_rng(0)  # digits do not compress away, so the share read can be told
    rows = [json.dumps({"row": i, "x": "".join(map(str, rng.integers(0, 10, 400)))}) for i in range(4000)]
    data = ("\n".join(rows) + "\n").encode()
    file = tmp_path / f"big.jsonl{suffix}"
    file.write_bytes({"": lambda d: d, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix](data))
    here, share = beginning(file, len(data) // 4, tmp_path / "scratch")
    taken = here.read_bytes().decode().splitlines()
    assert taken == rows[: len(taken)] and abs(len(taken) - 1000) <= 1 and here.name == "big.jsonl"
    assert share == pytest.approx(0.25, abs=0.15)
    assert beginning(file, 10 * len(data), tmp_path / "other") == (file, 1.0)


def test_of_a_large_parquet_file_too(tmp_path):
    table = pa.table({"row": list(range(1000)), "x": ["y" * 100] * 1000})
    pq.write_table(table, tmp_path / "big.parquet")
    here, share = beginning(tmp_path / "big.parquet", table.nbytes // 4, tmp_path / "scratch")
    taken = pq.read_table(here).column("row").to_pylist()
    assert taken == list(range(len(taken))) and share == len(taken) / 1000 and 200 < len(taken) < 400


def test_what_is_said_adds_up(tmp_path, looked_at):
    found = forecast(recipe(), runs_dir=tmp_path, gpus=["H100", "RTX4090"], price=2.0, utilisation=0.5)
    json.dumps(found)
    sft, dpo = found["stages"]["sft"], found["stages"]["dpo"]
    assert (
        sft["rows"]["value"] == found["rows"]["examples"]["value"]
        and sft["steps"]["value"] == sft["rows"]["value"] * 2 // 8
    )
    assert dpo["rows"]["value"] == found["rows"]["pairs"]["value"] - dpo["held_out"] and 0 < dpo["held_out"] <= 10
    assert dpo["flops"]["H100"]["extra_forwards"] > 0 == sft["flops"]["H100"]["extra_forwards"]
    for stage in (sft, dpo):
        assert 0 < stage["packing"]["saved_share_of_padded"] < 1 and set(stage["memory"]) == {"cpu", "H100", "RTX4090"}
        for count in "1248":
            one = stage["memory"]["H100"][count]
            assert one["fits"] and one["total"] == sum(one["bytes"].values()) and one["longest_that_fits"] == 256
            assert one["layout"] == ("alone" if count == "1" else "ddp")
    assert dpo["reference_tokens"] < dpo["row_tokens"] and sft["reference_tokens"] == 0
    assert found["disk"]["students"] == 2 * 4 * found["parameters"]
    assert found["disk"]["while_training"] == 2 * 12 * found["parameters"] + 4 * max(
        sft["row_tokens"], dpo["row_tokens"] + dpo["reference_tokens"]
    )
    total = found["totals"]["H100"]
    assert total["dollars"] == pytest.approx(2.0 * total["gpu_hours"]) and total["hours"]["4"] == total["gpu_hours"] / 4
    assert total["gpu_hours"] == pytest.approx(total["flops"] / (67e12 * 0.5 * 3600))  # the stages are fp32
    said = text(found)
    assert "longest that fits" in said and "at 50% of the peak" in said and "all 400 problems" in said
    assert not list(tmp_path.iterdir())  # nothing is written


def test_a_student_too_large_for_one_gpu_is_sharded_or_said_to_be(tmp_path, looked_at):
    big = {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "num_hidden_layers": 24,
    }
    student = {**SMALL["student"], "from_config": {**big, "max_position_embeddings": 256}}
    found = forecast(recipe(student=student), runs_dir=tmp_path, gpus=["H100"])
    memory = found["stages"]["sft"]["memory"]["H100"]
    assert found["parameters"] == pytest.approx(20.5e9, rel=0.05)  # 24 layers of 0.856 billion
    assert not memory["1"]["fits"] and "NO" in text(found) and memory["1"]["longest_that_fits"] == 0
    assert memory["8"]["fits"] and memory["8"]["layout"] == "fsdp2" and memory["8"]["longest_that_fits"] == 256


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"gpus": ["H10"]}, r"^plan --gpu: there is no 'H10'; did you mean 'H100'\?$"),
        ({"utilisation": 0.0}, r"^plan --utilisation: write a share of the peak above 0 and up to 1 \(got 0\)\.$"),
        ({"price": -1.0}, r"^plan --price: write dollars an hour, 0 or more \(got -1\)\.$"),
    ],
)
def test_what_is_no_gpu_share_or_price_is_one_sentence(tmp_path, options, sentence):
    with pytest.raises(OperatorError, match=sentence):
        forecast(recipe(), runs_dir=tmp_path, **options)


def test_where_nobody_was_wrong_there_are_no_pairs_and_the_reasons_say_so(tmp_path, looked_at, rows, monkeypatch):
    empty = replace(rows.streams["pairs"], lengths=np.zeros((0, 2), int), learned=np.zeros((0, 2), int), prompts=[])
    found = replace(
        rows, streams={**rows.streams, "pairs": empty}, dropped={"examples": {}, "pairs": {"no_incorrect_trace": 9}}
    )
    monkeypatch.setattr(module, "look", lambda plan, folder: found)
    with pytest.raises(
        OperatorError, match=r"^train.dpo: no pairs were found to train on \(9 no_incorrect_trace\); all 400 problems"
    ):
        forecast(recipe(), runs_dir=tmp_path)


def test_eight_bit_moments_are_never_planned_in_slices(tmp_path, looked_at):
    train = {"sft": {**SMALL["train"]["sft"], "optimizer": "adamw_8bit", "memory_gib": 0.001}}
    memory = forecast(recipe(train=train), runs_dir=tmp_path)["stages"]["sft"]["memory"]["H100"]
    assert not memory["8"]["fits"] and memory["8"]["layout"] == "ddp"


def test_where_no_row_fits_it_says_so_before_any_work(tmp_path, looked_at):
    train = {"sft": {**SMALL["train"]["sft"], "max_tokens": 3}}
    with pytest.raises(OperatorError, match=r"^train.sft: no row is left to train on .* none has 3 tokens or fewer"):
        forecast(recipe(train=train), runs_dir=tmp_path)


# --- stages that draw their own rows ---


def with_rollouts(objective="grpo", *, stage=None, **rollouts):
    drawn = {"problems": 5, "n": 4, "rounds": 3, "updates": 2, "max_new_tokens": 20, **rollouts}
    own = {"objective": objective, "start": "sft", "learning_rate": 1e-3, "batch_size": 8, "rollouts": drawn}
    return recipe(train={"sft": SMALL["train"]["sft"], "own": {**own, **(stage or {})}})


@pytest.fixture(scope="module")
def asked(rows):
    """The rows of the recipe with what a stage with rollouts asks: three prompts, of 4, 6 and 8 tokens, of 90 problems."""
    prompts = np.array([[4], [6], [8]])
    return replace(rows, asked={"own": sample.Stream(prompts, np.zeros_like(prompts), [], sample._just(90))})


def ahead(found, monkeypatch, tmp_path, **changes):
    monkeypatch.setattr(module, "look", lambda plan, folder: found)
    return forecast(with_rollouts(**changes), runs_dir=tmp_path, gpus=["H100"])


def test_a_stage_with_rollouts_is_said_to_come_to_this_at_most(asked, monkeypatch, tmp_path):
    """3 rounds of 5 problems, 4 answers each of 20 tokens at most, after prompts of 6 tokens in the mean."""
    found = ahead(asked, monkeypatch, tmp_path)
    own, drawn = found["stages"]["own"], found["stages"]["own"]["rollouts"]
    assert own["rows"] == {"value": 60, "low": 60, "high": 60} and own["at_most"]
    assert own["steps"]["value"] == 6 and drawn["steps_exact"]  # two updates a round
    assert drawn["answers"] == 60 and drawn["generated_tokens_at_most"] == 1200
    # each row is trained on once, prompt and answer; only answers carry loss; the longest is 8 + 20
    assert own["tokens"] == 60 * 26 and own["learned_tokens"] == 60 * 20 and own["longest"] == 28
    assert own["micro_batch_tokens"] == min(8192, 28 * 5 * 4)
    assert found["disk"]["rollouts"] == 12 * 1200 and own["memory"]["H100"]["1"]["fits"] and drawn["measured"] is None
    said = text(found)
    assert "own: 3 rounds of 5 problems, 60 answers of its own, at most 1.2k tokens sampled" in said
    assert "all its numbers are upper bounds" in said and "sampling is not in the hours." in said
    assert "<= 60 own answers" in said and "up to 14.1 KiB for the answers" in said


@pytest.mark.parametrize(
    "changes, num_rows, steps, tokens, exact",
    [
        # right answers alone, two of a problem at most: 5 x 2 rows, of which an epoch has one whole batch of 8
        ({"objective": "sft", "updates": None, "per_problem": 2}, 30, 3, 3 * 8 * 26, False),
        # steps of the stage, divided over the rounds: 7 over 3 are 3 each, of 8 of the 20 rows
        ({"updates": None, "stage": {"steps": 7}}, 60, 9, 9 * 8 * 26, True),
        # pairs: one a problem unless the pairing says more; both sides
        ({"objective": "redi", "updates": 1}, 15, 3, 15 * 2 * 26, True),
        # two right and two wrong of four answers make four pairs at most
        ({"objective": "redi", "pairing": {"name": "certain", "max_pairs": 9}}, 60, 6, 60 * 2 * 26, True),
        # there are not more problems than there are
        ({"problems": 1000, "rounds": 1, "updates": 1}, 90 * 4, 1, 90 * 4 * 26, True),
    ],
)  # fmt: skip
def test_rows_and_steps_of_every_kind_of_stage(asked, monkeypatch, tmp_path, changes, num_rows, steps, tokens, exact):
    own = ahead(asked, monkeypatch, tmp_path, **changes)["stages"]["own"]
    assert (own["rows"]["value"], own["steps"]["value"], own["tokens"]) == (num_rows, steps, tokens)
    assert own["rollouts"]["steps_exact"] is exact


def test_what_runs_through_a_model_besides_is_counted(asked, monkeypatch, tmp_path):
    """A ratio to the sampling policy, a reference and a teacher each read every row of a round once."""

    def flops(**changes):
        return ahead(asked, monkeypatch, tmp_path, **changes)["stages"]["own"]["flops"]["H100"]["extra_forwards"]

    forward = flops(
        stage={"modifiers": ["kl"]}, updates=1
    )  # reinforce is linear; the kl modifier is not: one pass, one reference
    assert flops(updates=1) == 0.0
    assert flops(updates=2) == pytest.approx(forward)  # no reference, but a first pass and the sampling policy's
    teacher = {"advantage": "teacher", "teacher": "base", "updates": 1}
    assert flops(objective="reinforce", **teacher) == pytest.approx(
        forward
    )  # the teacher's and the student's log-probs


def test_no_problem_to_ask_is_one_sentence(asked, monkeypatch, tmp_path):
    none = replace(
        asked, asked={"own": sample.Stream(np.zeros((0, 1), int), np.zeros((0, 1), int), [], sample._just(0))}
    )
    with pytest.raises(
        OperatorError, match=r"^train\.own\.rollouts: no problem was found that could be asked; all 400"
    ):
        ahead(none, monkeypatch, tmp_path)


def test_the_problems_that_are_asked_are_those_of_the_corpus_that_are_not_held_out(tmp_path, monkeypatch):
    corpus = {"sources": [{"name": "two-habits", "problems": 60, "traces": 2}], "dev_fraction": 0.2}
    own = with_rollouts().train["own"].model_dump()
    plan = make_plan(recipe(corpus=corpus, train={"sft": SMALL["train"]["sft"], "own": own}))
    found = look(plan, tmp_path)
    whole = found.asked["own"]
    assert whole.amount.value == len(whole.lengths) == 60 - found.dev.value
    groups = list(plan.sources[0]())
    prompts = [len(plan.tokenizer(g.problem.statement)["input_ids"]) for g in groups if hasattr(g, "problem")]
    assert set(whole.lengths[:, 0]) <= set(prompts) and whole.lengths.max() <= max(prompts)
    monkeypatch.setattr(sample, "SAMPLED_PROBLEMS", (1, 20))
    monkeypatch.setattr(sample, "SAMPLED_TRACES", 10**9)
    some = look(plan, tmp_path).asked["own"]
    assert some.amount.value == whole.amount.value and len(some.lengths) < 20


def test_the_pace_of_rounds_that_were_drawn_is_told_and_only_of_this_stage(asked, monkeypatch, tmp_path):
    """Two rounds of 20 answers and 100 tokens in 4 seconds: 5 tokens per answer, 50 tokens per second, 6 s for all 60."""
    from redistill.io.atomic import write_json
    from redistill.pipeline import graph
    from redistill.pipeline.stages import stages_of

    states = graph.resolve(graph.ordered(stages_of(make_plan(with_rollouts()))), None)
    folder = tmp_path / "small" / "train" / "own"
    for number in range(2):
        figures = {"generated_tokens": 100, "answers": 20}
        write_json(
            folder / "rollouts" / f"round-{number:05d}.json", {"round": number, "seconds": 2.0, "figures": figures}
        )
    assert ahead(asked, monkeypatch, tmp_path)["stages"]["own"]["rollouts"]["measured"] is None
    (folder / "fingerprint").write_text(states["train/own"].keys[""].fingerprint)
    found = ahead(asked, monkeypatch, tmp_path)
    measured = found["stages"]["own"]["rollouts"]["measured"]
    assert measured == {
        "rounds": 2,
        "tokens_per_answer": 5.0,
        "tokens_per_second": 50.0,
        "hours": pytest.approx(6 / 3600),
    }
    assert "measured here over 2 rounds: 5 tokens per answer, 50 tokens/s" in text(found)
    (folder / "fingerprint").write_text("of another recipe")
    assert ahead(asked, monkeypatch, tmp_path)["stages"]["own"]["rollouts"]["measured"] is None


def test_a_trace_without_the_weights_that_select_asks_for_makes_no_row(tmp_path):
    train = {"sft": {**SMALL["train"]["sft"], "modifiers": ["span-weights"]}}
    weighed = recipe(train=train, select={"turns": "last", "weights": {"right": "nobody_wrote_it"}})
    found = look(make_plan(weighed), tmp_path)
    assert len(found.streams["examples"].lengths) == 0 and found.dropped["examples"]["no_weight_spans"] > 0


def test_what_a_sample_does_not_look_at_is_said(tmp_path, monkeypatch, rows):
    assert "still counted" not in rows.sentence
    chosen = recipe(select={"sample": {"by": "source", "keep": {"two-habits": 0.5}}})
    assert look(make_plan(chosen), tmp_path).sentence.endswith("; what select.sample will leave out is still counted")
