"""Each filter by hand: what it drops, with which word, and what it lets pass."""

import pytest

from redistill.config.binding import bind
from redistill.config.drop_reasons import REASONS
from redistill.config.tables import FilterSettings
from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.select.filters import (
    FILTERS,
    Side,
    completion_length,
    language,
    malformed_tags,
    no_answer,
    pass_rate,
    prompt_length,
    repetition,
    spread,
    thinking,
    truncated,
)

PROBLEM = make_problem("What is 2 + 2?", answer="4")


def side(text="4", part="chosen", outcome="correct", others=(), prompt_tokens=5, **fields):
    """A side whose group holds one more trace for each outcome of `others`; a token a word and one for the end."""
    trace = make_trace(PROBLEM.id, text, verdicts={FINAL: Verdict(Outcome(outcome))}, **fields)
    siblings = [
        make_trace(PROBLEM.id, f"other {i}", verdicts={FINAL: Verdict(Outcome(o))}) for i, o in enumerate(others)
    ]
    return Side(part, Group(PROBLEM, (trace, *siblings)), trace, prompt_tokens, len(text.split()) + 1)


def test_lengths_are_bounds_that_still_fit():
    assert prompt_length(side(prompt_tokens=8), most=8) is None
    assert prompt_length(side(prompt_tokens=9), most=8) == "prompt_too_long"
    assert prompt_length(side(prompt_tokens=3), least=4) == "prompt_too_short"
    assert prompt_length(side(prompt_tokens=4), least=4) is None
    nine = "w " * 9  # ten tokens with the end of turn
    assert completion_length(side(nine), least=10, most=10) is None
    assert completion_length(side(nine, "completion"), most=9) == "completion_too_long"
    assert completion_length(side(nine, "rejected"), least=11) == "rejected_too_short"
    assert completion_length(side("w " * 10**4)) is prompt_length(side(prompt_tokens=10**6)) is None


@pytest.mark.parametrize(
    "text, found, lax",
    [
        ("<think>2+2</think>4", None, None),
        ("2+2</think>4", None, None),  # the template opened it
        ("4", "chosen_no_thinking", None),
        ("<think>\n</think>4", "chosen_no_thinking", None),
        ("<think>2+2", "chosen_unfinished_thinking", "chosen_unfinished_thinking"),
        ("<think>a</think>4<think>b", "chosen_unfinished_thinking", "chosen_unfinished_thinking"),
    ],
)
def test_thinking_is_there_and_ended(text, found, lax):
    assert thinking(side(text)) == found
    assert thinking(side(text), required=False) == lax


def test_a_cut_trace_is_known_by_its_finish_reason_or_its_verdict():
    assert truncated(side(finish_reason="length")) == "chosen_truncated"
    assert truncated(side(part="rejected", outcome="truncated")) == "rejected_truncated"
    assert truncated(side(finish_reason="stop")) is truncated(side()) is None


def test_a_text_in_a_loop_is_turned_away_and_the_options_reach_the_measure():
    loop = "I think the answer is 4 . " * 20
    assert repetition(side(loop, "rejected")) == "rejected_repetition"
    assert repetition(side(loop), min_words=10_000) is None
    # 140 words of which all but the first 7 were said before in the same order: 0.95, 20 times over, in 140 words
    assert repetition(side(loop), max_share=1.0, loop_times=21) is None
    assert repetition(side(loop), max_share=1.0, loop_times=2, loop_words=141) is None
    assert repetition(side(loop), max_share=1.0, loop_times=2, loop_words=100) == "chosen_repetition"
    assert repetition(side(loop), ngram=141, loop_times=21) is None  # there are no n-grams of 141 words
    assert repetition(side("Two and two are four.")) is None


ENGLISH = "First we count the apples that are left in the basket and then we add the ones she bought on the market. "
CHINESE = "我们首先计算篮子里剩下的苹果数量然后加上她在市场上购买的苹果所以答案是四个苹果因为这是一个简单的加法问题需要仔细检查每一步。"
FRENCH = "Nous comptons d'abord les pommes qui restent dans le panier, puis nous ajoutons celles qu'elle a achetées. "


def test_another_language_is_seen_also_in_the_middle_of_a_text():
    assert language(side(ENGLISH * 5)) is None
    assert language(side(CHINESE * 3)) == language(side(FRENCH * 5)) == "chosen_other_language"
    mixed = ENGLISH * 6 + CHINESE * 3 + ENGLISH * 6
    assert language(side(mixed)) == "chosen_other_language"
    assert language(side(mixed), max_share=0.9) is language(side(mixed), allowed=["en", "zh"]) is None
    assert language(side(CHINESE * 3), max_share=1.0) is None  # all of it, which is not more than all of it
    assert language(side(CHINESE * 3), min_probability=1.01) is None  # nobody is as sure as that


@pytest.mark.parametrize(
    "text",
    [
        "இரண்டும் இரண்டும் சேர்ந்தால் நான்கு என்று நமக்குத் தெரியும், எனவே விடை நான்கு. இப்போது சமன்பாட்டைத் தீர்ப்போம்.",
        "យើងដឹងថាពីរបូកពីរស្មើនឹងបួន ដូច្នេះចម្លើយគឺបួន។ ឥឡូវនេះយើងដោះស្រាយសមីការ។",
        "نَعْلَمُ أَنَّ اثْنَيْنِ زَائِد اثْنَيْنِ يُسَاوِي أَرْبَعَةً، لِذَلِكَ الْجَوَابُ هُوَ أَرْبَعَةٌ.",
        "หนึ่งบวกหนึ่งเท่ากับสอง ดังนั้นคำตอบคือสอง ตอนนี้เราจะแก้สมการ",
        "हम जानते हैं कि दो और दो का योग चार होता है, इसलिए उत्तर चार है।",
    ],
)
def test_scripts_whose_vowels_are_marks_are_read(text):
    assert language(side(text)) == "chosen_other_language"


def test_formulas_and_a_few_words_are_of_no_language():
    assert language(side("$x^2 + \\frac{a}{b}$ \\boxed{42} qed")) is None
    assert language(side("\\[ \\text{Wahrscheinlichkeit} \\] = 0.5 " * 20)) is None


@pytest.mark.parametrize(
    "text, found",
    [
        ("<think>a</think><answer>4</answer>", None),
        ("a</think>4", None),  # the template opened it
        ("a < b > c and <b>bold</b>", None),
        ("<think>a</think>4</think>", "chosen_malformed_tags"),
        ("<think>a<think>b</think></think>4", "chosen_malformed_tags"),
        ("<answer>4", "chosen_malformed_tags"),
        ("4</answer>", "chosen_malformed_tags"),
        ("4</s></s>", "chosen_special_token"),
        ("4<|im_end|>", "chosen_special_token"),
        ("4<｜end▁of▁sentence｜>", "chosen_special_token"),
        ("[INST] 2+2 [/INST] 4", "chosen_special_token"),
        ("|x| < 3 or |y|", None),
    ],
)
def test_tags_open_and_close_in_turn(text, found):
    assert malformed_tags(side(text)) == found


def test_tags_and_special_tokens_can_be_chosen():
    assert malformed_tags(side("4</s>"), special_tokens=False) is None
    assert malformed_tags(side("<solution>4"), tags=["solution"]) == "chosen_malformed_tags"


def test_no_answer_is_what_any_verifier_says():
    unread = {"exact": Verdict(Outcome.no_answer), FINAL: Verdict(Outcome.correct)}
    trace = make_trace(PROBLEM.id, "four", verdicts=unread)
    assert no_answer(Side("completion", Group(PROBLEM, (trace,)), trace, 5, 2)) == "completion_no_answer"
    assert no_answer(side(outcome="incorrect")) is None
    assert no_answer(side(outcome="truncated")) == "chosen_no_answer"  # cut off before it could say one


def test_too_easy_and_too_hard_by_the_pass_rate_of_the_group():
    three_of_four = side(others=["correct", "correct", "incorrect", "timeout"])
    assert pass_rate(three_of_four, least=0.75, most=0.75) is None
    assert pass_rate(three_of_four, most=0.74) == "too_easy"
    assert pass_rate(three_of_four, least=0.76) == "too_hard"
    assert pass_rate(three_of_four, least=0.76, min_traces=5) is None
    assert pass_rate(side(outcome="timeout"), least=0.9) is None
    assert pass_rate(side(outcome="timeout"), least=0.9, min_traces=0) is None  # no trace was judged: no share


def graded(*scores):
    """A side whose group has a graded verdict per score; None is one that nobody could judge."""
    problem = make_problem("p")
    traces = tuple(
        make_trace(problem.id, str(n)).with_verdict(
            "final", Verdict(Outcome.disagree if score is None else Outcome.incorrect, score=score)
        )
        for n, score in enumerate(scores)
    )
    return Side("chosen", Group(problem, traces), traces[0], 5, 5)


def test_the_spread_of_a_problem_s_scores_over_their_mean():
    # 0.25, 0.75: mean 0.5, deviation 0.25, ratio 0.5; nobody's verdict is not a score
    assert spread(graded(0.25, 0.75, None), least=0.5, most=0.5) is None
    assert spread(graded(0.25, 0.75, None), least=0.51) == "spread_too_small"
    assert spread(graded(0.25, 0.75), most=0.49) == "spread_too_large"
    assert spread(graded(0.25, 0.75), best=0.76) == "no_good_score" and spread(graded(0.25, 0.75), best=0.75) is None
    assert spread(graded(0.0, 0.0), least=0.1) == "spread_too_small"  # all alike: no spread, though the mean is 0
    assert spread(graded(0.3), least=0.9) is None and spread(graded(0.3), least=0.9, min_traces=1) == "spread_too_small"
    # without a graded verifier right is 1 and wrong is 0: here 0.5 over 0.5
    assert spread(side(others=["incorrect"]), least=1.0, most=1.0) is None


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_lets_an_ordinary_trace_pass(name):
    text = "<think>Two and two make four.</think> The answer is \\boxed{4}."
    options = {"by": "quality"} if name == "score" else {}
    assert FILTERS[name](side(text, others=["incorrect"], scores={"quality": 0.5}), **options) is None


def test_every_reason_of_a_filter_is_explained():
    words = {
        prompt_length(side(prompt_tokens=9), most=8),
        prompt_length(side(prompt_tokens=1), least=2),
        completion_length(side("a b"), most=1),
        completion_length(side("a b"), least=9),
        thinking(side("4")),
        thinking(side("<think>")),
        truncated(side(finish_reason="length")),
        repetition(side("no " * 99)),
        language(side(FRENCH * 5)),
        malformed_tags(side("<answer>")),
        malformed_tags(side("</s>")),
        no_answer(side(outcome="no_answer")),
        pass_rate(side(), most=0.5),
        spread(graded(0.25, 0.75), least=0.9),
        spread(graded(0.25, 0.75), most=0.1),
        spread(graded(0.25, 0.75), best=0.9),
        pass_rate(side(outcome="incorrect"), least=0.5),
    }
    assert len(words) == 17 and None not in words
    assert {word.removeprefix("chosen_") for word in words} <= set(REASONS)


def test_a_recipe_says_on_which_parts_a_filter_works():
    assert FilterSettings.model_validate("repetition").on == ["completion", "chosen", "rejected"]
    written = FilterSettings.model_validate({"name": "pass-rate", "most": 0.9, "on": ["completion"]})
    assert (written.options, written.on) == ({"most": 0.9}, ["completion"])
    assert FilterSettings.model_validate(written.model_dump()) == written
    assert bind(FILTERS, written, "select.filters.0").keywords == {"most": 0.9}
    with pytest.raises(OperatorError, match="mos: unknown key; did you mean 'most'"):
        bind(FILTERS, FilterSettings.model_validate({"name": "pass-rate", "mos": 1}), "select.filters.0")
