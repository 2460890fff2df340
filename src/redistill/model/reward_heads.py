"""Released process reward models, without their code: a body, a head, where its scores are read, and what they mean.

    reader = open_reader("qwen-prm", Origin("Qwen/Qwen2.5-Math-PRM-7B", None, "score (process): model"))
    rows = [reader.encode(problem, "", "2+2=4\\n\\nSo 8.", [(0, 7), (7, 12)])]
    reader.values(rows)   ->   [[0.98, 0.03]]       the chance that each step is right

A layout is a function that loads a model and says how a text becomes tokens and places. Remote code is never run and a pickle
never opened: heads come from *.safetensors by their published names.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, PreTrainedTokenizerFast

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.batches import HeadOutputs, prepare_body
from redistill.model.hub import hub_options
from redistill.model.loading import context_length, encode_completions, encode_prompts
from redistill.model.score_heads import prepare_scores, score_head
from redistill.text.prompts import rendered_chat

Ranges = Sequence[tuple[int, int]]  # of the steps of a completion, in characters
Encoded = tuple[list[int], list[int]]  # token ids, and the places at which scores are read, one per step
_SAID = "WHATWASSAID"  # stands for the assistant's message while a chat template is rendered


@dataclass(frozen=True, slots=True)
class Origin:
    """A model to be loaded: folder or hub id, revision, and the setting that names it, for messages."""

    model: str
    revision: str | None
    where: str

    @property
    def settings(self) -> StudentSettings:
        """As a student's, for the loaders."""
        return StudentSettings(model=self.model, revision=self.revision)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a layout writes a text for its model, and what it reads there.

    steps: (problem, prompt, completion, ranges) -> tokens and places, or a reason why not. whole: the same with one place, for
    the score of the whole completion; None where a layout has none. outputs: numbers that the head gives at a place;
    read: (n, outputs) of them -> (n,) chances. chosen: which of a server's probabilities is the score.
    """

    steps: Callable[[str, str, str, Ranges], Encoded | str]
    whole: Callable[[str, str, str], Encoded] | None
    outputs: int
    read: Callable[[Tensor], Tensor]
    chosen: int


@dataclass(frozen=True, slots=True)
class Reader:
    """A loaded model of a layout."""

    encoding: Encoding
    model: HeadOutputs

    def values(self, rows: Sequence[Encoded], *, tokens_per_batch: int = 8192) -> list[list[float] | str]:
        """The chances at the places of each row, or `empty`, `too_long`, or `not_finite` where the model gives no number."""
        outputs = self.model(rows, tokens_per_batch=tokens_per_batch)
        read = (one if isinstance(one, str) else self.encoding.read(one.double()) for one in outputs)
        return [one if isinstance(one, str) else one.tolist() if one.isfinite().all() else "not_finite" for one in read]


def open_reader(layout: str, origin: Origin) -> Reader:
    """The model of a layout, loaded. OperatorError where it is another kind of model, or only a pickle."""
    load, _ = LAYOUTS[layout]
    return load(origin)


def encoding_of(layout: str, origin: Origin) -> Encoding:
    """How texts are written for a model that a server holds: only its tokenizer is loaded."""
    _, encode = LAYOUTS[layout]
    return encode(tokenizer_of(origin), origin)


# --- ours: a token classifier with one label, as the objectives `process` and `outcome` train it -----------------------


def load_ours(origin: Origin) -> Reader:
    """A critic of ours, or any AutoModelForTokenClassification with one label."""
    where = locate_model(origin)
    kind, labels = architecture_of(origin, where)
    if not kind.endswith("ForTokenClassification") or labels != 1:
        raise OperatorError(
            f"{origin.where}: {origin.model} is not a critic (it is a {kind or 'model of unknown kind'} with {labels} labels, and layout ours needs "
            "a token classifier with one); train one with the objective process, or name the layout of a released model."
        )
    critic = load_weights(AutoModelForTokenClassification, origin, where, exact=True)
    packs, head = prepare_scores(critic), score_head(critic)
    encoding = encode_ours(tokenizer_of(origin), origin)
    return Reader(encoding, HeadOutputs(critic.base_model, head, packs=packs, limit=context_length(critic)))


def encode_ours(tokenizer: PreTrainedTokenizerFast, origin: Origin) -> Encoding:
    """The prompt and the completion as in training; a step's score stands on the token of its last character, that of the
    whole on the end-of-turn token."""

    def steps(problem: str, prompt: str, completion: str, ranges: Ranges) -> Encoded | str:
        ids, first = _ids(tokenizer, prompt, completion)
        ends = [end for _, end in loading.completion_offsets(tokenizer, [completion])[0]]
        return ids, [first + _token_at(ends, end) for _, end in ranges]

    def whole(problem: str, prompt: str, completion: str) -> Encoded:
        ids, _ = _ids(tokenizer, prompt, completion)
        return ids, [len(ids) - 1]

    return Encoding(steps, whole, 1, lambda outputs: torch.sigmoid(outputs[:, 0]), 0)


def encode_tokens(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Encoded:
    """The prompt and the completion as in training, and the place of every completion token, the end-of-turn token last."""
    ids, first = _ids(tokenizer, prompt, completion)
    return ids, list(range(first, len(ids)))


def _ids(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> tuple[list[int], int]:
    (before,), (after,) = encode_prompts(tokenizer, [prompt]), encode_completions(tokenizer, [completion])
    return [*before, *after], len(before)


def _token_at(ends: Sequence[int], end: int) -> int:
    """The token that holds the character before `end`: the first that reaches it, of several of one character the last."""
    place = next((number for number, reached in enumerate(ends) if reached >= end), len(ends) - 1)
    while place + 1 < len(ends) and ends[place + 1] == ends[place]:
        place += 1
    return place


# --- qwen-prm: Qwen2.5-Math-PRM-7B, ReasonFlux-PRM-7B -------------------------------------------------------------------


def load_qwen_prm(origin: Origin) -> Reader:
    """A body with `score.0`, ReLU, `score.2` on it, which gives two outputs at each marker <extra_0>."""
    where = locate_model(origin)
    names = ("score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias")
    first, first_bias, second, second_bias = _tensors(origin, where, names)
    if second.shape[0] != 2:
        raise OperatorError(
            f"{origin.where}: the head of {origin.model} gives {second.shape[0]:,} outputs, and layout qwen-prm has 2 (wrong, right); it is "
            "another kind of model."
        )
    body = load_weights(AutoModel, origin, where)
    device = next(body.parameters()).device
    first, first_bias, second, second_bias = (t.float().to(device) for t in (first, first_bias, second, second_bias))

    def head(hidden: Tensor) -> Tensor:
        return torch.relu(hidden @ first.t() + first_bias) @ second.t() + second_bias

    encoding = encode_qwen_prm(tokenizer_of(origin), origin)
    return Reader(encoding, HeadOutputs(body, head, packs=prepare_body(body), limit=context_length(body)))


def encode_qwen_prm(tokenizer: PreTrainedTokenizerFast, origin: Origin) -> Encoding:
    """The problem and the steps in the tokenizer's chat template, <extra_0> after each step; class 1 is `right`.

    Steps and markers become tokens apart, so a place is known from the order and not searched for in the ids.
    """
    marker = tokenizer.convert_tokens_to_ids("<extra_0>")
    if not isinstance(marker, int) or marker == tokenizer.unk_token_id:
        raise OperatorError(
            f"{origin.where}: the tokenizer of {origin.model} has no token <extra_0>, which layout qwen-prm needs."
        )
    if not tokenizer.chat_template:
        raise OperatorError(
            f"{origin.where}: the tokenizer of {origin.model} has no chat template, which layout qwen-prm needs."
        )

    def written(problem: str, pieces: Sequence[str]) -> Encoded:
        messages = [{"role": "user", "content": problem}, {"role": "assistant", "content": _SAID}]
        before, _, after = rendered_chat(tokenizer, messages, add_generation_prompt=False).rpartition(_SAID)
        ids = list(_plain(tokenizer, before))
        places = []
        for piece in pieces:
            ids += [*_plain(tokenizer, piece), marker]
            places.append(len(ids) - 1)
        return [*ids, *_plain(tokenizer, after)], places

    def steps(problem: str, prompt: str, completion: str, ranges: Ranges) -> Encoded | str:
        return written(problem, [completion[start:end].strip() for start, end in ranges])

    def whole(problem: str, prompt: str, completion: str) -> Encoded:
        return written(problem, [completion])

    return Encoding(steps, whole, 2, lambda outputs: outputs.softmax(-1)[:, 1], 1)


def _plain(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


# --- math-shepherd: peiyi9979/math-shepherd-mistral-7b-prm --------------------------------------------------------------

STEP_TAG, GOOD, BAD = "ки", "+", "-"


def load_math_shepherd(origin: Origin) -> Reader:
    """A language model that says + or - at each marker; the other tokens of the vocabulary take no part."""
    tokenizer = tokenizer_of(origin)
    encoding = encode_math_shepherd(tokenizer, origin)
    model = _named(origin, lambda: loading.load_model(origin.settings, tokenizer, seed=0))
    plain: Any = model
    good, bad = _plain(tokenizer, f"{GOOD} {BAD}")
    rows = plain.get_output_embeddings().weight[[good, bad]].detach().float().clone()
    packs = prepare_body(plain.base_model)
    return Reader(
        encoding,
        HeadOutputs(plain.base_model, lambda hidden: hidden @ rows.t(), packs=packs, limit=context_length(model)),
    )


def encode_math_shepherd(tokenizer: PreTrainedTokenizerFast, origin: Origin) -> Encoding:
    """`problem step ки`, a line per step, as one text; the score is read at each marker."""
    marker, candidates = _plain(tokenizer, STEP_TAG), _plain(tokenizer, f"{GOOD} {BAD}")
    if not marker or len(candidates) != 2 or tokenizer.unk_token_id in (marker[-1], *candidates):
        raise OperatorError(
            f"{origin.where}: the tokenizer of {origin.model} has no tokens for {STEP_TAG}, {GOOD} and {BAD}, which layout math-shepherd needs."
        )

    def steps(problem: str, prompt: str, completion: str, ranges: Ranges) -> Encoded | str:
        text, ends = f"{problem} ", []
        for start, end in ranges:
            text += f"{completion[start:end].strip()} {STEP_TAG}"
            ends.append(len(text))
            text += "\n"
        encoding = tokenizer(text.removesuffix("\n"), return_offsets_mapping=True)
        reached = [end for _, end in encoding["offset_mapping"]]
        places = [_token_at(reached, end) for end in ends]
        if any(encoding["input_ids"][place] != marker[-1] for place in places):
            return "marker_not_a_token"
        return list(encoding["input_ids"]), places

    return Encoding(steps, None, 2, lambda outputs: outputs.softmax(-1)[:, 0], 0)


# --- last-token: ReasonFlux-PRM-1.5B ----------------------------------------------------------------------------------

HEAD_FILE = "reward_head.safetensors"  # {"weight": (1, hidden), "bias": (1,)}


def load_last_token(origin: Origin) -> Reader:
    """A language model with a head of its own on the last token: one score for the whole text."""
    where = locate_model(origin)
    file = _file(origin, where, HEAD_FILE)
    if file is None:
        pickled = _file(origin, where, "reward_head.pt")
        held = f"only reward_head.pt, a pickle, and to open a pickle is to run what it says. On a machine that trusts it convert it: {CONVERT}" if pickled else (
            f"no {HEAD_FILE} with `weight` and `bias`; it is another kind of model."
        )  # fmt: skip
        raise OperatorError(f"{origin.where}: {origin.model} has {held}")
    weight, bias = (tensor.float() for tensor in _read(file, ("weight", "bias"), origin))
    tokenizer = tokenizer_of(origin)
    model: Any = _named(origin, lambda: loading.load_model(origin.settings, tokenizer, seed=0))
    if weight.shape != (1, model.config.hidden_size):
        raise OperatorError(
            f"{origin.where}: {HEAD_FILE} has a weight of {tuple(weight.shape)}, not of {(1, model.config.hidden_size)}."
        )
    encoding = encode_last_token(tokenizer, origin)
    packs = prepare_body(model.base_model)
    limit = context_length(model)
    return Reader(
        encoding, HeadOutputs(model.base_model, lambda hidden: hidden @ weight.t() + bias, packs=packs, limit=limit)
    )


CONVERT = "python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('reward_head.pt', weights_only=True), 'reward_head.safetensors')\""


def encode_last_token(tokenizer: PreTrainedTokenizerFast, origin: Origin) -> Encoding:
    """Problem and completion as one text without a template; the score stands on its last token."""

    def steps(problem: str, prompt: str, completion: str, ranges: Ranges) -> Encoded | str:
        ids = list(tokenizer(problem + completion)["input_ids"])
        return ids, [len(ids) - 1]

    return Encoding(steps, None, 1, lambda outputs: torch.sigmoid(outputs[:, 0]), 0)


# --- loading -----------------------------------------------------------------------------------------------------------


def _named(origin: Origin, work: Callable[[], Any]) -> Any:
    """The work, whose messages speak of a student, in the words of the setting that asked for it."""
    try:
        return work()
    except OperatorError as error:
        raise OperatorError(str(error).replace("student.model", origin.where)) from error


def tokenizer_of(origin: Origin) -> PreTrainedTokenizerFast:
    """Its tokenizer."""
    tokenizer: PreTrainedTokenizerFast = _named(origin, lambda: loading.load_tokenizer(origin.settings))
    return tokenizer


def locate_model(origin: Origin) -> str:
    """Its folder, checked against its checksums where it has some, or its hub id."""
    where, gguf = _named(origin, lambda: loading.locate(origin.settings))
    if gguf is not None:
        raise OperatorError(f"{origin.where}: {origin.model} is a .gguf, which has no head; give a folder or a hub id.")
    if (Path(where) / "checksums.json").exists():
        loading.check_folder(Path(where))
    hub_options(str(where), origin.revision, where=origin.where)  # said before a missing file is blamed on the model
    return str(where)


def architecture_of(origin: Origin, where: str) -> tuple[str, int]:
    """(the class that the config names, the number of its labels)."""
    config = _loaded(origin, lambda: AutoConfig.from_pretrained(where, **_from(origin, where)))
    return str((config.architectures or [""])[0]), int(config.num_labels)


def _from(origin: Origin, where: str) -> dict[str, Any]:
    options = hub_options(where, origin.revision, where=origin.where)
    return {"revision": origin.revision or "main", "trust_remote_code": False, **options}


def _loaded(origin: Origin, work: Callable[[], Any]) -> Any:
    """Any error of the libraries that read a model's files, as a sentence."""
    try:
        return work()
    except OperatorError:
        raise
    except Exception as error:  # a damaged file is a struct.error, a SafetensorError, a KeyError or a bare Exception
        raise OperatorError(
            f"{origin.where}: cannot load {origin.model}: {' '.join(str(error).split())[:300]}"
        ) from error


def load_weights(kind: Any, origin: Origin, where: str, *, exact: bool = False) -> Any:
    """A model of a transformers class: on the GPU where there is one, in bf16 unless `exact`; else in fp32."""
    cuda = torch.cuda.is_available()
    options = {
        "dtype": torch.bfloat16 if cuda and not exact else torch.float32,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    # they list a head that we read ourselves as unexpected, and layers that nobody shards here
    names = ("transformers.modeling_utils", "transformers.distributed.tensor_parallel")
    reports = [logging.getLogger(name) for name in names]
    before = [report.level for report in reports]
    for report in reports:
        report.setLevel(logging.ERROR)
    try:
        model, info = _loaded(origin, lambda: kind.from_pretrained(where, **options, **_from(origin, where)))
    finally:
        for report, level in zip(reports, before, strict=True):
            report.setLevel(level)
    if info["missing_keys"]:
        lacking = ", ".join(sorted(info["missing_keys"])[:5])
        raise OperatorError(
            f"{origin.where}: the weights of {origin.model} lack {lacking}; it is another kind of model, or incomplete."
        )
    return model.to("cuda" if cuda else "cpu")


def _file(origin: Origin, where: str, name: str) -> Path | None:
    """A file of the folder or hub repository; None where it has none of that name."""
    if Path(where).is_dir():
        path = Path(where) / name
        return path if path.is_file() else None
    from transformers.utils import cached_file

    file = _loaded(
        origin,
        lambda: cached_file(
            where, name, revision=origin.revision or "main", _raise_exceptions_for_missing_entries=False
        ),
    )
    return None if file is None else Path(file)


def _tensors(origin: Origin, where: str, names: Sequence[str]) -> list[Tensor]:
    """These weights, wherever among the files of the model they stand. OperatorError where one is not there."""
    index = _file(origin, where, "model.safetensors.index.json")
    if index is None:
        file = _file(origin, where, "model.safetensors")
        if file is None:
            raise OperatorError(
                f"{origin.where}: {origin.model} has no model.safetensors; if it has a pickle (*.bin), convert it "
                f"with `save_pretrained` on a machine that trusts it."
            )
        return _read(file, names, origin)
    places = json.loads(index.read_text("utf-8"))["weight_map"]
    tensors = []
    for name in names:
        file = _file(origin, where, places[name]) if name in places else None
        tensors += _read(file, [name], origin) if file is not None else [_lacking(name, origin)]
    return tensors


def _read(file: Path, names: Sequence[str], origin: Origin) -> list[Tensor]:
    with _loaded(origin, lambda: safe_open(str(file), framework="pt")) as tensors:
        there = set(tensors.keys())
        return [tensors.get_tensor(name) if name in there else _lacking(name, origin) for name in names]


def _lacking(name: str, origin: Origin) -> Tensor:
    raise OperatorError(
        f"{origin.where}: {origin.model} has no weight {name}, so it is not a model of this layout; a language model is not a reward model."
    )


Load = Callable[[Origin], Reader]
Encode = Callable[[PreTrainedTokenizerFast, Origin], Encoding]
LAYOUTS: dict[str, tuple[Load, Encode]] = {
    "ours": (load_ours, encode_ours),
    "qwen-prm": (load_qwen_prm, encode_qwen_prm),
    "math-shepherd": (load_math_shepherd, encode_math_shepherd),
    "last-token": (load_last_token, encode_last_token),
}
