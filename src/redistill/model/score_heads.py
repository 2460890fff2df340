"""Critics: a language model's body with a head that gives every token one score, and packed rows of them.

    critic = new_critic(student)                         the student's body, a head of zeros: every score is exactly 0
    policy = PackedScores(critic, packs=prepare_scores(critic))
    loss, scores, _ = policy(pack)                       loss = sum_t c_t * -score_t; scores (N,) in fp32
    save_model(critic, tokenizer, folder, card="...")    an ordinary Hugging Face folder, AutoModelForTokenClassification

To a training step a critic is a student whose log-probs are scores, with one difference: the log-prob of a token is read
where the token is predicted from, its score at the token itself, one place later. N completion tokens, as in logps.py.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.model import loading
from redistill.model.logps import Pack, attend_packed, make_pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OBJECTIVE = "critic_objective"  # the entry of config.json that says what a critic was trained with


def new_critic(student: "PreTrainedModel") -> "PreTrainedModel":
    """A critic with the body of `student` (its own weights, copied) and a head of zeros, in fp32.

    OperatorError where transformers has no token classifier for this kind of model.
    """
    config = copy.deepcopy(student.config)
    config.num_labels = 1
    config.classifier_dropout = 0.0  # the head's dropout, where the class has one; ours has none
    try:
        critic: Any = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
    except ValueError as error:
        raise OperatorError(
            f"student: transformers has no token classifier for {config.model_type}, so it cannot become a critic; "
            f"choose an architecture that has one, such as llama or qwen2."
        ) from error
    plain: Any = student
    critic.base_model.load_state_dict(plain.base_model.state_dict())
    head = score_head(critic)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
    return critic


def score_head(critic: Any) -> nn.Module:
    """The layer that makes scores of hidden states."""
    for name in ("score", "classifier"):
        if isinstance(head := getattr(critic, name, None), nn.Module):
            return head
    raise OperatorError(f"{critic.config.model_type}: its token classifier has no head called score or classifier.")


def is_critic(folder: Path) -> bool:
    """True for a model folder that holds a token classifier with one label."""
    path = folder / "config.json"
    if not path.is_file():
        return False
    config = read_json(path)
    names = config.get("architectures") or [""]
    return str(names[0]).endswith("ForTokenClassification") and len(config.get("id2label") or {}) == 1


def objective_of(folder: Path) -> str | None:
    """The objective that a critic here was trained with, None where its folder does not say: an older or a foreign one."""
    said = read_json(folder / "config.json").get(OBJECTIVE) if (folder / "config.json").is_file() else None
    return said if isinstance(said, str) else None


def load_critic(folder: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """A critic that `save_model` or `save_pretrained` wrote, weights in fp32.

    OperatorError for a language model, for weights that are not there or not what was saved.
    """
    if not is_critic(folder):
        raise OperatorError(
            f"{folder} holds no critic (a token classifier with one label); name a stage or a folder trained with an "
            f"objective of scores, such as outcome."
        )
    if (folder / "checksums.json").exists():
        loading.check_folder(folder)
    tokenizer = loading.load_tokenizer(StudentSettings(model=str(folder)))
    try:
        critic, info = AutoModelForTokenClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise OperatorError(f"cannot load the critic in {folder}: {' '.join(str(error).split())[:300]}") from error
    if info["missing_keys"]:
        raise OperatorError(
            f"the critic in {folder} lacks {', '.join(sorted(info['missing_keys'])[:5])}; train it again."
        )
    return critic, tokenizer


def check_same_tokens(critic: PreTrainedTokenizerFast, student: PreTrainedTokenizerFast, where: str, name: str) -> None:
    """OperatorError where two tokenizers cut texts into other tokens: scores of tokens would stand on other tokens."""
    if _cutting(critic) != _cutting(student):
        raise OperatorError(
            f"{where}: the critic {name} has another tokenizer than the student, so its scores belong to other tokens; train a "
            "critic from this student."
        )


def _cutting(tokenizer: Any) -> tuple[Any, ...]:
    """What decides which tokens a text becomes."""
    core = tokenizer.backend_tokenizer
    stages = (core.normalizer, core.pre_tokenizer)
    return (tokenizer.get_vocab(), tokenizer.eos_token_id, *(None if s is None else repr(s) for s in stages))


class PackedScores(nn.Module):
    """A critic on packed rows. forward(pack) -> (sum_t c_t * -score_t, scores (N,), zeros (N,)), as PackedPolicy gives
    log-probs; `packs` as there."""

    def __init__(self, model: "PreTrainedModel", *, packs: bool = True) -> None:
        super().__init__()
        self.model, self.packs = model, packs

    def forward(self, pack: Pack, weigh: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """`weigh` makes the coefficients from the pack's own scores, (N,) -> (N,); without it they are the pack's."""
        if pack.images:
            raise OperatorError(
                "a critic reads only text, but a row has an image; train it on problems without images."
            )
        model: Any = self.model
        core = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft wraps it
        more: dict[str, Any] = {}
        if self.packs:
            more = {"position_ids": pack.position_ids, "runs": pack.runs, "boundaries": pack.boundaries}
        elif sum(rows for _, rows, _ in pack.runs) != 1:
            raise ValueError("a model that cannot be packed was given a pack of several rows")
        hidden = core.base_model(input_ids=pack.input_ids, use_cache=False, **more).last_hidden_state[0]
        with torch.autocast(hidden.device.type, enabled=False):  # a mean of bf16 scores would be off
            scores = score_head(core)(hidden[pack.target_index + 1].float()).squeeze(-1)
        detached = scores.detach()
        coefficients = pack.coefficients if weigh is None else weigh(detached)
        return -(coefficients.double() * scores.double()).sum().float(), detached, torch.zeros_like(detached)


def prepare_scores(critic: "PreTrainedModel") -> bool:
    """True where rows of a critic may be packed: it is switched to packed attention and proved, on two short rows, to give the
    scores that each has alone, whatever its neighbour says; `prepare_for_packing` does the same for log-probs.

    OperatorError where the scores are not those of the model itself.
    """
    core: Any = critic
    vocabulary = core.config.vocab_size
    long, short, other = (
        [(a * i + b) % vocabulary for i in range(n)] for a, b, n in ((7, 3, 11), (5, 2, 7), (3, 1, 7))
    )
    before, training = core.config._attn_implementation, core.training
    device = next(core.parameters()).device
    head = score_head(core)
    kept = [parameter.detach().clone() for parameter in head.parameters()]
    core.eval()

    def packed(rows: Sequence[list[int]], packs: bool) -> Tensor:
        pack = make_pack([(row, 1) for row in rows], range(len(rows)), [1.0] * len(rows)).to(device)
        return PackedScores(critic, packs=packs)(pack)[1]

    try:
        with torch.no_grad():
            for parameter in head.parameters():  # a head of zeros would hide everything
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
            logits = core(input_ids=torch.tensor([long], device=device)).logits
            if logits.shape[-1] != 1:
                raise OperatorError(
                    f"{core.config.model_type}: its head gives {logits.shape[-1]} scores per token, not one."
                )
            alone = logits[0, 1:, 0].float()
            gap = float((packed([long], False) - alone).abs().max())
            if not gap < 1e-3:
                raise OperatorError(
                    f"{core.config.model_type} gives scores that differ from its own head (by {gap:.3g}): its head does more "
                    "than a matrix product, so it cannot be trained here."
                )
            try:
                attend_packed(core)
                scores, again = (packed([first, long], True)[len(short) - 1 :] for first in (short, other))
            except (ValueError, TypeError, KeyError, AttributeError, OperatorError):
                packs = False
            else:
                packs = float((scores - again).abs().max()) < 2e-6 and float((scores - alone).abs().max()) < 1e-3
            if not packs:
                core.set_attn_implementation(before)
    finally:
        with torch.no_grad():
            for parameter, value in zip(head.parameters(), kept, strict=True):
                parameter.copy_(value)
        core.train(training)
    return packs
