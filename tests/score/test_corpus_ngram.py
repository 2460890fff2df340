"""The most frequent run of a trace's words is counted over the whole corpus, as a plain count of tuples finds it."""

import collections
import importlib
import random

import numpy as np
import pytest

from redistill.records import Group, make_problem, make_trace
from redistill.score.corpus_ngram import corpus_ngram, counted, run_hashes


def corpus(*texts):
    groups = []
    for number, text in enumerate(texts):
        problem = make_problem(f"problem {number}")
        groups.append(Group(problem, (make_trace(problem.id, text),)))
    return groups


def measured(groups, **options):
    after = corpus_ngram(groups, **options, _into="ngram", _all_groups=lambda: iter(groups), _held={})
    return [trace.scores["ngram"] for group in after for trace in group.traces]


def test_runs_are_counted_within_and_across_traces() -> None:
    groups = corpus("a b c d", "x a b c", "a b c a b c", "q w e", "a b", "")
    #   "a b c" stands in the first, the second and twice in the third
    assert measured(groups, ngram=3) == [4, 4, 4, 1, 0, 0]


def test_a_plain_count_of_tuples_says_the_same(monkeypatch) -> None:
    generator = random.Random(3)
    texts = [" ".join(generator.choice("abc") for _ in range(generator.randrange(0, 60))) for _ in range(40)]
    runs = [[tuple(words[at : at + 4]) for at in range(len(words) - 3)] for words in map(str.split, texts)]
    counts = collections.Counter(run for own in runs for run in own)
    wanted = [max((counts[run] for run in own), default=0) for own in runs]
    groups = corpus(*texts)
    assert measured(groups, ngram=4) == wanted
    assert max(wanted) > 20  # it tells something
    monkeypatch.setattr(importlib.import_module("redistill.score.corpus_ngram"), "_BATCH", 50)  # many sorted pieces
    whole = counted(lambda: iter(groups), 4, 1 << 30)
    parts = counted(lambda: iter(groups), 4, 2000)  # many passes over the corpus
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)
    assert measured(groups, ngram=4) == wanted


@pytest.mark.parametrize("words", ["a b c", "grün ü \ud800", "1 1 1"])
def test_the_same_words_have_one_hash_wherever_they_stand(words) -> None:
    alone = run_hashes(words, 3)
    assert len(alone) == 1 and run_hashes(f"some words before {words} and after", 3)[3] == alone[0]
    assert run_hashes("c b a", 3)[0] != run_hashes("a b c", 3)[0]


@pytest.mark.parametrize(
    "phrase", ["我们现在来看一下这个问题的答案是什么呢然后再检查", "ตอนนี้เราจะแก้สมการโดยการบวกจำนวนเดียวกัน"]
)
def test_boilerplate_of_scripts_without_spaces_is_counted(phrase) -> None:
    """White space alone would make one word of it, and find no run of ten."""
    groups = corpus(*(f"{number} {phrase} {number}" for number in range(6)), "one two three 四五")
    assert measured(groups, ngram=10) == [6] * 6 + [0]
    assert measured(groups, ngram=5)[-1] == 1  # three words of letters and two of one sign each
