"""Scorer `reward-model`: an ordinary reward model, one number per answer: the higher, the better.

    score: [{name: reward-model, model: Skywork/Skywork-Reward-V2-Qwen3-0.6B, on: answer}]

Any AutoModelForSequenceClassification with one label. AM-DeepSeek-R1-Distilled (arXiv:2503.19633) scores the answer part alone, because such models
know no long thinking. The number has no unit: compare it within one model.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from redistill.config.tables import PromptText
from redistill.records import Group, Trace
from redistill.score.marks import scored, unscored
from redistill.text.thinking import read_thinking

if TYPE_CHECKING:
    from redistill.model.reward_models import RewardModel


def reward_model(
    groups: Sequence[Group],
    *,
    model: str,
    revision: str | None = None,
    on: Literal["answer", "whole"] = "answer",
    tokens_per_batch: Annotated[int, Field(gt=0)] = 8192,
    _into: str,
    _prompt: PromptText,
    _held: dict[str, Any],
) -> list[Group]:
    """The number that a sequence classifier with one label gives each answer to its problem.

    on: the answer behind the thinking, or the whole completion. The text is a user's and an assistant's message in the model's
    chat template; without one, the prompt as in training and the text. Not scored: `no_answer` where nothing follows the
    thinking, or it is not ended, `too_long` for the model's context.
    """
    if "model" not in _held:
        from redistill.model.reward_models import open_reward_model

        _held["model"] = open_reward_model(model, revision, _prompt, f"score ({_into}): model")
    opened: RewardModel = _held["model"]
    texts = [(group.problem, judged_text(trace, on)) for group in groups for trace in group.traces]
    scores = iter(opened.scores([one for one in texts if one[1].strip()], tokens_per_batch=tokens_per_batch))
    spoken = iter(texts)

    def marked(trace: Trace) -> Trace:
        value = next(scores) if next(spoken)[1].strip() else "no_answer"
        return unscored(trace, _into, value) if isinstance(value, str) else scored(trace, scores={_into: value})

    return [replace(group, traces=tuple(marked(trace) for trace in group.traces)) for group in groups]


def judged_text(trace: Trace, on: str) -> str:
    """What of a trace is shown to the reward model; "" where there is no answer behind the thinking."""
    if on == "whole":
        return trace.completion
    thought = read_thinking(trace.completion)
    return "" if thought.state == "open" else thought.answer.strip()
