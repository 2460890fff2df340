"""Engine `transformers`: sampling in this process (local_sampling.py, which brings torch only when it is called)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from redistill.rollout.requests import Finished, Request, Sample, Sampling, tell_nobody


def transformers_engine(
    student: Callable[[], tuple[Any, Any]],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int = 128,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    _finished: Finished = tell_nobody,
) -> list[Sample]:
    """One sample per request, in the order of the requests. `student` returns (model, tokenizer), loaded.

    dtype auto: bf16 on a GPU, fp32 on a CPU. The model of a `Student` with `owned` is cast and moved to the GPU in place.
    Any other is borrowed: it is sampled where it lies, in bf16 by autocast over its unchanged weights, in fp32 in the
    weights' own type. A prompt that leaves no room for an answer in the model's context gets an empty sample with finish
    reason 'length'.
    """
    from redistill.rollout.local_sampling import sample

    return sample(student, requests, sampling, batch_size=batch_size, dtype=dtype, finished=_finished)
