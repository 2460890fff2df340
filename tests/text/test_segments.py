"""Self-correction traces come apart into attempts and verifications, and go together again."""

import random

import pytest

from redistill.text.segments import (
    CUES,
    Segment,
    as_spans,
    body_of,
    ends_in_one_verdict,
    has_cue,
    read_verdict,
    segments,
    write,
)

S2R, COMPACT = CUES["s2r"], CUES["compact"]
NO, YES = S2R.incorrect, S2R.correct


def test_the_parts_of_a_trace_written_by_hand():
    text = f"2+2=5\n\nWait, let me recheck my solution.\n2+2 is 4. {NO}\n\nLet me try again.\n2+2=4\n\nWait, let me recheck my solution.\n4-2=2. {YES}"
    assert segments(text) == [
        Segment("solve", 0, 5, None),
        Segment("verify", 5, 86, "incorrect"),
        Segment("solve", 86, 111, None),
        Segment("verify", 111, len(text), "correct"),
    ]
    assert text[86:111] == "\n\nLet me try again.\n2+2=4"
    assert segments("3-4=8;####8\n?3-4=9;N\n!3-4=9;####9\n?3-4=9;Y", cues=COMPACT) == [
        Segment("solve", 0, 11, None),
        Segment("verify", 11, 20, "incorrect"),
        Segment("solve", 20, 33, None),
        Segment("verify", 33, 42, "correct"),
    ]


@pytest.mark.parametrize("name", CUES)
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_what_is_written_is_read_back_and_joins_to_the_same_text(name, k):
    cues = CUES[name]
    attempts = [f"{i}+{i}=7; so é {i}" for i in range(k)]
    checks = [f"{i}-{i}=0 {cues.incorrect if i < k - 1 else cues.correct}" for i in range(k)]
    text = write(attempts, checks, cues)
    found = segments(text, cues=cues)
    assert "".join(text[part.start : part.end] for part in found) == text
    assert [part.kind for part in found] == ["solve", "verify"] * k
    assert [part.verdict for part in found if part.kind == "verify"] == ["incorrect"] * (k - 1) + ["correct"]
    assert [body_of(text, part, cues) for part in found][0::2] == attempts
    assert [body_of(text, part, cues) for part in found][1::2] == checks


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ("s", "no_verification"), ("v", "no_attempt"), ("ss", "two_attempts"), ("svv", "two_verifications"), ("ssv", "two_attempts"),
        ("svs", "not_verified"), ("svss", "two_attempts"), ("vs", "no_attempt"), ("", "empty"),
    ],
)  # fmt: skip
def test_the_grammar_refuses_what_does_not_alternate(parts, reason):
    # the first attempt has no cue, every other part has
    text = "".join(
        f"{S2R.verify}so {NO}" if kind == "v" else f"{S2R.retry if place else ''}it is {place}"
        for place, kind in enumerate(parts)
    )
    found = segments(text)
    assert found == reason


def test_a_cue_with_nothing_behind_it_is_refused():
    assert segments(f"2{S2R.verify}   {S2R.retry}3{S2R.verify}{YES}") == "blank_part"
    assert segments(f"2{S2R.verify}") == "blank_part"


def test_grammar_fuzz():
    """Any sequence of parts is either solve, verify, solve, verify ... and is cut exactly there, or is refused; never wrong text."""
    rng = random.Random(0)
    cues = [CUES["s2r"], CUES["compact"]]
    accepted = 0
    for _ in range(3000):
        cue = rng.choice(cues)
        kinds = "".join(rng.choice("sv") for _ in range(rng.randrange(1, 8)))
        if rng.random() < 0.5:
            kinds = "sv" * rng.randrange(1, 5)
        body = [rng.choice(["12+3", "x é\U0001f600", "a\n\nb", "(so)"]) for _ in kinds]
        text = "".join(
            (cue.verify if kind == "v" else cue.retry if place else "") + b
            for place, (kind, b) in enumerate(zip(kinds, body, strict=True))
        )
        found = segments(text, cues=cue)
        if kinds == "sv" * (len(kinds) // 2):
            accepted += 1
            assert not isinstance(found, str)
            assert "".join(p.kind[0] for p in found) == kinds
            assert "".join(text[p.start : p.end] for p in found) == text
            assert [body_of(text, p, cue) for p in found] == [b.strip() for b in body]
        else:
            assert isinstance(found, str), (kinds, found)
    assert accepted > 1000


def test_random_text_never_loses_a_character():
    rng = random.Random(1)
    pieces = [
        "Wait, let me recheck my solution",
        "WAIT,  let me\nrecheck my solution.",
        "let me try again",
        ".",
        "\n",
        " ",
        "7",
        NO,
        "é",
    ]
    for _ in range(2000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(12)))
        found = segments(text)
        if not isinstance(found, str):
            assert "".join(text[p.start : p.end] for p in found) == text
            assert found[0].start == 0 and found[-1].end == len(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("so 4. Therefore, the answer is correct.", "correct"),
        ("Therefore, the answer is incorrect", "incorrect"),
        ("Therefore, the answer cannot be verified.", "undecided"),
        ("therefore,  the answer is\nincorrect. Therefore, the answer is correct.", "correct"),
        ("which matches the total, so it checks out", "correct"),
        ("the solution is not correct", "incorrect"),
        ("the answer isn't what I said: the result is wrong", "incorrect"),
        ("2*3 is 6, which does not match 5", "incorrect"),
        ("there is a mistake in line 2", "incorrect"),
        ("I cannot verify this", "undecided"),
        ("So the answer isn’t correct.", "incorrect"),
        ("the answer is right. No: the solution isn't right", "incorrect"),
        ("I can't say that the answer is correct.", "undecided"),
        ("I am not sure the result is right", "undecided"),
        ("I don't think the solution is correct. But 2*3 is 6, so the result is correct", "correct"),
        ("The answer was never correct.", None),
        ("This confirms that the answer is 4", "correct"),
        ("2*3 is 6", None),
        ("", None),
    ],
)
def test_what_a_verification_says(text, said):
    assert read_verdict(text, S2R) == said


def test_a_verification_that_was_asked_for_ends_in_exactly_one_verdict():
    assert ends_in_one_verdict(f"4-2 is 2. {YES}", S2R) == "correct"
    assert ends_in_one_verdict(f"4-2 is 2. **{NO}**\n", S2R) == "incorrect"
    assert ends_in_one_verdict("4-2 is 2. Therefore, the answer is correct!", S2R) == "correct"
    assert ends_in_one_verdict("it checks out", S2R) == "no_verdict"
    assert ends_in_one_verdict(f"{NO} No, wait. {YES}", S2R) == "several_verdicts"
    assert ends_in_one_verdict(f"{YES} I hope so", S2R) == "text_after_verdict"


def test_spans_tell_what_is_known_of_each_part():
    text = write(["5", "4"], [f"no {NO}", "hm"], S2R)
    found = segments(text)
    spans = as_spans(found, [False, None])
    assert [span.value for span in spans["solve"]] == [0.0, 0.5]
    assert [span.value for span in spans["verification"]] == [0.0, 0.5]
    assert [(s.start, s.end) for s in spans["solve"]] == [(p.start, p.end) for p in found if p.kind == "solve"]


def test_a_part_that_holds_a_cue_is_seen():
    assert has_cue("I think 4. wait, let me recheck my solution", S2R)
    assert not has_cue("I wait and recheck", S2R)
