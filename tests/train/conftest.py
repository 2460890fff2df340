"""A student small enough to be checked by hand: two layers, grouped attention, a character tokenizer."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from redistill.config.tables import StudentSettings
from redistill.model import loading
from redistill.model.score_heads import new_critic
from redistill.records import Example, Pair, Span
from redistill.train.rows import read_rows, write_rows
from redistill.train.token_batch import Side, TokenBatch

TINY = StudentSettings(
    from_config={
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
    },
    alphabet="0123456789+-*=;#",
)


@contextmanager
def interrupted(*, after: int) -> Iterator[None]:
    """Ctrl-C during the step of this number, counted from where the stage begins or goes on: its state is saved, and it ends."""
    steps = iter(range(1, after + 1))

    @contextmanager
    def at_that_step() -> Iterator[object]:
        yield lambda: next(steps) == after

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("redistill.train.stage.at_the_next_step", at_that_step)
        yield


def tiny_student(settings: StudentSettings = TINY, seed: int = 0):
    tokenizer = loading.load_tokenizer(settings)
    return loading.load_model(settings, tokenizer, seed=seed), tokenizer


def tiny_critic(settings: StudentSettings = TINY, seed: int = 0):
    """A critic on the student's body, its head all zeros."""
    model, tokenizer = tiny_student(settings, seed)
    return new_critic(model), tokenizer


def drawn_critic():
    """A critic whose head says something."""
    model, tokenizer = tiny_critic()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(model.score.weight.shape, generator=draw))
    return model, tokenizer


def text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice("0123456789+-*=;#") for _ in range(length))


def some_pairs(count: int, seed: int = 0, longest: int = 60) -> list[Pair]:
    """Pairs of very different lengths: from 1 to `longest` characters on either side."""
    rng = random.Random(seed)
    return [
        Pair(
            f"p{i}",
            text(rng, rng.randint(1, 14)),
            text(rng, rng.randint(1, longest)),
            text(rng, rng.randint(1, longest)),
            f"c{i}",
            f"r{i}",
        )
        for i in range(count)
    ]


def some_examples(count: int, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    return [Example(f"p{i}", f"t{i}", text(rng, 14), text(rng, rng.randint(20, 50))) for i in range(count)]


def labelled_examples(count: int, seed: int = 0) -> list[Example]:
    """Examples with a label at their end: right where they hold a 7. Each has a target on its first character too."""
    rows = []
    for one in some_examples(count, seed):
        right, end = float("7" in one.completion), len(one.completion)
        spans = (Span(0, 1, 0.5), Span(end, end + 1, right))
        rows.append(Example(one.problem_id, one.trace_id, one.prompt, one.completion, spans=spans))
    return rows


def encoded(folder, records, tokenizer, max_tokens=200, spans="weight"):
    """The records as rows in `folder`, with the weights, or targets, of their spans."""
    write_rows(
        folder,
        records,
        encode_prompts=lambda texts: loading.encode_prompts(tokenizer, texts),
        encode_completions=lambda texts: loading.encode_completions(tokenizer, texts),
        max_tokens=max_tokens,
        completion_offsets=lambda texts: loading.completion_offsets(tokenizer, texts),
        spans=spans,
    )
    return read_rows(folder)[0]


def batch_of(counts, sides, ids=None, row_weights=None, **more):
    """A TokenBatch of sequences with so many tokens; `sides` names the side of each, row by row."""
    total = int(sum(counts))
    per_row = 2 if "chosen" in sides else 1
    row = torch.arange(len(counts)) // per_row
    return TokenBatch(
        ids=torch.arange(total) if ids is None else ids,
        counts=torch.tensor(counts, dtype=torch.float64),
        row=row,
        side=torch.tensor([Side[side] for side in sides]),
        group=row,
        row_weights=torch.ones(len(counts) // per_row).double() if row_weights is None else row_weights,
        **more,
    )


@pytest.fixture
def student():
    return tiny_student()
