"""The guard's generation probe: a few dev problems, answered by the student as it is now, judged as in evaluation.

    with dev_probe(config, settings, problems) as probe:
        probe(model, tokenizer)    {"probe_accuracy": 0.41, "probe_tokens": 38.2, "probe_unfinished": 0.0, ...}

The problems and the draws are the same at every look, so that two looks differ by the student alone. It samples in this
process, whichever engine the evaluation uses, and in the weights' own type: they are being trained.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import GuardSettings
from redistill.records import Outcome, Problem, Trace
from redistill.rollout.answer import EvalConfig, answered
from redistill.rollout.transformers_engine import transformers_engine
from redistill.train.probe import Probe
from redistill.verify.stage import judged

LOOP_ROUNDS = 4  # a text that ends by saying the same thing four times over ends in a loop
LOOP_CHARS = 16  # and the rounds are at least so long together: "####0000" is not a loop


@contextmanager
def dev_probe(config: EvalConfig, guard: GuardSettings, problems: Sequence[Problem]) -> Iterator[Probe]:
    """The probe of a stage on these problems, with worker processes that live as long as the stage. config: as in evaluation."""
    sampling = replace(
        config.sampling, n=1, max_new_tokens=guard.probe_max_new_tokens or config.sampling.max_new_tokens
    )
    verifiers = {config.verifier: config.judge[config.verifier]}
    config = replace(config, engine=_in_process, sampling=sampling, judge=verifiers)
    pool = config.pool(workers=1)

    def probe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
        groups = judged(pool, answered(config, lambda: (model, tokenizer), problems, author="probe"), config.verifier)
        return probe_figures([trace for group in groups for trace in group.traces])

    with pool:
        yield probe


_in_process = partial(transformers_engine, dtype="float32")


def probe_figures(traces: Sequence[Trace]) -> dict[str, float]:
    """Accuracy, mean length in tokens, and the shares that did not finish and that end in a loop."""
    n, correct = len(traces), sum(t.verdict.outcome is Outcome.correct for t in traces)
    return {
        "probe_problems": n,
        "probe_accuracy": correct / n,
        "probe_tokens": sum(t.num_tokens or 0 for t in traces) / n,
        "probe_unfinished": sum(t.finish_reason == "length" for t in traces) / n,
        "probe_repetition": sum(ends_in_a_loop(t.completion) for t in traces) / n,
    }


def ends_in_a_loop(text: str) -> bool:
    """True when the text ends with one piece said four times or more in a row, over at least 16 characters.

    Only the last 4,096 characters are looked at.
    """
    text = text[-4096:]
    for period in range(1, len(text) // LOOP_ROUNDS + 1):
        span = max(LOOP_CHARS, LOOP_ROUNDS * period)
        tail = text[-span:]
        if len(tail) == span and tail[period:] == tail[:-period]:
            return True
    return False
