"""The critics that can guide a search (rollout/guided.py): the scorers of steps, asked of unfinished answers.

    judge = Guide(GUIDES["process"], bound, recipe.prompt.for_training, seed=0).judge()       bound: the scorer with its options
    judge([(problem, "2*3=6;2+6=8;")])  ->  [Opinion(0.97)]                  of the last step, as the scorer itself would score it

The scorer opens its critic from its own options, and where it ends a step is where the search reads its score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import PromptText
from redistill.records import Problem, Trace, make_trace
from redistill.rollout.guided import Judge, Opinion
from redistill.score.critic import WrittenCritic
from redistill.score.process import StepScores

WHO = "evaluate.engine.critic"  # what a sentence calls the critic


@dataclass(frozen=True, slots=True)
class Guide:
    """A critic that will guide: the member of GUIDES, the scorer with its options, how a problem is asked in training (which a critic of ours
    has learned), and the seed of the analyses of one that writes."""

    opened: Callable[[partial[Any], PromptText, int], Judge]
    critic: partial[Any]
    prompt: PromptText
    seed: int

    def judge(self, folder: str | None = None) -> Judge:
        """What scores the last step of unfinished answers; the critic is loaded at the first call. folder: of one that a stage left."""
        critic = self.critic if folder is None else partial(self.critic, model=folder)
        return self.opened(critic, self.prompt, self.seed)


def by_head(critic: partial[Any], prompt: PromptText, seed: int) -> Judge:
    """The scorer `process`: the chance that the last step is right; None for a text that it gives no score."""
    held: dict[str, Any] = {}
    how = critic.keywords.get("steps", "blank-line")

    def judge(rows: Sequence[tuple[Problem, str]]) -> list[Opinion]:
        if not held:
            critic([], _into=WHO, _prompt=prompt, _held=held)
        scores: StepScores = held["score"]
        scored = scores.scores(_traces(rows), how)
        return [Opinion(None if isinstance(one, str) else one.values[-1]) for one in scored]

    return judge


def by_writing(critic: partial[Any], prompt: PromptText, seed: int) -> Judge:
    """The scorer `critic`: the mean P(Yes) of the analyses of the last step; None where they say too little."""
    held: dict[str, Any] = {}

    def judge(rows: Sequence[tuple[Problem, str]]) -> list[Opinion]:
        if not held:
            nowhere = Path()  # of replies: the replies of a search are stored in its answer
            critic([], _into=WHO, _seed=seed, _student=None, _all_groups=tuple, _cache=nowhere, _held=held)
        written: WrittenCritic = held["critic"]
        return [Opinion(value, tokens) for value, tokens in written.last_steps(_traces(rows))]

    return judge


def _traces(rows: Sequence[tuple[Problem, str]]) -> list[tuple[Problem, Trace]]:
    return [(problem, make_trace(problem.id, text)) for problem, text in rows]


GUIDES: dict[str, Callable[[partial[Any], PromptText, int], Judge]] = {
    "process": by_head,
    "critic": by_writing,
}
