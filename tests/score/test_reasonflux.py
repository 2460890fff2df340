"""ReasonFlux-PRM's targets: what theory fixes of the merge, and that each channel reacts to its own corruption."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import drawn
from local_servers import scripted_server
from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.io.client import Reply
from redistill.model import loading
from redistill.records import Group, Span, make_problem, make_trace
from redistill.rollout.requests import Student
from redistill.score.encoders import open_encoder
from redistill.score.marks import reason_of
from redistill.score.reasonflux import (
    alignment,
    coherence_of,
    merged,
    read_quality,
    reasonflux_targets,
    trajectory,
)

UNIT = np.eye(4, dtype=np.float32)


def column(*values):
    return np.array(values, dtype=np.float64)


# --- what theory fixes ---


@drawn(100)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=6))
def test_a_target_lies_between_the_mean_and_the_greatest_of_its_channels(rows):
    table = np.array(rows).T
    found = merged(list(table))
    assert (table.mean(axis=0) <= found + 1e-12).all() and (found <= table.max(axis=0) + 1e-12).all()


def weight_of(channel, others):
    """How much of the merged target a channel's own value is: its derivative's softmax weight, by moving it a little."""
    values = [column(value) for value in (channel, *others)]
    exps = [math.exp(value[0]) for value in values]
    assert merged(values)[0] == pytest.approx(sum(e * v[0] for e, v in zip(exps, values, strict=True)) / sum(exps))
    return exps[0] / sum(exps)


def test_raw_log_coherence_drops_out_at_eight_equal_negatives_and_the_probability_does_not():
    """log(1/9) = -2.197 beside .8 and 1 weighs 1/9 / (1/9 + e^.8 + e) = .0220; the probability 1/9 weighs .1844."""
    before, here, negatives = UNIT[:1], UNIT[:1], UNIT[[0] * 8]
    log = coherence_of(before, here, negatives, form="log")[0]
    probability = coherence_of(before, here, negatives)[0]
    assert log == pytest.approx(-math.log(9)) and probability == pytest.approx(1 / 9)
    assert weight_of(log, (0.8, 1.0)) == pytest.approx(0.02198, abs=1e-4)
    assert weight_of(probability, (0.8, 1.0)) == pytest.approx(0.1844, abs=1e-4)


def test_a_channel_that_is_unknown_at_a_step_is_left_out_there():
    assert merged([column(math.nan, 0.5), column(0.25, 0.5)]).tolist() == [0.25, 0.5]


def test_alignment_with_the_nearest_or_the_partner_by_hand():
    """Three steps, two response steps: partners 1, 2, 2 (the steps' share of the way, rounded up); a cosine below 0 counts 0."""
    steps, response = np.stack([UNIT[0], UNIT[0], -UNIT[1]]), UNIT[:2]
    assert alignment(steps, response).tolist() == [1, 1, 0]
    assert alignment(steps, response, "paired").tolist() == [1, 0, 0]


def test_coherence_is_a_softmax_of_cosines_over_tau_by_hand():
    """Cosine 1 against two negatives at 0, tau .5: e^2 / (e^2 + 2)."""
    found = coherence_of(UNIT[:1], UNIT[:1], UNIT[1:3], tau=0.5)
    assert found[0] == pytest.approx(math.exp(2) / (math.exp(2) + 2))


# --- each channel and its own corruption ---

WORDS = [
    "apple",
    "bridge",
    "candle",
    "donkey",
    "engine",
    "feather",
    "guitar",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "ladder",
]


def chain(word, rng, steps=6):
    """(steps, response steps, truth): sums of `word`, each step going on with the number of the one before."""
    total, lines = rng.randint(10, 99), []
    for _ in range(steps):
        add = rng.randint(10, 99)
        lines.append(f"{word}s {total} + {add} = {total + add}")
        total += add
    return lines, [f"{word}s in all: {total}"], [1.0] * steps


def group_of(number, lines, response, truth):
    text = "<think>" + "\n\n".join(lines) + "</think>\n\n" + "\n\n".join(response)
    problem = make_problem(f"How many {WORDS[number % len(WORDS)]}s? ({number})", answer="1")
    spans, at = [], len("<think>")
    for line, value in zip(lines, truth, strict=True):
        spans.append(Span(at, at + len(line), value))
        at += len(line) + 2
    return Group(problem, (make_trace(problem.id, text, spans={"truth": tuple(spans)}),))


def targets(groups, pool=None, **options):
    needs = {
        "_into": "rf",
        "_seed": 0,
        "_student": None,
        "_cache": None,
        "_held": {},
        "_all_groups": lambda: pool or groups,
    }
    options = {"encoder": "hashing", "quality": "truth", **options}
    return reasonflux_targets(groups, **options, **needs)


def mean_of(group, name):
    return float(np.mean([span.value for span in group.traces[0].spans[name]]))


def corrupted(kind, lines, truth, number, rng):
    lines, truth = list(lines), list(truth)
    if kind == "wrong number":
        at = rng.randrange(1, len(lines))
        lines[at] = lines[at].rpartition(" ")[0] + f" {rng.randint(700, 999)}"
        truth[at] = 0.0
    elif kind == "off topic":
        other = WORDS[(number + 5) % len(WORDS)]
        lines[rng.randrange(1, len(lines))] = chain(other, rng)[0][0]
    elif kind == "shuffled":
        order = list(range(len(lines)))
        while any(order[i] + 1 == order[i + 1] for i in range(len(order) - 1)):
            rng.shuffle(order)
        lines = [lines[i] for i in order]
    return lines, truth


@pytest.mark.parametrize(
    ("kind", "channel"), [("wrong number", "quality"), ("off topic", "alignment"), ("shuffled", "coherence")]
)
def test_each_channel_falls_for_its_own_corruption_in_a_paired_test(kind, channel):
    rng = random.Random(7)
    # of one topic where order is at stake, so that negatives differ by their numbers alone
    topics = [WORDS[0] if kind == "shuffled" else WORDS[n % len(WORDS)] for n in range(36)]
    made = [chain(word, rng, steps=8) for word in topics]
    sound = [group_of(n, *one) for n, one in enumerate(made)]
    bad = []
    for n, (lines, response, truth) in enumerate(made):
        worse, marks = corrupted(kind, lines, truth, n, rng)
        bad.append(group_of(n, worse, response, marks))
    before, after = targets(sound), targets(bad, pool=sound)
    names = ("quality", "alignment", "coherence")
    fell = {
        name: [mean_of(a, f"rf_{name}") - mean_of(b, f"rf_{name}") for a, b in zip(before, after, strict=True)]
        for name in names
    }
    t = {name: np.mean(d) / (np.std(d) / math.sqrt(len(d)) + 1e-12) for name, d in fell.items()}
    assert np.mean(fell[channel]) > 0 and np.mean(np.array(fell[channel]) > 0) > 0.8 and t[channel] > 5
    # and by more than it does for what is not its own, where that is a matter of the text alone
    if kind != "off topic":
        others = [name for name in names if name != channel]
        assert all(abs(np.mean(fell[name])) < abs(np.mean(fell[channel])) for name in others)


# --- what it writes ---


def test_channels_stay_apart_as_spans_on_the_thinking_steps_and_their_mean_is_the_score():
    groups = [group_of(n, *chain(WORDS[n], random.Random(n), steps=3)) for n in range(4)]
    trace = targets(groups)[0].traces[0]
    assert {"rf", "rf_alignment", "rf_coherence", "rf_quality"} <= trace.spans.keys()
    for name in ("rf", "rf_alignment"):
        assert [trace.completion[s.start : s.end].strip() for s in trace.spans[name]] == [
            trace.completion[s.start : s.end] for s in trace.spans["truth"]
        ]
    assert trace.scores["rf"] == pytest.approx(np.mean([s.value for s in trace.spans["rf"]]))


def test_targets_depend_on_no_order_of_the_corpus():
    groups = [group_of(n, *chain(WORDS[n % 12], random.Random(n))) for n in range(20)]
    one, other = targets(groups), targets(groups[::-1])[::-1]
    assert one == other


def test_the_first_step_follows_the_problem_or_has_no_coherence():
    groups = [group_of(n, *chain(WORDS[n], random.Random(n), steps=3)) for n in range(4)]
    assert len(targets(groups)[0].traces[0].spans["rf_coherence"]) == 3
    skipped = targets(groups, first="skip")[0].traces[0]
    assert len(skipped.spans["rf_coherence"]) == 2 and len(skipped.spans["rf"]) == 3


def test_a_completion_without_thinking_has_its_last_step_as_response():
    way = trajectory("2-9=3;3*1=3;####3", "semicolon")
    assert (way.steps, way.response) == (["2-9=3;", "3*1=3;"], ["####3"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<think>1\n\n2", "unfinished_thinking"),
        ("  ", "empty"),
        ("one step", "one_step"),
        ("<think></think> 4", "one_step"),
    ],
)
def test_what_has_no_trajectory_has_a_reason(text, reason):
    assert trajectory(text, "blank-line") == reason


def test_steps_without_quality_and_a_corpus_without_others_are_reasons_and_no_scores():
    one = group_of(0, *chain("apple", random.Random(0)))
    bare = Group(one.problem, (make_trace(one.problem.id, one.traces[0].completion),))
    found = targets([bare], pool=[one])[0].traces[0]
    assert reason_of(found, "rf") == "no_quality" and "rf" not in found.scores
    assert reason_of(targets([one])[0].traces[0], "rf") == "no_negatives"


# --- the judge ---


@pytest.mark.parametrize(
    ("text", "finish", "found"),
    [
        ("STEP 1: 0.9\nSTEP 2: 0", "stop", [0.9, 0.0]),
        ("<think>hm\nSTEP 1: 0</think>STEP 1: 1\nSTEP 2: 0.25", "stop", [1.0, 0.25]),
        ("STEP 1: 0.9", "stop", "quality_unreadable"),
        ("STEP 2: 0.9\nSTEP 1: 0", "stop", "quality_unreadable"),
        ("STEP 1: 0.9\nSTEP 2: 1.5", "stop", "quality_unreadable"),
        ("Sure!\nSTEP 1: 0.9\nSTEP 2: 0", "stop", "quality_unreadable"),
        ("STEP 1: 0.9\nSTEP 2: 0", "length", "quality_cut"),
    ],
)
def test_a_judges_reply_is_read_strictly(text, finish, found):
    assert read_quality(Reply(text, finish, None, None), 2) == found


def test_a_judge_that_refuses_gives_no_quality():
    assert read_quality(Reply("", None, None, None, refused="400 too long"), 2) == "refused"


def test_a_served_judge_gives_quality_once_per_trace(tmp_path):
    groups = [group_of(n, *chain(WORDS[n], random.Random(n), steps=2)) for n in range(2)]
    said = '{"apples?": "STEP 1: 0.5\\nSTEP 2: 1", "bridges?": "I cannot say."}'
    with scripted_server(tmp_path, answers=said) as server:
        judge = {"quality": None, "base_url": server.base_url, "model": "m"}
        needs = {"_into": "rf", "_seed": 0, "_student": None, "_cache": tmp_path / "kept.jsonl"}
        for _ in range(2):
            after = reasonflux_targets(
                groups, encoder="hashing", **judge, **needs, _all_groups=lambda: groups, _held={}
            )
        assert len(server.asked()) == 2
    assert [span.value for span in after[0].traces[0].spans["rf_quality"]] == [0.5, 1.0]
    assert reason_of(after[1].traces[0], "rf") == "quality_unreadable"


def test_two_sources_of_quality_are_one_sentence():
    with pytest.raises(OperatorError, match=r"score \(rf\): quality comes from spans .* or from a served model"):
        targets([], base_url="http://127.0.0.1:9", model="m")


# --- encoders ---


def student():
    shape = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
    settings = StudentSettings(from_config=shape, alphabet="0123456789+-*=;#")
    tokenizer = loading.load_tokenizer(settings)
    return loading.load_model(settings, tokenizer, seed=0), tokenizer


def test_the_students_vector_is_its_mean_hidden_state_whatever_stands_beside_it():
    encode = open_encoder("student", model=None, student=Student(student, "", owned=True), where="score (rf)")
    texts = ["1+2=3;", "4", "5-6*7=8;####9", ""]
    together = encode(texts)
    model, tokenizer = student()
    for row, text in zip(together[:3], texts, strict=False):
        with torch.no_grad():
            hidden = model.eval().base_model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
        alone = hidden.mean(0).numpy()
        assert np.allclose(row, alone / np.linalg.norm(alone), atol=1e-5)
    assert not together[3].any()


@pytest.mark.parametrize(
    ("name", "said"), [("student", "no student is available"), ("model2vec", "model2vec needs `encoder_model`")]
)
def test_an_encoder_that_cannot_be_opened_is_one_sentence(name, said):
    with pytest.raises(OperatorError, match=rf"score \(rf\): {said}.*[^.]\.$"):
        open_encoder(name, model=None, student=None, where="score (rf)")
