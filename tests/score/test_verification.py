"""Verifications by a served model, by the teacher's own check and by a program: true ones are told from false ones."""

import pytest

from local_servers import scripted_server
from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.score.equations import checked_equations, equations
from redistill.score.verification import MANNERS, find_check, own_check, reasons_of, verification
from redistill.text.segments import CUES

S2R = CUES["s2r"]
PROBLEM = make_problem("What is 2+2?", answer="4")


def trace(text, outcome, extracted=None, problem=PROBLEM):
    return make_trace(problem.id, text).with_verdict(FINAL, Verdict(Outcome(outcome), extracted))


FOUR, ALSO_FOUR = trace("2+2=4. So 4", "correct", "4"), trace("It is 4", "correct", "4.0")
FIVE, ALSO_FIVE = trace("2+2=5. So 5", "incorrect", "5"), trace("Surely 5", "incorrect", " 5 ")
LATE = trace("2+2=", "truncated")
GROUP = Group(PROBLEM, (FIVE, FOUR, ALSO_FIVE, ALSO_FOUR, LATE))


def asked(tmp_path, base_url, groups=(GROUP,), **options):
    needs = {"_into": "v", "_seed": 0, "_cache": tmp_path / "r.jsonl", "_all_groups": lambda: groups, "_held": {}}
    return verification(groups, base_url=base_url, model="m", **options, **needs)


def answers(said):
    inner = ", ".join(f'"{piece}": "{text}"' for piece, text in said.items())
    return f"{{{inner}}}"


def test_each_distinct_answer_is_verified_once_and_truth_is_the_score(tmp_path):
    said = answers(
        {
            "So 5": f"5-2 is 3. {S2R.incorrect}",
            "Surely 5": f"5-2 is 3. {S2R.incorrect}",
            "4": f"4-2 is 2. {S2R.correct}",
        }
    )
    with scripted_server(tmp_path, answers=said) as server:
        (after,) = asked(tmp_path, server.base_url)
        bodies = server.asked()
    assert len(bodies) == 2  # one of the right traces, one of those that say 5
    prompt = bodies[0]["messages"][0]["content"]
    assert MANNERS["confirmative"] in prompt and S2R.undecided in prompt and "<solution>" in prompt
    notes = {t.completion: t.notes.get("v") for t in after.traces if "v" in t.notes}
    assert sorted(set(notes.values())) == [f"4-2 is 2. {S2R.correct}", f"5-2 is 3. {S2R.incorrect}"]
    assert [t.scores["v"] for t in after.traces if "v" in t.scores] == [1.0, 1.0]
    reasons = [t.notes.get("v_unscored") for t in after.traces]
    assert sorted(filter(None, reasons)) == ["same_answer", "same_answer", "undecided:truncated"]


def test_a_server_that_lies_is_scored_0_and_one_that_rambles_is_a_reason(tmp_path):
    lie = answers({"So 5": f"Fine. {S2R.correct}", "Surely 5": f"Fine. {S2R.correct}", "4": f"{S2R.correct} I think."})
    with scripted_server(tmp_path, answers=lie) as server:
        (after,) = asked(tmp_path, server.base_url)
    assert [t.scores["v"] for t in after.traces if "v" in t.scores] == [0.0]
    assert "text_after_verdict" in [t.notes.get("v_unscored") for t in after.traces]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("It is fine.", "no_verdict"),
        (f"{S2R.correct} {S2R.correct}", "several_verdicts"),
        (f"Hm. {S2R.undecided}", "undecided_verdict"),
        (f"Let me try again. {S2R.correct}", "cue_in_text"),
    ],
)
def test_a_reply_that_cannot_be_used_is_a_counted_reason(tmp_path, reply, reason):
    group = Group(PROBLEM, (FOUR,))
    with scripted_server(tmp_path, answers=answers({"4": reply})) as server:
        (after,) = asked(tmp_path, server.base_url, (group,))
    assert (after.traces[0].notes, after.traces[0].scores) == ({"v_unscored": reason}, {})


def test_a_server_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(OperatorError, match=r"127\.0\.0\.1:9"):
        asked(tmp_path, "http://127.0.0.1:9/v1", retries=0)


def test_more_answers_than_wanted_are_left_out_right_ones_first():
    wrong = tuple(trace(f"so {n}", "incorrect", str(n)) for n in range(5, 12))
    group = Group(PROBLEM, (*wrong, FOUR))
    reasons = reasons_of(group, 3, 0)
    assert reasons[FOUR.id] is None
    assert sorted(map(str, reasons.values())) == ["None"] * 3 + ["over_answers"] * 5
    assert reasons != reasons_of(group, 3, 1)  # another seed draws others


# --- the teacher's own check ------------------------------------------------------------------------------------------

CHECKED = "He has 3+4=7. Let's verify: 7-4 is 3, so the answer is correct.\n\\boxed{7}"


def test_the_section_that_checks_the_answer_is_found():
    start, end, said = find_check(CHECKED)
    assert (CHECKED[start:end], said) == ("Let's verify: 7-4 is 3, so the answer is correct.", "correct")
    assert find_check("He has 7.") == "no_check"
    assert find_check("Let me check. 7-4 is 3.") == "check_without_verdict"
    assert find_check(f"Let me check 3+4. This is correct: {'then on ' * 40}") in (
        "check_in_the_middle",
        "check_without_verdict",
    )
    assert find_check(f"Let me check 3+4. The result is correct. {'then on ' * 40}") == "check_in_the_middle"
    start, end, said = find_check("It is 8. To check: 8-4 is 4, which does not match 3. So 8.")
    assert said == "incorrect"


@pytest.mark.parametrize(("outcome", "truth"), [("correct", 1.0), ("incorrect", 0.0)])
def test_a_teachers_word_on_its_own_answer_is_true_or_false(outcome, truth):
    (after,) = own_check([Group(PROBLEM, (trace(CHECKED, outcome),))], _into="v")
    (one,) = after.traces
    assert one.scores == {"v": truth}
    assert one.notes == {"v": f"Let's verify: 7-4 is 3, so the answer is correct. {S2R.correct}"}
    start = CHECKED.index("Let's")
    assert one.spans == {"v": (Span(start, CHECKED.index("\n"), 1.0),)}


def test_own_checks_of_traces_nobody_could_judge_say_nothing():
    (after,) = own_check([Group(PROBLEM, (trace(CHECKED, "timeout"), trace("7", "correct")))], _into="v")
    assert [t.notes for t in after.traces] == [{"v_unscored": "undecided:timeout"}, {"v_unscored": "no_check"}]


# --- a program --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9 * $2 = $18", [("9 * 2", "18")]),
        ("16 - 3 - 4 = 9 eggs, 9 × 2 = 18.", [("16 - 3 - 4", "9"), ("9 * 2", "18")]),
        ("1,200 + 300 = 1,500", [("1200 + 300", "1500")]),
        ("10/4 = 2.5", [("10 / 4", "2.5")]),
        ("2x + 3 = 7", []),
        ("y - 2 + 3 = 7", []),
        ("(2 + 3) * 4 = 20", []),
        ("20 + 5 = 30%", []),
        ("2+3 = 1+4 = 5", [("1 + 4", "5")]),
        ("3-4+1=0;0+7=7;####7", [("3 - 4 + 1", "0"), ("0 + 7", "7")]),
        ("x = 5", []),
    ],
)  # fmt: skip
def test_equations_between_plain_numbers_are_read(text, found):
    assert [(one.left, one.stated) for one in equations(text)] == found


def said_of(text, outcome="incorrect", **options):
    (after,) = checked_equations([Group(PROBLEM, (trace(text, outcome),))], _into="v", **options)
    return after.traces[0].notes.get("v") or after.traces[0].notes, after.traces[0].scores.get("v")


def test_a_program_recalculates_each_equation_up_to_the_first_wrong_one():
    assert said_of("9 * 2 = 18, so 18 + 5 = 24. And 1+1=3.") == (
        f"9 * 2 is 18. 18 + 5 is 23, not 24. {S2R.incorrect}",
        1.0,
    )
    assert said_of("2+3*4=14", "correct") == (f"2 + 3 * 4 is 14. {S2R.correct}", 1.0)
    assert said_of("2+3*4=14", "incorrect") == (f"2 + 3 * 4 is 14. {S2R.correct}", 0.0)  # right sums, wrong answer
    assert said_of("10/3=3.33", "correct")[1] == 1.0  # a rounded decimal
    assert said_of("1/0=3")[0] == f"1 / 0 has no value. {S2R.incorrect}"
    assert said_of("nothing to see") == ({"v_unscored": "no_equation"}, None)


def test_the_toys_sums_are_expanded_operation_by_operation():
    toy = {"cues": "compact", "order": "left-to-right", "modulo": 10}
    assert said_of("2-9=3;3-4+1+7=7;####7", "correct", **toy) == ("2-9=3;3-4=9;9+1=0;0+7=7;Y", 1.0)
    assert said_of("2-9=3;3-4+1+7=8;8*2=6;####6", "incorrect", **toy) == ("2-9=3;3-4=9;9+1=0;0+7=7;N", 1.0)
