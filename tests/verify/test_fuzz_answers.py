"""Any text against any gold answer is a verdict: no verifier, and nothing before it, breaks off, whatever stands in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import SOAK, drawn
from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import VERIFIERS, VerifierPool
from redistill.verify.answers import ANCHORS, extract
from redistill.verify.gold import answer_type, check_gold, readable
from redistill.verify.reading import clean, read_choice, read_number, split_items, split_unit

PIECES = ["\\boxed{", "}", "{", "\\frac", "\\frac{1}{2}", "1", "0", "12,5", "1e9", "%", "^", "_", "(", ")", "[", "]", ",", "/", "-", "\\", "$",
          "the answer is ", "\n", " ", "A", "(B)", "or", "\\text{cm}", "####", "<answer>", "</answer>", '{"answer": "', '"}', "²", "½", "∞",
          "\ud800", "\x00", "\u202e", "x=", "\\pi", "i", "\\sqrt{", "±", "9" * 5_000, "1e999999", "1/0", "0/0", "9^9^9^9", "\\begin{pmatrix}"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=30)


@drawn(50)
@given(TEXTS)
def test_any_text_is_read(text: str) -> None:
    for anchors in (None, *([name] for name in ANCHORS)):
        found = extract(text, anchors)
        assert found is None or isinstance(found, str)
    (
        clean(text),
        read_number(text),
        read_choice(text),
        split_items(text),
        split_unit(text),
        answer_type(text),
        readable(text),
    )


@pytest.mark.parametrize("name", sorted(set(VERIFIERS) - {"math-verify", "cascade"}))
def test_any_two_texts_have_a_verdict(name: str) -> None:
    @drawn(60)
    @given(TEXTS, TEXTS)
    def judged(gold: str, completion: str) -> None:
        problem = make_problem("p", answer=gold)
        found = VERIFIERS[name](problem, make_trace(problem.id, f"So \\boxed{{{completion}}}"))
        assert isinstance(found.outcome, Outcome) and found.reason
        check_gold(problem, make_trace(problem.id, completion))

    judged()


LONG = [
    piece * 2_000
    for piece in ("9", "{", "\\frac{1}", "1/", "^2", "(", "[1,", "x+", "\\sqrt{", "-", "\\", "1,2;", "\\text{a}")
]


def test_long_and_wild_answers_have_verdicts_from_the_workers() -> None:
    """What takes long is `timeout`; a verifier that raises would end the run, and the test with it."""
    golds = ["4", "9" * 5_000, "1e999999", "9^9^9^9", "x^{10^{10}}", "\\frac{1}{0}", "[1, 2", "\\begin{pmatrix} 1"]
    pairs = [("9" * 5_000, "9" * 5_000 + "1"), ("4", "9" * 5_000), ("1e999999", "1e999998")]
    if SOAK:
        pairs += [(gold, text) for gold in golds for text in golds] + [("4", text) for text in LONG]
    traces = [
        (p := make_problem(f"q{i}", answer=gold), make_trace(p.id, f"\\boxed{{{text}}}"))
        for i, (gold, text) in enumerate(pairs)
    ]
    with VerifierPool(dict(VERIFIERS), workers=1, timeout_seconds=0.5, memory_mb=1024) as pool:
        found = list(pool.judge(iter(traces)))
    assert len(found) == len(traces) and all(set(one) == set(VERIFIERS) for one in found)
