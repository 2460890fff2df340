"""Text for people: nothing hidden, nothing lost without being counted."""

from markupsafe import Markup

from redistill.report.blocks import Tag
from redistill.report.render import is_short_name, with_breaks
from redistill.report.text import (
    cut,
    duration,
    first_difference,
    interval,
    join,
    number,
    percent,
    ranges_from,
    said_end,
    short,
    spans_of,
    visible,
)


def test_hidden_characters_become_signs_and_letters_stay() -> None:
    assert visible("a\u202eb\u200d\ufeff\x07\x9f\u2028\ud800é漢\t\n") == (
        "a⟨U+202E⟩b⟨U+200D⟩⟨U+FEFF⟩␇⟨U+009F⟩⟨U+2028⟩⟨U+D800⟩é漢\t\n"
    )
    assert visible("windows\r\nline\rend") == "windows\nline␍end"


def test_markup_numbers_and_none_pass() -> None:
    assert visible(Markup("<b>\u200b")) == "<b>\u200b" and visible(3) == 3 and visible(None) == "–"


def test_a_cut_counts_what_it_left_out() -> None:
    spans = cut("a" * 500 + "b" * 400 + "c" * 300, 500, 300)
    assert spans == [("", "a" * 500), ("cut", "400 characters left out"), ("", "c" * 300)]
    assert cut("x" * 879, 500, 300) == [("", "x" * 879)]  # 79 fewer would not be worth the notice


def test_the_first_difference_is_stepped_back_to_its_word() -> None:
    assert first_difference("2*3=6;6+1=7", "2*3=6;6+1=8") == 10  # "7" against "8", in a line without spaces
    assert first_difference("x+1", "x-1") == 1
    assert first_difference("abc\nd", "abc\ne") == 4
    assert first_difference("so x = 12 holds", "so x = 13 holds") == 7  # before "12", not inside it
    assert first_difference("same", "same and more") == 4
    assert first_difference("a" * 100 + "b", "a" * 100 + "c") == 100  # a word without end is not stepped back over


def test_spans_hold_the_whole_text_when_it_is_short() -> None:
    spans = spans_of(ranges_from("so x = 12 holds", 7), "so x = 12 holds")
    assert spans == [("shared", "so x = "), ("mark", "12"), ("", " holds")]
    assert said_end(spans_of(ranges_from("same", 4), "same"), True) == [("shared", "same"), ("mark", "(ends here)")]


def test_long_shared_starts_are_cut_in_their_middle() -> None:
    text = "s " * 1000 + "end"
    spans = spans_of(ranges_from(text, 2000), text)
    assert [kind for kind, _ in spans] == ["shared", "cut", "shared", "mark"]
    assert spans[1][1] == "1,680 characters left out"  # 2000 - 2 * 160


def test_numbers_read_as_numbers() -> None:
    assert percent(0.8412) == "84.1" and percent(-0.05) == "−5.0" and percent(float("nan")) is None
    assert interval((0.801, 0.875)) == "80.1\u00a0to\u00a087.5"
    assert (duration(4510), duration(12.34), duration(300)) == ("1 h 15 min", "12.3 s", "5 min")
    assert (number(0.35), number(5120), number(2e-7), number(True), number(None)) == (
        "0.35",
        "5,120",
        "2e-07",
        "True",
        None,
    )
    assert join(["a"]) == "a" and join(["a", "b", "c"]) == "a, b and c"
    assert short("word " * 100, 20).count("…") == 1


def test_long_words_of_a_cell_break_behind_their_signs_and_short_names_do_not_break():
    assert str(with_breaks("corpus.sources.0.options.path")) == "corpus.<wbr>sources.<wbr>0.<wbr>options.<wbr>path"
    assert (
        str(with_breaks("/data/<b>/a_long_folder/x.jsonl"))
        == "/<wbr>data/&lt;b&gt;/<wbr>a_<wbr>long_<wbr>folder/<wbr>x.<wbr>jsonl"
    )
    assert with_breaks("grpo-random-0") == "grpo-random-0"
    assert is_short_name(Tag("grpo-random-0", 1)) and is_short_name(0.5) and not is_short_name("a" * 25)
