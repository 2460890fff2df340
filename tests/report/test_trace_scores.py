"""The area under the ROC curve by hand, and its limits."""

import pytest

from redistill.report.sections.trace_scores import area_under_curve


@pytest.mark.parametrize(
    ("right", "wrong", "area"),
    [
        ([2.0], [1.0], 1.0),
        ([1.0], [2.0], 0.0),
        ([1.0], [1.0], 0.5),  # a tie is half a win
        ([1.0, 3.0], [0.0, 2.0], 0.75),  # 1>0, 3>0, 3>2; not 1>2
        ([], [1.0], None),
        ([1.0], [], None),
    ],
)
def test_the_share_of_right_wrong_pairs_in_which_the_right_trace_scores_higher(right, wrong, area):
    assert area_under_curve(right, wrong) == area
