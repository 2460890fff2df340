"""The guard's judgement on curves made by hand: the paper's benign run, collapses, and what is not a sign at all."""

import pytest

from redistill.config.tables import GuardSettings
from redistill.train.guard import best_step, judge

SETTINGS = GuardSettings()


def line(step, chosen=None, surge=1.0, **more):
    return {"step": step, "chosen_logp": chosen, "grad_norm": surge, "skipped": False, **more}


def probed(accuracy, unfinished=0.0, loops=0.0, problems=64):
    return {
        "probe_accuracy": accuracy,
        "probe_unfinished": unfinished,
        "probe_repetition": loops,
        "probe_problems": problems,
    }


def drawn(number, **figures):
    """The line that opens round `number`: answers half right, 100 tokens long, at 1 nat, unless told otherwise."""
    usual = {"reward": 0.5, "pass_rate": 0.5, "length": 100.0, "entropy": 1.0}
    return line(number, -1.0) | {"round": number} | usual | figures


def rounds(count, **ends):
    """`count` rounds whose figures go evenly from the first value to the second."""

    def at(n, first, last):
        return first + (last - first) * n / (count - 1)

    return [drawn(n + 1, **{key: at(n, *both) for key, both in ends.items()}) for n in range(count)]


def states(history, settings=SETTINGS):
    return [judge(history[: n + 1], settings).state for n in range(len(history))]


def test_nothing_has_happened_before_the_first_step():
    assert judge([], SETTINGS) == ("steady", ())


def test_the_papers_benign_run_drifts_and_is_never_an_alarm():
    """REDI at alpha 0.8 and 1e-6: both log-probs drift down over the whole epoch while accuracy rises."""
    history = [{"step": 0, **probed(0.40)}]
    for step in range(1, 401):
        history.append(line(step, -0.55 - 0.3 * step / 400))
        if step % 50 == 0:
            history[-1] |= probed(0.40 + 0.1 * step / 400)
    found = states(history)
    # below the start by 0.02 nat (0.3 a 400 steps) from step 30 on
    assert set(found) == {"steady", "drift"} and found[10] == "steady" and set(found[35:]) == {"drift"}


@pytest.mark.parametrize("per_step", [0.001, 0.02, 0.5])
def test_a_falling_chosen_log_prob_alone_is_never_an_alarm(per_step):
    """However fast, also on held-out pairs: without a second sign it is called a drift."""
    history = [{"step": 0, "held_out_chosen_logp": -0.5, **probed(0.4)}]
    history += [line(step, -0.5 - per_step * step) for step in range(1, 120)]
    history[60] |= {"held_out_chosen_logp": -0.5 - per_step * 60, **probed(0.4)}
    assert set(states(history)) <= {"steady", "drift"}


def test_a_collapse_is_a_fall_of_more_than_a_nat_and_a_worse_probe():
    history = [{"step": 0, **probed(0.5)}, *(line(step, -0.1 * step) for step in range(1, 21))]
    # start -0.3 (mean of -0.1 .. -0.5), now -1.8: down 1.5; 0.5 -> 0.2 of 64: 0.3 > 2 * sqrt((.25 + .16) / 64) = 0.16
    assert judge(history, SETTINGS).state == "drift"
    history[-1] |= probed(0.2)
    assert judge(history, SETTINGS) == ("collapse", ("chosen_low", "probe_down"))


def test_symmetric_at_a_high_rate_warns_first_and_then_collapses():
    """The log-probs hold, the updates surge, then everything falls: drift -> warning -> collapse, and no way back."""
    history = [line(step, -0.5, surge=1 + step % 2) for step in range(1, 101)]
    history += [line(step, -0.5 - 0.09 * (step - 100), surge=20) for step in range(101, 131)]
    found = states(history)
    # five steps of 20 over a median of 1.5: the median of five turns at the third
    assert set(found[:102]) == {"steady", "drift"} and found[102] == "warning"
    first = found.index("collapse")
    # the mean of the last five is more than 1 nat down when its middle step is 12 past the turn (1.08): step 114
    assert history[first]["step"] == 114 and set(found[first:]) == {"collapse"}


def test_a_surge_of_the_first_steps_is_the_noise_of_a_start():
    """Five steps stand against those before them: the first 24 steps leave fewer than 20 of those."""
    history = [line(step, -0.5, surge=1 if step <= 19 else 100) for step in range(1, 26)]
    found = states(history)
    assert set(found[:24]) == {"steady"}  # step 24: five of 100 against 19 of 1
    assert found[24] == "warning"  # step 25: against nineteen of 1 and one of 100, whose median is 1
    early = [line(step, -0.5, surge=1 if step <= 2 else 100) for step in range(1, 8)]
    assert set(states(early)) == {"steady"}


def test_a_surge_is_more_than_five_times_the_median_for_three_of_five_steps():
    calm = [line(step, -0.5) for step in range(1, 31)]
    for norm, steps, state in ((8, 2, "steady"), (8, 3, "warning"), (5, 5, "steady"), (5.01, 5, "warning")):
        history = calm + [line(31 + step, -0.5, surge=norm) for step in range(steps)]
        assert judge(history, SETTINGS).state == state, (norm, steps)


def test_a_surge_is_measured_against_the_window_before_it():
    narrow = GuardSettings(surge_window=20)
    # long ago the norm was 1; in the window it was 4: 6 is not a surge
    history = [line(step, -0.5, surge=1 if step <= 100 else 4 if step <= 120 else 6) for step in range(1, 126)]
    assert judge(history, narrow).state == "steady"
    # the window holds eleven of 1 and nine of 5, median 1, so 6 is one; the five steps themselves do not count in it
    norms = [1] * 11 + [5] * 9 + [6] * 5
    assert judge([line(step, -0.5, surge=norm) for step, norm in enumerate(norms)], narrow).state == "warning"


def test_two_measured_steps_of_five_are_no_surge():
    """Every other gradient was not finite: the two that were say too little."""
    history = [line(step, -0.5) for step in range(1, 31)]
    for step, norm in enumerate([None, 9, None, 9, None], start=31):
        skipped = {"grad_norm": float("nan"), "skipped": True}
        history.append(line(step, -0.5, surge=norm) | (skipped if norm is None else {}))
    assert judge(history, SETTINGS).state == "steady"


def test_one_noisy_batch_is_no_surge():
    history = [line(step, -0.5, surge=100 if step in (50, 52) else 1) for step in range(1, 80)]
    assert set(states(history)) == {"steady"}


def test_a_rate_that_warms_up_is_no_surge():
    history = [
        line(step, -0.5) | {"learning_rate": 1e-6 * step, "lr_x_grad_norm": 1e-6 * step} for step in range(1, 99)
    ]
    assert set(states(history)) == {"steady"}


def test_a_probe_that_falls_within_its_noise_is_no_sign():
    # 0.40 -> 0.30 of 32: 0.1 < 2 * sqrt((.24 + .21) / 32) = 0.24; of 64: < 0.17, of 512: > 0.06
    # 0.40 -> 0.36 of 10,000: far beyond its noise of 0.014, and less than probe_drop
    for problems, after, state in (
        (32, 0.3, "steady"),
        (64, 0.3, "steady"),
        (512, 0.3, "warning"),
        (10**4, 0.36, "steady"),
    ):
        history = [{"step": 0, **probed(0.4, problems=problems)}, line(1, -0.5), line(2, -0.5)]
        history[-1] |= probed(after, problems=problems)
        assert judge(history, SETTINGS).state == state, (problems, after)


def test_a_probe_that_rose_and_fell_is_measured_against_its_best():
    """Symmetric at 1e-6 in the paper peaks at 80.8 and collapses: back at its start it is far below its peak."""
    history = [{"step": 0, **probed(0.4)}, line(1, -0.5) | probed(0.7), line(2, -0.5) | probed(0.4)]
    # 0.7 -> 0.4 of 64: 0.3 > 2 * sqrt((.21 + .24) / 64) = 0.17
    assert states(history) == ["steady", "steady", "warning"]


def test_answers_that_no_longer_end_are_a_sign_and_with_a_worse_probe_a_collapse():
    history = [{"step": 0, **probed(0.5, unfinished=0.1)}, line(1, -0.5)]
    history[-1] |= probed(0.5, unfinished=0.6)
    assert judge(history, SETTINGS) == ("warning", ("unfinished_up",))
    history.append(line(2, -0.5) | probed(0.1, unfinished=0.6))
    assert judge(history, SETTINGS) == ("collapse", ("probe_down", "unfinished_up"))


def test_answers_that_end_in_a_loop_are_a_sign():
    history = [{"step": 0, **probed(0.5, loops=0.1)}, line(1, -0.5) | probed(0.5, loops=0.6)]
    assert judge(history, SETTINGS) == ("warning", ("loops_up",))
    history = [{"step": 0, **probed(0.5, loops=0.6)}, line(1, -0.5) | probed(0.5, loops=0.1)]
    assert judge(history, SETTINGS).state == "steady"  # fewer of them are none


def test_many_unfinished_answers_from_the_start_are_no_sign():
    # 0.5 -> 0.7: up by more than the noise, but not doubled; a long-winded student is not a collapsing one
    history = [{"step": 0, **probed(0.5, unfinished=0.5)}, line(1, -0.5) | probed(0.5, unfinished=0.7)]
    assert judge(history, SETTINGS).state == "steady"


def test_two_steps_in_a_row_without_a_finite_gradient_are_a_collapse():
    history = [line(step, -0.5) for step in range(1, 30)]
    history.append(line(30, float("nan")) | {"skipped": True})
    assert judge(history, SETTINGS).state == "steady"
    history.append(line(31, float("nan")) | {"skipped": True})
    assert judge(history, SETTINGS) == ("collapse", ("no_finite_gradient",))


def test_held_out_pairs_speak_before_the_batches():
    """Batches differ in difficulty; the held-out pairs are the same at every look."""
    history = [{"step": 0, "held_out_chosen_logp": -0.5}, *(line(step, -0.5 - step) for step in range(1, 10))]
    history[-1] |= {"held_out_chosen_logp": -0.5}
    assert judge(history, SETTINGS).state == "steady"


def test_held_out_pairs_that_fall_are_a_drift_and_those_that_rise_are_none():
    still = [line(step, -0.5) for step in range(1, 10)]
    for last, state in ((-0.53, "drift"), (-0.51, "steady"), (-0.2, "steady")):  # a fall of 0.03, of 0.01, a rise
        history = [{"step": 0, "held_out_chosen_logp": -0.5}, *still, line(10, -0.5) | {"held_out_chosen_logp": last}]
        assert judge(history, SETTINGS).state == state


def test_the_start_is_the_mean_of_the_first_five_steps():
    """Four batches at 0 and a hard one at -0.5: the start is -0.1, and the line of step 0 says nothing of it."""
    start = [{"step": 0}, *(line(step, 0.0) for step in range(1, 5)), line(5, -0.5)]
    for now, state in ((-0.11, "steady"), (-0.13, "drift")):
        assert judge(start + [line(step, now) for step in range(6, 11)], SETTINGS).state == state


def test_a_step_without_a_finite_log_prob_hides_no_drift():
    history = [line(step, -0.1 * step) for step in range(1, 21)]
    history.append(line(21, float("nan")) | {"skipped": True})
    assert judge(history, SETTINGS).state == "drift"


def test_the_best_checkpoint_has_the_best_probe_then_the_widest_margin_then_is_the_latest():
    def measured(step, accuracy, margin):
        return {"step": step, "probe_accuracy": accuracy, "held_out_margin": margin}

    history = [measured(0, 0.4, 0.1), measured(10, 0.5, 0.2), measured(20, 0.5, 0.3), measured(30, 0.3, 0.9)]
    assert best_step(history, [0, 10, 20, 30]) == 20
    assert best_step(history, [0, 10, 30]) == 10
    without = [{"step": step, "held_out_margin": margin} for step, margin in ((0, 0.1), (10, 0.3), (20, 0.3))]
    assert best_step(without, [0, 10, 20]) == 20
    assert best_step([], [0, 10]) == 10


def test_a_checkpoint_that_nobody_measured_is_never_the_better_one():
    probed_badly, never_probed = {"step": 0, "probe_accuracy": 0.0}, {"step": 10, "held_out_margin": 9.0}
    assert best_step([probed_badly, never_probed], [0, 10]) == 0
    below_zero, without_margin = {"step": 0, "held_out_margin": -0.5}, {"step": 10}
    assert best_step([below_zero, without_margin], [0, 10]) == 0


# --- stages that learn from their own answers ---


def test_steady_rounds_and_rounds_that_improve_are_no_sign():
    assert set(states(rounds(40))) == {"steady"}
    # longer answers and less entropy while the pass rate rises is what such a stage is for
    better = rounds(40, reward=(0.2, 0.8), pass_rate=(0.2, 0.8), length=(100.0, 400.0), entropy=(1.0, 0.01))
    assert set(states(better)) == {"steady"}
    shorter = rounds(40, reward=(0.2, 0.8), pass_rate=(0.2, 0.8), length=(400.0, 40.0))
    assert set(states(shorter)) == {"steady"}


def test_a_student_that_was_nearly_perfect_may_lose_its_entropy():
    assert set(states(rounds(40, reward=(0.97, 0.97), pass_rate=(0.97, 0.97), entropy=(1.0, 0.01)))) == {"steady"}
    assert judge(rounds(40, pass_rate=(0.9, 0.9), entropy=(1.0, 0.01)), SETTINGS).state == "warning"


@pytest.mark.parametrize(
    ("figures", "sign"),
    [
        ({"length": (100.0, 5.0)}, "length_down"),
        ({"length": (100.0, 500.0)}, "length_up"),
        ({"entropy": (1.0, 0.0)}, "entropy_down"),
        ({"reward": (0.2, 0.9), "pass_rate": (0.5, 0.2)}, "reward_up_accuracy_down"),
        ({"reward": (0.5, 0.2), "pass_rate": (0.5, 0.2)}, "pass_rate_down"),
        ({"undecided": (0.0, 0.5)}, "unusable_up"),
        ({"cut": (0.0, 0.5)}, "unusable_up"),
    ],
)
def test_each_sign_of_a_stage_with_rollouts_is_a_warning_and_only_there(figures, sign):
    history = rounds(40, **figures)
    assert judge(history, SETTINGS) == ("warning", (sign,))
    offline = [{k: v for k, v in entry.items() if k != "round"} for entry in history]
    assert judge(offline, SETTINGS).state == "steady"
    # every line between two rounds is judged alike, and two windows of five are needed
    assert judge([*history, line(99, -1.0)], SETTINGS) == ("warning", (sign,))
    assert judge(rounds(9, **figures), SETTINGS).state == "steady"


def test_the_reward_of_length_is_told_from_learning():
    """A control run: paid by the token, answers grow and are as good as before."""
    paid = rounds(30, reward=(0.1, 0.9), length=(30.0, 90.0))
    assert judge(paid, SETTINGS) == ("warning", ("length_up",))
    # 44.8 at first (32 to 48 of the ends), 83.1 now: not twice as long, so not yet
    assert judge(rounds(30, length=(30.0, 55.0)), SETTINGS).state == "steady"


def test_the_thresholds_of_rounds_are_options_and_their_edges_are_where_they_say():
    """Five rounds at 100 and five at the other value; a ratio exactly at the threshold is not a sign."""

    def step(key, now, **settings):
        history = [drawn(n, **{key: 100.0 if n <= 5 else now}) for n in range(1, 11)]
        return judge(history, GuardSettings(**settings)).reasons

    assert step("length", 200.0) == () and step("length", 201.0) == ("length_up",)
    assert step("length", 50.0) == () and step("length", 49.0) == ("length_down",)
    assert step("length", 140.0, length_factor=1.3) == ("length_up",)
    assert step("entropy", 10.0) == () and step("entropy", 9.0) == ("entropy_down",)
    assert step("entropy", 30.0, entropy_share=0.4) == ("entropy_down",)
    assert step("pass_rate", 100.0 - 0.04) == () and step("pass_rate", 100.0 - 0.06) == ("pass_rate_down",)
    assert step("undecided", 200.0) == () and step("undecided", 201.0) == ("unusable_up",)  # twice the first, and above
    wide = [drawn(n, length=100.0 if n <= 2 else 1.0) for n in range(1, 5)]
    assert judge(wide, SETTINGS).reasons == () and judge(wide, GuardSettings(round_window=2)).reasons == (
        "length_down",
    )


def test_reward_and_accuracy_are_compared_beyond_their_noise():
    """Rewards of 0.5 +- 0.1 in turn, then 0.05 higher: the difference is below two standard errors (0.14)."""

    def noisy(up, down):
        signs = [(-1) ** n * 0.1 for n in range(10)]
        return [
            drawn(n + 1, reward=0.5 + s + (up if n >= 5 else 0), pass_rate=0.5 + s - (down if n >= 5 else 0))
            for n, s in enumerate(signs)
        ]  # fmt: skip

    # the five of either side vary by 0.1095 (sample standard deviation): an error of 0.069
    assert (
        judge(noisy(0.05, 0.4), SETTINGS).reasons == ("pass_rate_down",)
        and judge(noisy(0.4, 0.05), SETTINGS).reasons == ()
    )
    assert judge(noisy(0.05, 0.09), SETTINGS).reasons == ()
    assert judge(noisy(0.4, 0.4), SETTINGS).reasons == ("reward_up_accuracy_down",)


def test_a_student_that_unlearns_and_no_longer_ends_its_answers_is_two_signs():
    """A control run: the student's wrong answers alone. Its own right answers grow rarer, and half of all are cut at last."""
    history = rounds(40, reward=(0.25, 0.15), pass_rate=(0.25, 0.15), cut=(0.0, 0.5))
    assert judge(history, SETTINGS) == ("collapse", ("pass_rate_down", "unusable_up"))
    # as many as before, and four points more
    for cut in ((0.1, 0.1), (0.01, 0.05)):
        assert judge(rounds(40, cut=cut), SETTINGS).state == "steady"


def test_a_probe_that_falls_while_the_reward_rises_is_two_signs():
    history = [{"step": 0, **probed(0.5)}, *rounds(20, reward=(0.2, 0.9), pass_rate=(0.2, 0.9))]
    history[-1] |= probed(0.2)
    assert judge(history, SETTINGS) == ("collapse", ("probe_down", "reward_up_accuracy_down"))


def test_answers_that_nobody_judges_correct_are_measured_by_their_reward():
    """A graded reward without gold answers has a pass rate of 0 throughout."""
    graded = rounds(30, reward=(0.1, 0.8), length=(100.0, 300.0))
    for entry in graded:
        entry["pass_rate"] = 0.0
    assert judge(graded, SETTINGS).state == "steady"
    for entry in graded:
        entry["reward"] = 0.3
    assert judge(graded, SETTINGS) == ("warning", ("length_up",))


def test_rounds_whose_figures_nobody_can_say_are_left_out():
    history = rounds(20, length=(100.0, 5.0))
    for entry in history[::2]:
        entry |= {"reward": None, "entropy": None, "length": 0.0}
    assert judge(history, SETTINGS).reasons == ("length_down",)
    for entry in history:
        entry |= {"length": 0.0, "entropy": 0.0}
    assert judge(history, SETTINGS).state == "steady"  # nothing was longer at the start


def test_a_pass_rate_that_falls_by_less_than_probe_drop_is_no_sign_however_sure():
    def fell(by):
        return [drawn(n, reward=0.2 if n <= 5 else 0.9, pass_rate=0.5 - (by if n > 5 else 0)) for n in range(1, 11)]

    assert judge(fell(0.04), SETTINGS).reasons == () and judge(fell(0.06), SETTINGS).reasons == (
        "reward_up_accuracy_down",
    )
    assert judge(fell(0.04), GuardSettings(probe_drop=0.03)).reasons == ("reward_up_accuracy_down",)
