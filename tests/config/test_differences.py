"""What settings do not share: the paths and values that differ, nothing else; and cut names that still differ."""

from redistill.config.differences import MISSING, differing_paths, differing_words, distinct


def recipe(problems: int) -> dict:
    sources = [{"name": "two-habits", "problems": problems, "traces": 4, "note": "x" * 200}]
    return {"corpus": {"sources": sources, "dev_fraction": 0.07}, "evaluate": {"benchmarks": ["dev"]}}


def test_the_value_inside_a_list_of_tables_is_named_by_its_path():
    assert differing_paths([recipe(4300), recipe(1200)]) == {"corpus.sources.0.problems": [4300, 1200]}


def test_what_one_lacks_comes_last_and_null_is_like_nothing():
    trees = [{"b": 1, "a": {"x": 1}, "n": None}, {"a": {"x": 2}}]
    assert list(differing_paths(trees).items()) == [("a.x", [1, 2]), ("b", [1, MISSING])]
    assert differing_paths([recipe(1), recipe(1)]) == {}


def test_cut_values_show_where_they_differ():
    start = "a long shared opening " * 5
    one, other = differing_words([f"{start}4300 problems", f"{start}1200 problems"], 30)
    assert "4300" in one and "1200" in other and max(len(one), len(other)) <= 34


def test_names_that_differ_never_look_the_same():
    common = "redi, learning_rate 0.0001, rejected_weight "
    names = [f"{common}{w}, beta 0.{'1' * 40}" for w in (0.5, 0.55, 0.8)] + ["sft"]
    cut = distinct(names, 24)
    assert len(set(cut)) == 4 and cut[3] == "sft" and all(len(c) <= 32 for c in cut)
    far = ["x" * 100 + "a" + "y" * 300 + "1", "x" * 100 + "a" + "y" * 300 + "2", "z"]
    assert len(set(distinct(far, 20))) == 3
    assert distinct(["a", "a"], 24) == ["a", "a"]  # the same name twice is the same name
