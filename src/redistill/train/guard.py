"""How a stage is doing, judged from its metrics alone: steady, drift, warning or collapse. Pure functions, no torch.

    judge(history, settings)  -> Judgement("collapse", ("chosen_low", "probe_down"))

`history` is the lines of metrics.jsonl so far. Signs are read off it; two different signs are a collapse, one is a
warning. A falling chosen log-prob is a sign only in company, because it falls in the best runs too (Xu et al. 2025, arXiv
2505.24850, the section on stability). A stage with rollouts has signs of its own, read off the lines that open a round;
other stages have no such lines and none of these signs. docs/guard.md has the definitions and their reasons.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redistill.config.tables import GuardSettings

Line = Mapping[str, Any]
RECENT = 5  # steps that are "now": one noisy batch is not a sign
FEWEST = 20  # steps before a surge can be distinguished from initial noise


class Judgement(NamedTuple):
    """A state, and the signs that led to it, as short stable words."""

    state: str
    reasons: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """True for the states in which a checkpoint is worth going back to."""
        return self.state in ("steady", "drift")


def judge(history: Sequence[Line], settings: GuardSettings) -> Judgement:
    """The state after the last line of `history`.

    collapse: two steps in a row without a finite gradient, or two signs. warning: one sign that is not chosen_low.
    drift: the chosen log-prob is below its start by more than drift_nats, or by more than low_nats and nothing else is
    wrong. steady: none of these.
    """
    if len(history) >= 2 and all(line.get("skipped") for line in history[-2:]):
        return Judgement("collapse", ("no_finite_gradient",))
    signs = tuple(name for name, sign in SIGNS.items() if sign(history, settings))
    alarms = [name for name in signs if name != "chosen_low"]
    if alarms and len(signs) >= 2:
        return Judgement("collapse", signs)
    if alarms:
        return Judgement("warning", signs)
    return Judgement("drift" if chosen_fall(history) > settings.drift_nats else "steady")


def chosen_fall(history: Sequence[Line]) -> float:
    """Nats a token by which the chosen log-prob is below its start: on held-out pairs where they were measured, else on
    the batches of the first and the last five steps. 0 before there is anything to compare."""
    first, last = _first_and_last(history, "held_out_chosen_logp")
    if first is not None and last is not None:
        return first["held_out_chosen_logp"] - last["held_out_chosen_logp"]
    start = _values(history[: RECENT + 1], "chosen_logp")  # the line of step 0 has none
    now = _values(history[-RECENT:], "chosen_logp")
    return statistics.fmean(start) - statistics.fmean(now) if start and now else 0.0


# --- the signs ---------------------------------------------------------------------------------------------------


def chosen_low(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The chosen log-prob is more than low_nats a token below its start. Never an alarm alone."""
    return chosen_fall(history) > settings.low_nats


def update_surge(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The gradient norm: the median of five steps is above surge_factor times the median of those before.

    Learning rate x gradient norm at the rate of now: with the rate left in, every warm-up would look like a surge.
    """
    now = _values(history[-RECENT:], "grad_norm")
    before = _values(history[-RECENT - settings.surge_window : -RECENT], "grad_norm")
    if len(now) < RECENT or len(before) < FEWEST:
        return False
    return statistics.median(now) > settings.surge_factor * statistics.median(before)


def probe_down(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The probe's accuracy is below its best so far by more than probe_drop and by more than two standard errors."""
    return _rate_moved(history, "probe_accuracy", settings.probe_drop, up=False)


def unfinished_up(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The share of unfinished answers is twice that of the best probe, by more than probe_drop and two standard errors."""
    return _rate_moved(history, "probe_unfinished", settings.probe_drop, up=True)


def loops_up(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The share of answers that end in a loop is twice that of the best probe, by as much."""
    return _rate_moved(history, "probe_repetition", settings.probe_drop, up=True)


def length_down(history: Sequence[Line], settings: GuardSettings) -> bool:
    """Answers are shorter than 1/length_factor of those of the first rounds, and not better: the student stops reasoning."""
    moved = _moved(history, "length", settings)
    return moved < 1 / settings.length_factor and not _improved(history, settings)


def length_up(history: Sequence[Line], settings: GuardSettings) -> bool:
    """Answers are longer than length_factor times those of the first rounds, and not better: the reward pays for length."""
    moved = _moved(history, "length", settings)
    return moved > settings.length_factor and not _improved(history, settings)


def entropy_down(history: Sequence[Line], settings: GuardSettings) -> bool:
    """Entropy is below entropy_share of that of the first rounds, and answers are not better: nothing is left to compare."""
    moved = _moved(history, "entropy", settings)
    return moved < settings.entropy_share and not _improved(history, settings)


def reward_up_accuracy_down(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The reward has risen while accuracy fell: the student has found a way to be rewarded for worse answers.

    Accuracy: the probe's, as in probe_down, or the pass rate of the rounds' own answers, below that of the first rounds by more
    than probe_drop and two standard errors. Means of round_window rounds; their errors come from the spread between rounds.
    """
    reward, passed = (_first_and_now(history, key, settings) for key in ("reward", "pass_rate"))
    if reward is None or not reward.rose:
        return False
    return (passed is not None and passed.fell(settings.probe_drop)) or probe_down(history, settings)


def pass_rate_down(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The pass rate of the last rounds is below that of the first by more than probe_drop and two standard errors, and the reward
    has not risen: the student unlearns what it could do."""
    passed, reward = (_first_and_now(history, key, settings) for key in ("pass_rate", "reward"))
    return passed is not None and passed.fell(settings.probe_drop) and not (reward is not None and reward.rose)


def unusable_up(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The share of answers without a reward, or of those that were cut at their limit, is over twice that of the first rounds and
    higher by more than probe_drop and two standard errors. Answers without a reward are left out of the step, so no loss speaks against them."""
    changes = (_first_and_now(history, key, settings) for key in ("undecided", "cut"))
    return any(
        change is not None
        and change.now > 2 * change.first
        and change.rise > max(settings.probe_drop, 2 * change.error)
        for change in changes
    )


def critic_wrong(history: Sequence[Line], settings: GuardSettings) -> bool:
    """The loss of the critic beside the student was over 2 log 2 in the mean of its last five steps, of answers that it had not
    learned from: it is sure and wrong, and token weights by it point the wrong way. A critic that says nothing has log 2."""
    now = _values(history[-RECENT:], "critic_loss")
    return len(now) == RECENT and statistics.fmean(now) > 2 * math.log(2)


SIGNS: dict[str, Callable[[Sequence[Line], GuardSettings], bool]] = {
    "chosen_low": chosen_low,
    "update_surge": update_surge,
    "probe_down": probe_down,
    "unfinished_up": unfinished_up,
    "loops_up": loops_up,
    "length_down": length_down,
    "length_up": length_up,
    "entropy_down": entropy_down,
    "reward_up_accuracy_down": reward_up_accuracy_down,
    "pass_rate_down": pass_rate_down,
    "unusable_up": unusable_up,
    "critic_wrong": critic_wrong,
}


def _values(lines: Iterable[Line], key: str) -> list[float]:
    values = (line.get(key) for line in lines)
    return [float(value) for value in values if value is not None and math.isfinite(value)]


class _Change(NamedTuple):
    """A figure of a stage's first rounds and of its last: their means, and the standard error of the difference."""

    first: float
    now: float
    error: float

    @property
    def rise(self) -> float:
        return self.now - self.first

    @property
    def rose(self) -> bool:
        return self.rise > 2 * self.error

    def fell(self, least: float) -> bool:
        return self.rise < -max(least, 2 * self.error)


def _first_and_now(history: Sequence[Line], key: str, settings: GuardSettings) -> _Change | None:
    """Means over round_window rounds each; None before there are twice as many rounds with this figure."""
    values = _values((line for line in history if line.get("round") is not None), key)
    window = settings.round_window
    if len(values) < 2 * window:
        return None
    first, now = values[:window], values[-window:]
    error = math.sqrt((statistics.variance(first) + statistics.variance(now)) / window)
    return _Change(statistics.fmean(first), statistics.fmean(now), error)


def _moved(history: Sequence[Line], key: str, settings: GuardSettings) -> float:
    """The last rounds' mean over the first rounds'; nan before there are enough of them, or where those had 0 or less."""
    change = _first_and_now(history, key, settings)
    return math.nan if change is None or change.first <= 0 else change.now / change.first


def _improved(history: Sequence[Line], settings: GuardSettings) -> bool:
    """True when the last rounds' answers are better than the first's by two standard errors, or nearly all right.

    By their pass rate; by their reward where no answer was ever judged correct, as with rewards that need no gold answer.
    """
    passed = _first_and_now(history, "pass_rate", settings)
    if passed is not None and any(line.get("pass_rate") for line in history):
        return passed.rose or passed.now >= 1 - settings.probe_drop
    reward = _first_and_now(history, "reward", settings)
    return reward is not None and reward.rose


def _first_and_last(history: Sequence[Line], key: str) -> tuple[Line, Line] | tuple[None, None]:
    """The first and the last line that hold `key`, where they are two."""
    first = next((line for line in history if line.get(key) is not None), None)
    last = next((line for line in reversed(history) if line.get(key) is not None), None)
    return (None, None) if first is None or last is None or first is last else (first, last)


def _rate_moved(history: Sequence[Line], key: str, least: float, *, up: bool) -> bool:
    """Against the probe with the best accuracy so far (the first of equals): a run that rose and fell has fallen."""
    probes = [line for line in history if line.get("probe_accuracy") is not None]
    if len(probes) < 2:
        return False
    before = float(max(probes, key=lambda line: line["probe_accuracy"])[key])
    after = float(probes[-1][key])
    error = math.sqrt((before * (1 - before) + after * (1 - after)) / int(probes[-1]["probe_problems"]))
    change = after - before if up else before - after
    return change > max(least, 2 * error) and (not up or after > 2 * before)


# --- which checkpoint to go back to ---------------------------------------------------------------------------------


def best_step(history: Sequence[Line], steps: Iterable[int]) -> int:
    """Of the checkpoints at `steps`, the one to keep: highest probe accuracy, then held-out margin, then the latest.

    A checkpoint without a measurement counts below all that have one.
    """
    lines = {line["step"]: line for line in history}

    def merit(step: int) -> tuple[float, float, int]:
        line = lines.get(step, {})
        accuracy, margin = line.get("probe_accuracy"), line.get("held_out_margin")
        return -1.0 if accuracy is None else accuracy, -math.inf if margin is None else margin, step

    return max(steps, key=merit)
