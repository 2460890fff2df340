"""Marks of images in prompts: they are read back as they were written, and a statement of unknown origin can write none."""

from redistill.records import Image, make_problem
from redistill.text.image_marks import image_mark, images_in, pieces, unmarked, with_names
from redistill.text.prompts import TEMPLATES, render

ONE, OTHER = "1" * 64, "2" * 64


def test_marks_are_read_back_in_their_order():
    text = f"a{image_mark(OTHER)}b{image_mark(ONE)}{image_mark(ONE)}"
    assert images_in(text) == (OTHER, ONE, ONE)
    assert pieces(text) == [("a", OTHER), ("b", ONE), ("", ONE), ("", None)]
    assert with_names(text) == "a[image 22222222]b[image 11111111][image 11111111]"
    assert (images_in("plain"), pieces("plain"), with_names("plain")) == ((), [("plain", None)], "plain")


def test_a_statement_writes_no_mark_and_keeps_its_length():
    statement = f"look at {image_mark(ONE)} and <|redistill:image:zz|>"
    assert images_in(unmarked(statement)) == () and len(unmarked(statement)) == len(statement)
    problem = make_problem(statement, images=(Image("a.png", OTHER),))
    assert images_in(render(problem, "{image}{problem}", images=True)) == (OTHER,)


def test_images_stand_where_the_template_says_or_before_everything():
    problem = make_problem("q {image}?", images=(Image("a.png", ONE), Image("b.png", OTHER)))
    marks = image_mark(ONE) + image_mark(OTHER)
    assert render(problem, "See {image}: {problem}", images=True) == f"See {marks}: q {{image}}?"
    assert render(problem, "{problem} ({image})", images=True) == f"q {{image}}? ({marks})"
    assert render(problem, "Q: {problem}", images=True) == f"{marks}Q: q {{image}}?"
    assert render(problem, "See {image}: {problem}") == "See : q {image}?"  # a student that reads text alone


def test_the_prompt_of_visualthinker_names_no_answer_tag_and_shows_the_image_first():
    text = render(make_problem("How many?", images=(Image("a.png", ONE),)), TEMPLATES["visual-thinker"], images=True)
    assert text.startswith(image_mark(ONE)) and "<answer>" not in text
    assert text.endswith("User: How many?\nAssistant: Let me solve this step by step.\n")
