"""Repetition and reflection, counted by hand."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.text.repetition import LOOP_TIMES, LOOP_WORDS, longest_loop, reflections, repeated_share, repeats, words


def distinct(count, prefix="w"):
    """That many words of which no two are equal: letters only, for a digit would part a word in two."""
    return " ".join(prefix + "".join(chr(97 + int(d)) for d in str(i)) for i in range(count))


def test_words_are_runs_of_letters_numbers_ideographs_and_single_signs():
    assert words("Add 12+3.5 to X!") == ["add", "12", "+", "3", ".", "5", "to", "x", "!"]
    assert words("答えは4だ。") == ["答", "え", "は", "4", "だ", "。"]
    assert words(" \n") == []


def test_the_share_of_words_said_before_by_hand():
    # 4-grams of "a b c d a b c d": the fifth (a b c d) was seen; its 4 words of 8 are repeated
    assert repeated_share("a b c d a b c d", ngram=4) == 0.5
    # "a b c d e a b c d e": the 4-grams abcd and bcde come again, together 5 words of 10, none counted twice
    assert repeated_share("a b c d e a b c d e", ngram=4) == 0.5
    # one letter ten times: the 4-gram at places 1 to 6 was seen at 0; they cover words 1 to 9 of 10
    assert repeated_share("a " * 10, ngram=4) == 0.9
    assert repeated_share("a b c", ngram=4) == repeated_share("") == 0.0


def test_a_loop_is_one_phrase_in_a_row():
    phrase = "so the answer is 4 ."  # 6 words
    assert longest_loop(words(phrase * 10)) == 60
    assert longest_loop(words(phrase * (LOOP_TIMES - 1))) == 0
    assert longest_loop(words(distinct(100) + " " + phrase * 10)) == 60
    assert longest_loop(words(distinct(100))) == 0


def test_a_phrase_that_returns_now_and_then_is_no_loop():
    text = " ".join(f"so the answer is not yet known here {distinct(12, prefix)}" for prefix in "bcdefghij")
    assert longest_loop(words(text)) == 0 and not repeats(text)


def test_a_sound_text_that_ends_in_a_loop_repeats():
    head, loop = distinct(1000), "wait no " * 40
    assert repeated_share(head + " " + loop) < 0.1
    assert repeats(head + " " + loop)
    assert repeats("The answer is 4. " * 30) and repeats("</s>" * 200)


def test_short_texts_and_sums_do_not_repeat():
    assert not repeats("no " * 40)  # 40 words: too short to judge
    assert not repeats("2*2*2*2*2*2*2*2 = 256, and " + distinct(60))


def test_every_threshold_can_be_moved():
    twice = distinct(50) + " " + distinct(50)
    assert repeated_share(twice) == 0.5
    assert not repeats(twice) and repeats(twice, max_share=0.49)
    assert repeats("no " * 40, min_words=10)
    assert not repeats(distinct(1000) + " no" * 80, loop_words=81)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("ab1+"), max_size=60), st.integers(1, 6))
def test_the_share_is_what_marking_words_one_by_one_gives(letters, ngram):
    grams = [tuple(letters[i : i + ngram]) for i in range(len(letters) - ngram + 1)]
    marked = {i + k for i, gram in enumerate(grams) if gram in grams[:i] for k in range(ngram)}
    expected = len(marked) / len(letters) if letters else 0.0
    assert repeated_share(" ".join(letters), ngram=ngram) == pytest.approx(expected)


@pytest.mark.parametrize("period", [1, 2, 5, 40])
@pytest.mark.parametrize("times", [LOOP_TIMES, LOOP_TIMES + 3])
def test_a_planted_loop_is_measured_to_the_word(period, times):
    rng = random.Random(period)
    phrase = [f"{''.join(rng.choices('abcdefgh', k=9))}" for _ in range(period)]
    text = f"{distinct(30)} {' '.join(phrase * times)} {distinct(30, 'z')}"
    long_enough = period * times > 8  # an n-gram must fit into it and come again
    assert longest_loop(words(text)) == (period * times if long_enough else 0)
    assert repeats(text) or period * times < LOOP_WORDS


def test_reflections_are_counted_and_ordinary_words_are_not():
    assert reflections("2+2=5. Wait, let me check: 4. Hmm, alternatively let's verify.") == 5
    assert reflections("The waiter was waiting. Let me give the answer.") == 0
