"""The tables of a stage that draws its own rows: what is asked, how answers are rewarded, and the critic that learns beside.

rollouts: {problems: 64, n: 16, rounds: 80, updates: 1, critic: {learning_rate: 2.0e-6}}
"""

from typing import Literal

from pydantic import Field

from redistill.config.model_tables import AnyTeacher
from redistill.config.plugin_tables import Plugin, RewardSettings, ScorerSettings, Settings
from redistill.config.segment_tables import Rate


class JointCriticSettings(Settings):
    """A critic that learns beside the student, from the labels of the answers that the student is trained on; `token-credit` weighs
    tokens by its scores. Its optimizer and the shape of its schedule are the stage's, but for the rate."""

    # outcome: a score head (OREAL); implicit: log-ratios of a language model to its start (PRIME)
    objective: Plugin = Plugin(name="outcome")
    start: str | None = (
        None  # an earlier stage with that objective, or its folder; default: the stage's start, a head of zeros
    )
    learning_rate: float = Field(ge=0)
    warm_rounds: int = Field(10, ge=0)  # rounds before the student's first step, in which the critic alone learns


class RolloutSettings(Settings):
    """A stage that draws its own rows: in each round its student answers problems, the answers are judged and rewarded, and
    become rows for the stage's objective. Problems are those of the corpus that are not held out, and that
    `select.sample` leaves."""

    problems: int = Field(gt=0)  # problems a round
    n: int = Field(8, gt=0)  # answers to each problem
    rounds: int = Field(1, gt=0)
    # optimizer steps a round, each on an equal share of its rows; default: batch_size and epochs or steps decide, and the
    # learning rate's schedule runs anew in every round
    updates: int | None = Field(None, gt=0)
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int | None = Field(None, gt=0)  # default: evaluate.max_new_tokens
    prefill: str | None = None  # default: evaluate.prefill
    verifier: Plugin | None = None  # default: evaluate.verifier
    # scorers of the answers, whose scores the reward `score` reads; `model` may name an earlier stage that trains a critic
    score: list[ScorerSettings] = Field(default_factory=list)
    reward: list[RewardSettings] = Field(default_factory=lambda: [RewardSettings(name="accuracy")], min_length=1)
    advantage: Plugin | None = None  # for objectives that ask for advantages; default: group, of oreal shaped
    # an answer whose reward nobody can say: left out, reward 0, or rewarded as a wrong one (OREAL's released code)
    undecided: Literal["drop", "zero", "wrong"] = "drop"
    # one-each: one right and one wrong answer of each problem, drawn, and none of a problem without both; default: all where
    # advantages are asked for, one-each for oreal, else right ones
    keep: Literal["all", "correct", "one-each"] | None = None
    per_problem: int | None = Field(None, gt=0)  # rows a problem at most, of right answers
    # the least and the most share of right answers, of those decided, of a problem that is trained on
    accuracy: tuple[Rate, Rate] | None = None
    pairing: Plugin = Plugin(name="certain", options={"max_pairs": 1})  # for objectives that read pairs
    teacher: AnyTeacher | None = None  # of advantage teacher: base, an earlier stage, another model, a server ...
    critic: JointCriticSettings | None = None  # learns beside the student, for token-credit
    engine: Plugin = Plugin(name="transformers")  # who samples: this process, or a server that is given the weights
    # of a server: whose log-probs stand for the policy that sampled, those found by the kernel that trains or the server's own
    behaviour: Literal["recomputed", "server"] = "recomputed"
    # of a server and recomputed log-probs: the most that a token's pi_train / pi_server counts (truncated importance sampling)
    importance_cap: float | None = Field(2.0, gt=0)
