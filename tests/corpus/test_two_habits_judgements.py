"""The toy of written critics: labels are arithmetic, judgements end in the verdict that they computed, a control has nothing to teach."""

from collections import Counter
from functools import partial

from redistill.corpus import SOURCES
from redistill.corpus.two_habits.judgements import _computed
from redistill.records import Outcome
from redistill.text.step_problems import judged_solutions
from redistill.verify import VERIFIERS

verifier = partial(VERIFIERS["verdict-line"], line="? ")


def groups(**options):
    return list(SOURCES["two-habits-judgements"](problems=300, **options))


def outcomes(found):
    return Counter((g.problem.answer, verifier(g.problem, t).outcome) for g in found for t in g.traces)


def test_a_label_says_whether_the_line_is_right_modulo_ten() -> None:
    assert _computed("3+4*1=8;") == [7, 7]
    for group in groups():
        line = group.problem.statement.rpartition("Now Step:\n")[2]
        assert (group.problem.answer == "Yes") == (_computed(line)[-1] == int(line[-2]))


def test_without_habits_every_judgement_is_right_and_the_agreeable_one_is_wrong_of_wrong_steps_alone() -> None:
    assert {outcome for _, outcome in outcomes(groups(agreeable=0.0, slip=0.0))} == {Outcome.correct}
    found = outcomes(groups(agreeable=1.0))
    assert found["Yes", Outcome.incorrect] == found["No", Outcome.correct] == 0
    assert found["Yes", Outcome.correct] and found["No", Outcome.incorrect]


def test_shuffled_verdicts_are_right_half_of_the_time() -> None:
    found = outcomes(groups(shuffled=True))
    right = sum(count for (_, outcome), count in found.items() if outcome is Outcome.correct)
    assert abs(right / found.total() - 0.5) < 0.05  # 2,400 coins: four standard deviations are .041


def test_its_steps_are_solutions_that_end_at_their_first_error() -> None:
    found = judged_solutions(group.problem for group in groups())
    assert len(found) == 300 and 60 < sum(one.first_error >= 0 for one in found) < 240
    assert all(one.first_error in (-1, one.steps[-1][0]) for one in found)
