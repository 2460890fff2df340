"""IFEval's instructions: each rule on an answer that follows it and on one that does not, worked by hand."""

import pytest

from redistill.records import Outcome, make_problem, make_trace
from redistill.verify.instructions import RULES, instructions
from redistill.verify.relevance import has_gold

THREE = [
    {"id": "punctuation:no_comma"},
    {"id": "startend:quotation"},
    {"id": "keywords:existence", "keywords": ["sea"]},
]


def judged(answer, *listed):
    problem = make_problem("Write.", metadata={"instructions": list(listed)})
    return instructions(problem, make_trace(problem.id, answer))


CASES = [
    # (id, arguments, followed by, not followed by)
    ("keywords:existence", {"keywords": ["sea", "Sun"]}, "The SEA and the sun.", "The sea."),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "Sea, seaside.", "Sea."),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "less than"}, "Sea.", "Sea sea."),
    ("keywords:forbidden_words", {"forbidden_words": ["sea"]}, "The seaside.", "The sea."),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 3, "let_relation": "at least"}, "sEe me", "see"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two-three", "one two"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one, two", "one two three"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na\n***\nb", "a *** *** b"),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}, "It is.", None),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}, None, "It is. Yes."[:6]),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"}, 'So.\n\n"Then, go.', "So.\n\nNow, go."),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [town]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. More.", "Bye. PS more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.P.S more", "P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b\n**c**", "* a"),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", "My answer is perhaps."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a*"),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}, "Section 1\na\nSection 2\nb", "Section 1"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<song>>\nla", "<< >>"),
    ("combination:two_responses", {}, "a\n******\nb", "a ****** a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a song."}, "write a song.\nla", "La."),
    ("startend:end_checker", {"end_phrase": "Any other questions?"}, 'So. "any other questions?"', "Any other questions? No."),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "GO NOW please", "go now"),
    ("change_case:english_capital", {}, None, "GO now"),
    ("change_case:english_lowercase", {}, None, "Go"),
    ("punctuation:no_comma", {}, "so it is", "so, it is"),
    ("startend:quotation", {}, ' "so" ', '"so'),
    ("language:response_language", {"language": "hi"}, None, "all in Latin letters"),
]  # fmt: skip


@pytest.mark.parametrize(("id", "given", "good", "bad"), CASES)
def test_each_rule(id, given, good, bad):
    if good is not None:
        assert judged(good, {"id": id, **given}).outcome is Outcome.correct
    if bad is not None:
        found = judged(bad, {"id": id, **given})
        assert (found.outcome, found.reason, found.score) == (Outcome.incorrect, f"not_followed: {id}", 0.0)


def test_every_instruction_has_a_case():
    assert {id for id, *_ in CASES} == set(RULES) and len(RULES) == 25


@pytest.mark.parametrize(
    ("id", "given", "answer"),
    [
        ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}, "Dr. Who. Mr. No. Go."),
        ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "CANNOT"),
        ("change_case:english_capital", {}, "GO"),
        ("language:response_language", {"language": "de"}, "los"),
        ("language:response_language", {"language": "hi"}, "अच्छा"),
    ],
)
def test_what_no_rule_can_decide_is_undecided(id, given, answer):
    found = judged(answer, {"id": id, **given})
    assert (found.outcome, found.reason) == (Outcome.ungradable, f"not_certain: {id}")


def test_all_must_be_followed_and_the_share_is_the_score():
    assert judged('"the sea"', *THREE).outcome is Outcome.correct
    two = judged('"the hill"', *THREE)
    assert (two.outcome, two.reason, two.score) == (Outcome.incorrect, "not_followed: keywords:existence", 2 / 3)
    certain = judged("a, B", {"id": "change_case:english_capital"}, {"id": "punctuation:no_comma"})
    assert certain.outcome is Outcome.incorrect and certain.score == 0


def test_thinking_is_no_part_of_the_answer():
    assert judged("<think>one, two</think>three", THREE[0]).outcome is Outcome.correct
    assert judged("<think>one", THREE[0]).outcome is Outcome.truncated
    assert judged("<think>one</think> ", THREE[0]).outcome is Outcome.no_answer


def test_what_is_no_list_of_known_instructions_is_ungradable():
    assert judged("a", {"id": "made:up"}).reason == "unknown_instruction: made:up"
    assert judged("a", {"id": "keywords:existence"}).outcome is Outcome.ungradable
    assert judged("a").reason == "no_instructions"
    assert has_gold(make_problem("Write.", metadata={"instructions": THREE})) and not has_gold(make_problem("Write."))
