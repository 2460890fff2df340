"""Groups -> Groups whose traces carry scores, spans and notes: between verify and select, off by default.

    score: [perplexity]
    score: [{name: perplexity, model: Qwen/Qwen2.5-32B, into: fluency}]

A scorer is a function (groups, *, options) -> list[Group]. Beside its options it may name, with an underscore, what it needs:

    _into: str                       the name under which it writes (`into` of a recipe, else its own name)
    _seed: int                       the recipe's
    _student: Student | None         called, it gives the student before training, (model, tokenizer); None without a recipe
    _prompt: PromptText              how a problem is asked in training
    _config: EvalConfig | None       how students are sampled and judged in evaluation; None without a recipe
    _all_groups: Callable[[], ...]   all groups that will come, to say what a paid scorer costs before its first call
    _is_dev: Callable[[Problem], bool]   whether a problem is held out
    _cache: Path                     a file for replies that were paid for
    _journal: Path                   a file for samples of the shard at work, removed with its end; who names it draws traces
    _tick: Callable[[int], object]   called with the number of problems that have been done since
    _held: dict[str, Any]            what the scorer keeps from shard to shard, such as a loaded model

Only what it names is part of its cache key. It returns the groups that it was given, with scores, spans and notes added
(marks.py); it may add traces that it drew itself and entries to a problem's metadata. A trace that it cannot score gets a
reason (`unscored`), never 0. To add one: the function, a line in SCORERS, a hand-worked test, a line in docs/recipes.md.
"""

from collections.abc import Callable

from redistill.records import Group
from redistill.score.corpus_ngram import corpus_ngram
from redistill.score.critic import critic
from redistill.score.difficulty import difficulty
from redistill.score.equations import checked_equations
from redistill.score.label import label
from redistill.score.marks import reason_of, reasons_of, scored, unscored
from redistill.score.near_duplicates import near_duplicates
from redistill.score.novelty import novelty
from redistill.score.outcome import outcome
from redistill.score.perplexity import perplexity
from redistill.score.process import process
from redistill.score.reasonflux import reasonflux_targets
from redistill.score.reward_model import reward_model
from redistill.score.stage import BoundScorer, join_part, marks_files, marks_folder, score_part
from redistill.score.template_reward import template_reward
from redistill.score.verification import own_check, verification

__all__ = [
    "SCORERS",
    "BoundScorer",
    "join_part",
    "marks_files",
    "marks_folder",
    "reason_of",
    "reasons_of",
    "score_part",
    "scored",
    "unscored",
]

SCORERS: dict[str, Callable[..., list[Group]]] = {
    "label": label,
    "difficulty": difficulty,
    "perplexity": perplexity,
    "novelty": novelty,
    "process": process,
    "outcome": outcome,
    "critic": critic,
    "reward-model": reward_model,
    "reasonflux-targets": reasonflux_targets,
    "template-reward": template_reward,
    "near-duplicates": near_duplicates,
    "corpus-ngram": corpus_ngram,
    "verification": verification,
    "own-check": own_check,
    "checked-equations": checked_equations,
}
