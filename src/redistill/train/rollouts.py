"""A round of a student's own answers: problems asked, answers judged and rewarded, and made into rows for the objective.

    drawn = draw_round(job, 3, model, tokenizer)                            the groups of round 3 and the tokens of every answer
    rows, account = rows_of_round(job, objective, drawn, max_tokens=4096)   rows with advantages, right answers alone, or pairs

A round is a pure function of the student's weights, the stage's seed and the round's number. Rows are made of the token ids
that were sampled: to encode an answer's text again may give other tokens than the student chose.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from redistill.config.tables import RolloutSettings
from redistill.io.stage_folder import Account
from redistill.model import loading
from redistill.records import DECIDED, Dropped, Group, Outcome, Problem, Sampled, Trace
from redistill.rollout.answer import EvalConfig
from redistill.rollout.journal import draw
from redistill.rollout.requests import Sample, requests_for, traces_of
from redistill.rollout.stage_engines import refreshed_server
from redistill.text.image_marks import images_in
from redistill.text.self_correction import counts_of, rates
from redistill.train.action_rows import action_rows, cues_of, is_of_actions, option_of, tallies
from redistill.train.objectives import Objective, inputs_of, needs_pairs, needs_teacher, needs_values
from redistill.train.objectives.policy import oreal
from redistill.train.packing import epoch_order
from redistill.train.rows import Rows
from redistill.verify.pool import VerifierPool
from redistill.verify.rewards import rewarded
from redistill.verify.segments import with_segments
from redistill.verify.stage import judged

Reward = Callable[[Problem, Trace], float | None]

SAMPLED_LOGPS = (
    "sampled_logps"  # among a round's row values: log-probs of the tokens as they were sampled, nan where unknown
)


@dataclass(frozen=True, slots=True)
class RolloutJob:
    """What a stage's rollouts are drawn, judged and rewarded with."""

    settings: RolloutSettings
    config: EvalConfig  # how problems are asked and judged; its engine and sampling are the rollouts'
    problems: Sequence[Problem]
    rewards: Sequence[tuple[float, Reward]]
    advantage: Callable[..., torch.Tensor]
    pairing: Callable[[Group], list[tuple[Trace, Trace]] | str]
    pool: VerifierPool
    author: str  # the stage's name
    seed: int
    scorers: Sequence[Callable[[Sequence[Group]], list[Group]]] = ()  # each adds scores to a round's judged answers
    times: Mapping[str, int] = field(
        default_factory=dict
    )  # how often a pass over the problems asks one, by its id; else once

    def longest_prompt(self, tokenizer: Any) -> int:
        """Tokens of the longest prompt, prefill included."""
        texts = [self.config.render(problem) + self.config.sampling.prefill for problem in self.problems]
        return max(map(len, loading.encode_prompts(tokenizer, texts)))

    @property
    def num_answers(self) -> int:
        """Answers of a round."""
        return min(self.settings.problems, len(self.problems)) * self.settings.n

    @property
    def is_served(self) -> bool:
        """True where a server samples."""
        return getattr(self.config.engine, "func", self.config.engine) is refreshed_server

    @property
    def knows_server_logps(self) -> bool:
        """True where a server samples and tells its log-probs."""
        return self.is_served and getattr(self.config.engine, "keywords", {}).get("token_ids") != "encoded"

    @property
    def importance_cap(self) -> float | None:
        """The most that a token of a server's answer may count for pi_train / pi_server; None where nothing is corrected."""
        return (
            self.settings.importance_cap
            if self.knows_server_logps and self.settings.behaviour == "recomputed"
            else None
        )

    def problems_of(self, number: int) -> list[Problem]:
        """The problems of a round: each epoch takes them in an order of its own, and whole rounds of it. A problem that is
        repeated stands in the order so often, and is asked once a round at most."""
        size = min(self.settings.problems, len({problem.id for problem in self.problems}))
        epoch = 0
        while number >= len(rounds := self._rounds(epoch, size)):
            number -= len(rounds)
            epoch += 1
        return rounds[number]

    def _rounds(self, epoch: int, size: int) -> list[list[Problem]]:
        """The whole rounds of an epoch."""
        listed = [problem for problem in self.problems for _ in range(self.times.get(problem.id, 1))]
        queue = [listed[place] for place in epoch_order(self.seed, epoch, len(listed))]
        rounds = list[list[Problem]]()
        while True:
            taken, later = dict[str, Problem](), list[Problem]()
            for place, problem in enumerate(queue):
                if len(taken) == size:
                    later += queue[place:]
                    break
                if problem.id in taken:
                    later.append(problem)
                else:
                    taken[problem.id] = problem
            if len(taken) < size:
                return rounds
            rounds.append(list(taken.values()))
            queue = later


@dataclass(frozen=True, slots=True)
class Round:
    """The answers of one round: groups with verdicts and rewards (`scores["reward"]`, missing where nobody can say), and the
    tokens of every answer, in the order of the groups and their traces."""

    groups: list[Group]
    sampled: list[Sampled]

    @property
    def answers(self) -> list[tuple[Problem, Trace]]:
        """(problem, trace) of each of `sampled`."""
        return [(group.problem, trace) for group in self.groups for trace in group.traces]


def draw_round(
    job: RolloutJob,
    number: int,
    model: Any,
    tokenizer: Any,
    *,
    tell: Callable[[Sample], None] = lambda sample: None,
    journal: Path | None = None,
    weights: Path | None = None,
) -> Round:
    """Ask, judge and reward; the student is left as it is. tell: called with each sample that is finished.

    Of a server: journal keeps every sample that has come, and only the missing ones are asked for; weights is the folder in
    which the student is given to it. What is sampled in this process is drawn again as a whole, so that a round does not
    depend on where it was cut.
    """
    config, problems = job.config, job.problems_of(number)
    seed = int(np.random.SeedSequence([job.seed, number]).generate_state(1, np.uint64)[0])
    prompts = [config.render(problem) for problem in problems]
    asked = [requests_for(p, text, config.sampling, seed=seed) for p, text in zip(problems, prompts, strict=True)]
    flat = [request for requests in asked for request in requests]
    engine = config.engine
    if job.is_served:
        engine = partial(engine, _weights=weights)
    samples = draw(
        engine, lambda: (model, tokenizer), flat, config.sampling, journal=journal if job.is_served else None, tell=tell
    )
    n = config.sampling.n
    groups = [
        Group(problem, traces_of(problem, samples[i * n : (i + 1) * n], requests, config.sampling, author=job.author))
        for i, (problem, requests) in enumerate(zip(problems, asked, strict=True))
    ]
    groups = list(judged(job.pool, groups, config.verifier))
    if is_of_actions(job.advantage):
        cut_too = option_of(job.advantage, "cut") == "wrong"
        groups = with_segments(job.pool, groups, config.verifier, cues_of(job.advantage), cut_too=cut_too)
    for scorer in job.scorers:
        groups = scorer(groups)
    groups = [rewarded(group, job.rewards, job.settings.undecided) for group in groups]
    given = loading.encode_prompts(tokenizer, [requests[0].prompt for requests in asked])
    sampled = [
        Sampled(group.problem.id, trace.id, index, given[i], s.token_ids, s.logprobs)
        for i, group in enumerate(groups)
        for index, (trace, s) in enumerate(zip(group.traces, samples[i * n : (i + 1) * n], strict=True))
    ]
    return Round(groups, sampled)


# --- from answers to rows ---------------------------------------------------------------------------------------------


def reads_advantages(objective: Objective) -> bool:
    """True when the objective asks for an advantage of each token."""
    return "advantage" in needs_values([objective])


def is_of_teacher(advantage: Callable[..., Any]) -> bool:
    """True when the advantage is of single tokens and a teacher's log-probs, not of whole answers and their rewards."""
    return "teacher_token_logps" in inputs_of(advantage)


def kept_answers(settings: RolloutSettings, objective: Objective) -> Literal["all", "correct", "one-each"]:
    """Which answers of a round become rows: what the recipe says, else what the objective learns from."""
    if settings.keep is not None:
        return settings.keep
    if getattr(objective, "func", objective) is oreal:
        return "one-each"
    return "all" if reads_advantages(objective) or needs_teacher(objective) else "correct"


def rows_of_round(
    job: RolloutJob,
    objective: Objective,
    drawn: Round,
    *,
    max_tokens: int,
    number: int = 0,
    tokenizer: Any = None,
    running: Mapping[str, Any] | None = None,
) -> tuple[Rows, Account, list[Dropped]]:
    """The round's rows, the account of its answers (of its problems, where rows are pairs), and what was dropped.

    Objectives of advantages take every answer whose reward is known, with its advantage as the value of each of its tokens,
    or one right and one wrong answer of each problem (`keep: one-each`, drawn by the seed and the round's number); objectives of
    pairs what the pairing takes; the others right answers, each text once. With a critic that learns beside the student, an
    answer's last token has its label as a target, 1 where the advantage is above 0. Advantages of actions need the tokenizer, to
    find the actions' tokens, and `running_after` of this round.
    """
    if needs_pairs(objective):
        return _pairs(job, drawn, max_tokens)
    acted: list[Any] | None = None
    advantages = None
    if reads_advantages(objective) and is_of_actions(job.advantage):
        prefill = job.config.sampling.prefill
        acted = action_rows(job.advantage, drawn.groups, drawn.sampled, tokenizer, prefill, running)
    elif reads_advantages(objective):
        advantages = _advantages(job, drawn)
    outside = _outside(job, drawn)
    keep = kept_answers(job.settings, objective)
    account, dropped, taken = Account("answer"), list[Dropped](), list[int]()
    seen, held = set[tuple[str, tuple[int, ...]]](), dict[str, int]()
    unwanted = dict[int, str]()
    if keep == "one-each":
        assert advantages is not None
        unwanted = _all_but_one_each(job, drawn, advantages, max_tokens, number)
    for place, ((problem, trace), sampled) in enumerate(zip(drawn.answers, drawn.sampled, strict=True)):
        text = (problem.id, tuple(sampled.token_ids))
        reason = (
            "no_tokens" if not sampled.token_ids
            else "too_long" if len(sampled.prompt_ids) + len(sampled.token_ids) > max_tokens
            else "accuracy_outside" if problem.id in outside
            else acted[place] if acted is not None and isinstance(acted[place], str)
            else "undecided" if advantages is not None and "reward" not in trace.scores and not is_of_teacher(job.advantage)
            else unwanted[place] if place in unwanted
            else "not_correct" if keep == "correct" and trace.verdict.outcome is not Outcome.correct
            else "duplicate" if keep == "correct" and text in seen
            else "over_per_problem" if job.settings.per_problem and held.get(problem.id, 0) >= job.settings.per_problem
            else ""
        )  # fmt: skip
        if reason:
            account.drop(reason)
            dropped.append(Dropped(trace.id, job.author, reason, f"answer {sampled.sample_index} to {problem.id}"))
            continue
        account.keep()
        seen.add(text)
        held[problem.id] = held.get(problem.id, 0) + 1
        taken.append(place)
    values = dict[str, np.ndarray]()
    if advantages is not None and not is_of_teacher(job.advantage):
        counts = [len(drawn.sampled[place].token_ids) for place in taken]
        values["advantage"] = np.repeat(advantages[taken], counts)
        if job.settings.critic is not None:
            values["target"] = np.full(sum(counts), np.nan)
            ends = np.cumsum(counts, dtype=np.int64) - 1
            values["target"][ends] = np.where(advantages[taken] == 0, np.nan, advantages[taken] > 0)
    if acted is not None:
        for name, which in (("action", 0), ("advantage", 1)):
            values[name] = np.concatenate([*(acted[place][which] for place in taken), np.zeros(0)])
    rows = _encoded(job, [[place] for place in taken], drawn, values)
    return rows, account, dropped


def running_after(job: RolloutJob, objective: Objective, drawn: Round, before: Mapping[str, Any]) -> Any:
    """What a baseline that runs over all rounds is made of after this one; None where there is no such baseline."""
    wanted = reads_advantages(objective) and is_of_actions(job.advantage)
    return tallies(job.advantage, drawn.groups, before) if wanted else None


def _outside(job: RolloutJob, drawn: Round) -> set[str]:
    """The problems whose share of right answers, of those that were decided, is not within `accuracy`."""
    if job.settings.accuracy is None:
        return set()
    low, high = job.settings.accuracy
    outside = set()
    for group in drawn.groups:
        decided = [trace.verdict.outcome for trace in group.traces if trace.verdict.outcome in DECIDED]
        share = sum(outcome is Outcome.correct for outcome in decided) / len(decided) if decided else -1.0
        if not low <= share <= high:
            outside.add(group.problem.id)
    return outside


def _all_but_one_each(
    job: RolloutJob, drawn: Round, advantages: np.ndarray, max_tokens: int, number: int
) -> dict[int, str]:
    """{place of an answer: why it is not a row}: of each problem one answer with an advantage above 0 and one with an advantage below
    are drawn from those that can be rows, and none where it has no such two. Source: OREAL, arXiv 2502.06781, Algorithm 1."""
    left_out, start = dict[int, str](), 0
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([job.seed, number, 2])))
    for group in drawn.groups:
        places = range(start, start + len(group.traces))
        start = places.stop
        fit = [
            p for p in places if 0 < len(drawn.sampled[p].token_ids) <= max_tokens - len(drawn.sampled[p].prompt_ids)
        ]
        known = [p for p in fit if "reward" in drawn.answers[p][1].scores]
        right, wrong = ([p for p in known if sign * advantages[p] > 0] for sign in (1, -1))
        picks = draw.random(2)  # always two, so that a problem's draw does not depend on the problems before it
        if right and wrong:
            pair = {side[int(pick * len(side))] for side, pick in zip((right, wrong), picks, strict=True)}
            left_out |= dict.fromkeys((p for p in places if p not in pair), "not_drawn")
        else:
            rewards = [drawn.answers[p][1].scores["reward"] for p in known]
            left_out |= dict.fromkeys(places, "all_right" if rewards and min(rewards) > 0 else "all_wrong")
    return left_out


def _advantages(job: RolloutJob, drawn: Round) -> np.ndarray:
    """(answers,): each answer's advantage; 0 where its reward is not known, and everywhere for advantages of tokens."""
    if is_of_teacher(job.advantage):
        return np.zeros(len(drawn.sampled))
    advantages = []
    for group in drawn.groups:
        rewards = [trace.scores.get("reward") for trace in group.traces]
        known = torch.tensor([[reward is not None for reward in rewards]])
        values = torch.tensor([[0.0 if reward is None else reward for reward in rewards]], dtype=torch.float64)
        advantages.append(job.advantage(values, known).double()[0].numpy())
    return np.concatenate(advantages)


def _pairs(job: RolloutJob, drawn: Round, max_tokens: int) -> tuple[Rows, Account, list[Dropped]]:
    """Pairs as the pairing makes them; a text that was sampled more than once is its first sample."""
    account, dropped, taken = Account("problem"), list[Dropped](), list[list[int]]()
    places: dict[tuple[str, str], int] = {}
    for place, sampled in enumerate(drawn.sampled):
        if sampled.token_ids and len(sampled.prompt_ids) + len(sampled.token_ids) <= max_tokens:
            places.setdefault((sampled.problem_id, sampled.trace_id), place)
    for group in drawn.groups:
        traces = tuple({t.id: t for t in group.traces if (group.problem.id, t.id) in places}.values())
        made = job.pairing(dataclasses.replace(group, traces=traces))
        if isinstance(made, str):
            account.drop(made)
            dropped.append(Dropped(group.problem.id, job.author, made))
            continue
        account.keep()
        taken += [[places[group.problem.id, trace.id] for trace in pair] for pair in made]
    return _encoded(job, taken, drawn, {}), account, dropped


def _encoded(job: RolloutJob, taken: Sequence[Sequence[int]], drawn: Round, values: Mapping[str, np.ndarray]) -> Rows:
    """Rows of these answers (one place a row, or chosen and rejected)."""
    sequences = [drawn.sampled[place] for places in taken for place in places]
    lengths = [len(s.prompt_ids) + len(s.token_ids) for s in sequences]
    tokens = [np.asarray([*s.prompt_ids, *s.token_ids], dtype=np.int32) for s in sequences]
    numbers = {problem_id: number for number, problem_id in enumerate(dict.fromkeys(s.problem_id for s in sequences))}
    shown = {group.problem.id: images_in(job.config.render(group.problem)) for group in drawn.groups}
    images = [shown[drawn.sampled[places[0]].problem_id] for places in taken]
    return Rows(
        tokens=np.concatenate([*tokens, np.zeros(0, np.int32)]),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        prompt_tokens=np.asarray([len(s.prompt_ids) for s in sequences], dtype=np.int64),
        weights=np.ones(len(taken)),
        ids=[" ".join(drawn.sampled[place].trace_id for place in places) for places in taken],
        values={**values, SAMPLED_LOGPS: np.concatenate([*map(_logprobs, sequences), np.zeros(0)])},
        groups=np.asarray([numbers[drawn.sampled[places[0]].problem_id] for places in taken], dtype=np.int64),
        images=images if any(images) else None,
    )


def _logprobs(sampled: Sampled) -> np.ndarray:
    return np.asarray(sampled.logprobs, dtype=np.float64)


def round_figures(drawn: Round, rows: int, problems_kept: float | None = None) -> dict[str, float | None]:
    """What a round is known by in metrics.jsonl. Shares and means are over its answers; None where nothing can be said.
    problems_kept: where problems are kept or dropped whole (`keep: one-each`), the share that became rows.

    pass_rate is of all answers, as in evaluation; undecided those whose reward nobody can say; no_variance the share of
    problems whose known rewards are all equal, which teach an objective of advantages nothing; entropy an estimate from the
    sampled tokens' log-probs, -mean log pi, in nats a token (exact in the mean at temperature 1 and top_p 1). Of answers that
    were cut into attempts and verifications also the metrics of self-correction, over all of them that could be.
    """
    traces = [trace for _, trace in drawn.answers]
    known = [[t.scores["reward"] for t in group.traces if "reward" in t.scores] for group in drawn.groups]
    flat = [reward for rewards in known for reward in rewards]
    tokens = [len(s.token_ids) for s in drawn.sampled]
    logprobs = np.concatenate([*map(_logprobs, drawn.sampled), np.zeros(0)])
    logprobs = logprobs[np.isfinite(logprobs)]
    n = len(traces)
    tally = sum(filter(None, (counts_of(trace.spans) for trace in traces)), Counter[str]())
    return {
        "reward": float(np.mean(flat)) if flat else None,
        "pass_rate": sum(t.verdict.outcome is Outcome.correct for t in traces) / n,
        "undecided": 1 - len(flat) / n,
        "no_variance": float(np.mean([len(set(rewards)) < 2 for rewards in known])),
        "length": float(np.mean(tokens)),
        "cut": sum(t.finish_reason == "length" for t in traces) / n,
        "entropy": float(-logprobs.mean()) if len(logprobs) else None,
        "generated_tokens": int(sum(tokens)),
        "answers": n,
        "rows": rows,
        **({**rates(tally), "attempts": tally["attempts"] / tally["answers"]} if tally else {}),
        **({} if problems_kept is None else {"problems_kept": problems_kept}),
    }
