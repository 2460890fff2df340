"""Frozen sentence encoders: texts -> unit vectors, so that a dot product is a cosine.

    encode = open_encoder("hashing", model=None, student=None, where="score (reasonflux)")
    encode(["2+2=4", "so 4"])        (2, 1024) float32, rows of length 1; a row of zeros for a text without a word

None of them learns. `hashing` needs nothing and knows spelling only; `student` is the mean last hidden state of the student
before training; `model2vec` is a static embedding table in a folder or on the hub (extra `retrieval`).
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from redistill.config.extras import missing
from redistill.errors import OperatorError
from redistill.model.hub import hub_options
from redistill.rollout.requests import Student

Encode = Callable[[Sequence[str]], np.ndarray]
BUCKETS = 1024  # of the hashing encoder
TOKENS_PER_BATCH = 8192  # that the student reads at a time, padding included


def hashing(model: str | None, student: Student | None) -> Encode:
    """Counts of the text's runs of one, two and three characters in 1,024 buckets; deterministic on every machine."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), BUCKETS), dtype=np.float32)
        for row, text in enumerate(texts):
            words = " ".join(text.split())
            for size in (1, 2, 3):
                for start in range(len(words) - size + 1):
                    vectors[row, zlib.crc32(words[start : start + size].encode()) % BUCKETS] += 1
        return vectors

    return encode


def of_student(model: str | None, student: Student | None) -> Encode:
    """The mean over a text's tokens of the student's last hidden state, over as many as its context holds. OperatorError where there
    is no student."""
    if student is None:
        raise OperatorError("no student is available; choose the encoder hashing or model2vec")
    import torch

    from redistill.model.batches import batches
    from redistill.model.loading import context_length

    language_model, tokenizer = student()
    context = context_length(language_model)
    body: Any = language_model.base_model
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    body.to(device).eval()

    def encode(texts: Sequence[str]) -> np.ndarray:
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"][:context] for text in texts]
        vectors = np.zeros((len(texts), body.config.hidden_size), dtype=np.float32)
        for numbers in batches({n: len(row) for n, row in enumerate(ids) if row}, TOKENS_PER_BATCH):
            longest = len(ids[numbers[0]])
            # padded on the right: a causal model's real tokens never see what stands behind them
            rows = torch.tensor([ids[n] + [0] * (longest - len(ids[n])) for n in numbers], device=device)
            mask = torch.tensor([[1] * len(ids[n]) + [0] * (longest - len(ids[n])) for n in numbers], device=device)
            with torch.no_grad():
                hidden = body(input_ids=rows, attention_mask=mask, use_cache=False).last_hidden_state.float()
            means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            vectors[numbers] = means.cpu().numpy()
        return vectors

    return encode


def model2vec(model: str | None, student: Student | None) -> Encode:
    """A static table of word pieces (such as arXiv 2410.21349). OperatorError without its package or a model."""
    if model is None:
        raise OperatorError("model2vec needs `encoder_model`, a folder or hub id such as minishlab/potion-base-8M")
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise OperatorError(missing("model2vec", "the encoder model2vec")) from error
    hub_options(model, None, where="encoder_model")
    try:
        table = StaticModel.from_pretrained(model)
    except Exception as error:  # of many kinds, by what is wrong with the folder
        raise OperatorError(f"cannot load the encoder {model}: {' '.join(str(error).split())[:200]}") from error
    return lambda texts: np.asarray(table.encode(list(texts)), dtype=np.float32)


def open_encoder(name: str, *, model: str | None, student: Student | None, where: str) -> Encode:
    """The encoder of this name, its rows brought to length 1. OperatorError names `where`."""
    try:
        plain = ENCODERS[name](model, student)
    except OperatorError as error:
        raise OperatorError(f"{where}: {str(error).rstrip('.')}.") from error

    def encode(texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        vectors = plain(texts)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1.0)

    return encode


ENCODERS: dict[str, Callable[[str | None, Student | None], Encode]] = {
    "hashing": hashing,
    "student": of_student,
    "model2vec": model2vec,
}
