"""From attempts and verifications to advantages: by how much each action of a sampled answer was better than others in its place.

    trajectory = [Action("solve", False), Action("verify", True), ...]        a wrong attempt that its verification calls right
    rewards_of(trajectory, undecided="drop")                                 [-1.0, -1.0, ...]
    process([[trajectory, ...], ...], level="process")                       advantages of every action of every answer

An attempt earns 1 where it is right, else -1; a verification 1 where it says what is true, else -1. What nobody can say earns
nothing: it has an advantage of 0 and is in no baseline. Source: S2R, arXiv 2502.12853, section 3.2; what the released code does
otherwise is an option.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from redistill.text.segments import Kind

Baseline = Literal["context", "running", "accuracy-position", "accuracy-context"]
Undecided = Literal["drop", "incorrect"]


class Action(NamedTuple):
    """An attempt and whether it is `right`, or a verification and whether it `says` so of the attempt before it; None where nobody
    can say. said: False for a verification without any verdict, as against one that says it cannot tell. cut: the answer's length
    limit cut it here."""

    kind: Kind
    value: bool | None
    said: bool = True
    cut: bool = False


Trajectory = Sequence[Action]
Tallies = dict[str, list[float]]  # of `running`: context -> [sum of rewards, count]


def rewards_of(trajectory: Trajectory, *, undecided: Undecided) -> list[float | None]:
    """The reward of each action, None where nobody can say; -1 for one that was cut, which is a certain fact.

    undecided `incorrect`, as in the released code: an attempt that could not be judged is wrong, "cannot be verified" says
    incorrect, and so does a verification without a verdict, unless it is the last action, where it says correct.
    """
    rewards: list[float | None] = []
    right: bool | None = None
    for place, action in enumerate(trajectory):
        value = action.value
        if value is None and undecided == "incorrect":
            is_last = place == len(trajectory) - 1
            value = action.kind == "verify" and not action.said and is_last
        if action.kind == "solve":
            right = value
            rewards.append(None if value is None else 1.0 if value else -1.0)
        else:
            rewards.append(None if value is None or right is None else 1.0 if value == right else -1.0)
        if action.cut:
            rewards[-1] = -1.0
    return rewards


def outcome_reward(trajectory: Trajectory, *, undecided: Undecided) -> float | None:
    """1 where the last attempt is right, -1 where it is wrong or the answer was cut, None where nobody can say."""
    if any(action.cut for action in trajectory):
        return -1.0
    last = next((action.value for action in reversed(trajectory) if action.kind == "solve"), None)
    if last is None:
        return -1.0 if undecided == "incorrect" else None
    return 1.0 if last else -1.0


def actions(
    trajectories: Sequence[Sequence[Trajectory | None]],
    *,
    level: Literal["process", "outcome"] = "process",
    baseline: Baseline = "context",
    bonus: Literal["none", "code"] = "none",
    undecided: Undecided = "drop",
    least: Annotated[int, Field(ge=1)] | None = None,
    after_right: Literal["reject", "truncate", "keep"] = "reject",
    max_actions: Annotated[int, Field(ge=2)] = 20,
    cut: Literal["wrong", "drop"] = "wrong",
    cues: Literal["s2r", "compact"] = "s2r",
    _running: Mapping[str, Sequence[float]] | None = None,
) -> list[list[list[float]]]:
    """The advantage of every action; trajectories: of each problem its answers, None for one that is left out.

    level: `outcome` has one action per answer, rewarded by its last attempt and compared with the problem's other answers, leaving
    it out (RLOO). `process` compares each action with the mean of those with the same `baseline`: `context`, the rewards of all
    actions before it, over all problems; `running`, the same over this round and those before it (code); for a single offline round
    `accuracy-position`, the problem's accuracy in tenths and the place, or `accuracy-context`. A mean of fewer than `least`
    actions is not used but 0 (default 10, as in the code; 1 of `context`). bonus `code`: twice the advantage of an attempt that is
    right where the one before was wrong or the reverse, and of a verification of a right attempt. undecided: see
    `rewards_of`. cut `wrong`: an answer that its length limit cut earns -1 on its last action (code), or, with level `outcome`, in all;
    `drop`: it is left out like any other that the grammar refuses. What is left out before (train/action_rows.py): answers that go on after a right attempt was verified as right
    (after_right: reject the answer, leave out what follows, or keep it) and those of more than max_actions.
    """
    rewards = [
        [None if one is None else rewards_of(one, undecided=undecided) for one in answers] for answers in trajectories
    ]
    if level == "outcome":
        return [_outcome(answers, undecided) for answers in trajectories]
    keys = _keys(trajectories, rewards, baseline, undecided)
    sums: Mapping[Hashable, Sequence[float]] = _running if baseline == "running" and _running is not None else _tally(keys, rewards)  # type: ignore[assignment]  # fmt: skip
    fewest = least if least is not None else 1 if baseline == "context" else 10

    def advantage(key: Hashable, reward: float | None) -> float:
        if reward is None:
            return 0.0
        total, count = sums[key]  # tallies of `running` hold this round too
        return reward - (total / count if count >= fewest else 0.0)

    advantages = [
        [
            [] if of is None else [advantage(key, reward) for key, reward in zip(keys_of, of, strict=True)]
            for keys_of, of in zip(keys_here, here, strict=True)
        ]
        for keys_here, here in zip(keys, rewards, strict=True)
    ]
    if bonus == "code":
        advantages = [
            [_with_bonus(one, values) if one is not None else values for one, values in zip(answers, here, strict=True)]
            for answers, here in zip(trajectories, advantages, strict=True)
        ]
    return advantages


def _outcome(answers: Sequence[Trajectory | None], undecided: Undecided) -> list[list[float]]:
    """R less the mean of the others (RLOO), 0 where nothing can be compared."""
    rewards = [None if one is None else outcome_reward(one, undecided=undecided) for one in answers]
    known = [reward for reward in rewards if reward is not None]
    others = len(known) - 1

    def advantage(reward: float | None) -> float:
        return 0.0 if reward is None or not others else reward - (sum(known) - reward) / others

    return [[] if one is None else [advantage(reward)] for one, reward in zip(answers, rewards, strict=True)]


def _keys(
    trajectories: Sequence[Sequence[Trajectory | None]],
    rewards: Sequence[Sequence[Sequence[float | None] | None]],
    baseline: Baseline,
    undecided: Undecided,
) -> list[list[list[str]]]:
    """With what each action is compared: `1-1` is the context of an action after an attempt that was right and a verification
    that was not."""
    groups_of = []
    for answers, here in zip(trajectories, rewards, strict=True):
        share = accuracy_of(answers, undecided) if baseline.startswith("accuracy") else None
        tenth = "" if share is None else f"{min(int(10 * share), 9)}:"
        keys = []
        for of in here:
            contexts = ["".join(_sign(reward) for reward in (of or ())[:place]) for place in range(len(of or ()))]
            places = [str(place) for place in range(len(of or ()))]
            keys.append([tenth + key for key in (places if baseline == "accuracy-position" else contexts)])
        groups_of.append(keys)
    return groups_of


def _sign(reward: float | None) -> str:
    return "?" if reward is None else "+" if reward > 0 else "-"


def accuracy_of(answers: Sequence[Trajectory | None], undecided: Undecided = "drop") -> float | None:
    """The share of a problem's answers whose last attempt is right, of those that are known; None where none is."""
    rewards = [outcome_reward(one, undecided=undecided) for one in answers if one is not None]
    known = [reward for reward in rewards if reward is not None]
    return sum(reward > 0 for reward in known) / len(known) if known else None


def _tally(
    keys: Sequence[Sequence[Sequence[str]]], rewards: Sequence[Sequence[Sequence[float | None] | None]]
) -> Tallies:
    sums: Tallies = defaultdict(lambda: [0.0, 0])
    for keys_here, here in zip(keys, rewards, strict=True):
        for keys_of, of in zip(keys_here, here, strict=True):
            for key, reward in zip(keys_of, of or (), strict=True):
                if reward is not None:
                    sums[key][0] += reward
                    sums[key][1] += 1
    return dict(sums)


def running_tallies(
    trajectories: Sequence[Sequence[Trajectory | None]],
    before: Mapping[str, Sequence[float]],
    *,
    undecided: Undecided = "drop",
) -> Tallies:
    """What the baseline `running` is made of: the rewards of all rounds before this one and of this one, by context."""
    rewards = [
        [None if one is None else rewards_of(one, undecided=undecided) for one in answers] for answers in trajectories
    ]
    tallies = {key: list(value) for key, value in before.items()}
    for key, (total, count) in _tally(_keys(trajectories, rewards, "running", undecided), rewards).items():
        old = tallies.get(key, [0.0, 0])
        tallies[key] = [old[0] + total, old[1] + count]
    return tallies


def _with_bonus(trajectory: Trajectory, values: Sequence[float]) -> list[float]:
    values_of, solves = list(values), [action.value for action in trajectory if action.kind == "solve"]
    number = -1
    for place, action in enumerate(trajectory):
        if action.kind == "solve":
            number += 1
            changed = (
                number > 0 and None not in (solves[number], solves[number - 1]) and solves[number] != solves[number - 1]
            )
            values_of[place] *= 2 if changed else 1
        else:
            values_of[place] *= 2 if number >= 0 and solves[number] else 1
    return values_of
