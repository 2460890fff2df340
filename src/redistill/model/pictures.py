"""Image-text students: which models are such, what their tokenizers make of an image's mark, and the pixels a forward pass is given.

    pictures = pictures_of(tokenizer)                  None for a student that reads text alone
    pictures.encode(tokenizer, "<|redistill:image:ab12...|>How many?")     [start, pad, pad, pad, pad, end, 18, 9, ...]
    pictures.inputs(["ab12..."], ids)                  {"pixel_values": ..., "image_grid_thw": ..., "mm_token_type_ids": ...}

Served are the models whose image processor names a grid of patches for every image (Qwen2-VL, Qwen2.5-VL, Qwen3-VL): how many tokens
an image takes follows from the grid alone. Their processor is that of pillow, because torchvision is not part of this package; an image is
opened where it is needed and a few are remembered, so memory does not grow with their number.
"""

import inspect
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.io.images import find_image, folders_known, look_in, pillow, read_image
from redistill.text.image_marks import OPENING, images_in, pieces, with_names

TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")  # of a student made from a config
TOKEN_IDS = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
CACHE_BYTES = 64 * 2**20  # of processed images that are remembered
MOST_MIN_PIXELS = 2**24  # that a small image may be blown up to: its patches are 200 MB
_ATTRIBUTE = "redistill_pictures"  # of tokenizers and models, which travel together everywhere


def reads_images(config: Any) -> bool:
    """True for the config of a model with a vision part that answers in text."""
    return is_image_text(str(config.model_type)) and "vision_config" in (getattr(config, "sub_configs", None) or {})


def is_image_text(model_type: str) -> bool:
    """True for a model type that transformers lists among those that answer to images and text."""
    return model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def model_class(config: Any) -> Any:
    """The class of transformers that loads or builds a student of this config."""
    return AutoModelForImageTextToText if reads_images(config) else AutoModelForCausalLM


def text_config(config: Any) -> Any:
    """The part of a config that describes the language model: vocabulary, positions, layers."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def image_token_ids(config: Any) -> list[int]:
    """The ids of the tokens that stand for images and videos; none for a model that reads text alone."""
    ids = (getattr(config, name, None) for name in TOKEN_IDS) if reads_images(config) else ()
    return [int(id) for id in ids if id is not None]


class Pictures:
    """How a student is shown images; where they lie is known to io/images.py.

    processor: an image processor of transformers that returns `image_grid_thw`; most: images of a prompt, None for any number.
    """

    def __init__(self, processor: Any, config: Any, tokenizer: Any, *, most: int | None = None) -> None:
        self.processor, self.most = processor, most
        self.start, self.end, self.pad = (int(getattr(config, name)) for name in TOKEN_IDS[:3])
        ids = [getattr(config, name, None) for name in TOKEN_IDS]
        self.special = {int(id): str(tokenizer.convert_ids_to_tokens(int(id))) for id in ids if id is not None}
        # what no completion may hold: the model would look for the pixels behind it
        self.never_said = [
            id for id, name in zip(ids, TOKEN_IDS) if id is not None and name.startswith(("image", "video"))
        ]
        self._held: OrderedDict[str, dict[str, Tensor]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": OrderedDict(), "_folders": folders_known()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        look_in(*state.pop("_folders"))  # another process looks where this one does
        self.__dict__.update(state)

    def encode(self, tokenizer: Any, prompt: str) -> list[int]:
        """Token ids of a prompt, each image as its start, one id for every patch group, and its end. No bos token is added.

        OperatorError for more images than the student takes, and for one that is not there."""
        parts = pieces(prompt)
        if self.most is not None and len(parts) - 1 > self.most:
            raise OperatorError(
                f"a prompt has {len(parts) - 1} images, but the student takes {self.most} (student.max_images): "
                f"{with_names(prompt)[:120]!r}; drop such problems, or raise the number if the model knows more."
            )
        texts = iter(tokenizer([self.plain(text) for text, _ in parts], add_special_tokens=False)["input_ids"])
        ids: list[int] = []
        for _, image in parts:
            ids += next(texts)
            if image is not None:
                ids += [self.start, *[self.pad] * self.tokens_of(image), self.end]
        return ids

    def plain(self, text: str) -> str:
        """A text of unknown origin in which no token stands for an image or a video; of the same length."""
        for token in self.special.values():
            text = text.replace(token, "‹" + token[1:]) if token in text else text
        return text

    def tokens_of(self, image: str) -> int:
        """How many tokens an image takes between its start and its end."""
        grid = self.features(image)["image_grid_thw"]
        return int(grid.prod()) // int(self.processor.merge_size) ** 2

    def features(self, image: str) -> dict[str, Tensor]:
        """What the processor makes of an image: `pixel_values` (patches, values of a patch), `image_grid_thw` (1, 3).

        OperatorError where it is not in the run."""
        held = self._held.pop(image, None)
        if held is None:
            path = find_image(image)
            if path is None:
                where = ", ".join(map(str, folders_known())) or "no folder"
                raise OperatorError(
                    f"image {image[:12]}... is not there (looked in {where}); run the corpus stage again."
                )
            held = dict(self.processor(images=[read_image(path)], return_tensors="pt"))
        self._held[image] = held
        while len(self._held) > 1 and sum(map(_bytes_of, self._held.values())) > CACHE_BYTES:
            self._held.popitem(last=False)
        return held

    def inputs(self, images: Sequence[str], ids: Tensor, model: Any) -> dict[str, Tensor]:
        """What the model's forward pass is given beside the ids (rows, T), on their device: the pixels of the images in the order in
        which the rows show them, and which tokens are theirs where the model asks for that."""
        features = [self.features(image) for image in images]
        inputs = {
            name: torch.cat([one[name] for one in features]).to(ids.device)
            for name in (features[0] if features else ())
        }
        if features and "mm_token_type_ids" in inspect.signature(model.forward).parameters:
            inputs["mm_token_type_ids"] = (ids == self.pad).int()
        return inputs


def _bytes_of(features: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in features.values())


def pictures_of(tokenizer_or_model: Any) -> Pictures | None:
    """How a student is shown images, by its tokenizer or its model; None for one that reads text alone."""
    return getattr(tokenizer_or_model, _ATTRIBUTE, None)


def attach(tokenizer_or_model: Any, pictures: Pictures | None) -> None:
    """Give a tokenizer or a model what it shows images with."""
    if pictures is not None:
        setattr(tokenizer_or_model, _ATTRIBUTE, pictures)


def check_text_alone(prompts: Sequence[str]) -> None:
    """OperatorError where a prompt shows an image, for a student that reads text alone."""
    if any(OPENING in prompt and images_in(prompt) for prompt in prompts):
        raise OperatorError(
            "a prompt has an image, but the student reads only text; name an image-text model under `student`."
        )


def why_alone(model: Any) -> str:
    """Why rows cannot share a pass of a model that `prepare_for_packing` refused, for a sentence."""
    return "it reads images" if reads_images(model.config) else "its layers carry state from row to row"


# --- from a folder, or from nothing -----------------------------------------------------------------------------------


def load_pictures(
    where: str, config: Any, tokenizer: Any, edits: Mapping[str, Any], most: int | None, **origin: Any
) -> Pictures:
    """Of a student that lies in a folder or on the hub. OperatorError where it has no image processor, or one of another kind."""
    from transformers import AutoImageProcessor

    pillow()
    _check_pixels(edits)
    try:
        processor = AutoImageProcessor.from_pretrained(where, **origin, **edits)
    except (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"student.model: {where} is an image-text model and its image processor cannot be loaded ({why}); copy "
            f"the model's preprocessor_config.json next to config.json."
        ) from error
    return _checked(processor, config, tokenizer, edits, most, where)


def new_pictures(config: Any, tokenizer: Any, edits: Mapping[str, Any], most: int | None) -> Pictures:
    """Of a student that is made from a config: Qwen2-VL's processor with the patches of its vision part."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    pillow()
    _check_pixels(edits)
    vision = config.vision_config
    patches = {
        "patch_size": vision.patch_size,
        "temporal_patch_size": getattr(vision, "temporal_patch_size", 1),
        "merge_size": getattr(vision, "spatial_merge_size", 1),
    }
    try:
        processor = Qwen2VLImageProcessorPil(**{**patches, **edits})
    except (TypeError, ValueError) as error:
        raise OperatorError(f"student.image_processor: {error}") from error
    return _checked(processor, config, tokenizer, edits, most, "student.from_config")


def _check_pixels(edits: Mapping[str, Any]) -> None:
    """OperatorError for sizes that no image can be brought to, or that would blow a small image up beyond memory."""
    sizes = {name: edits[name] for name in ("min_pixels", "max_pixels") if edits.get(name) is not None}
    for name, size in sizes.items():
        limit = MOST_MIN_PIXELS if name == "min_pixels" else sys.maxsize
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= limit:
            up_to = f" to {limit:,}" if name == "min_pixels" else ""
            raise OperatorError(
                f"student.image_processor.{name}: {size!r}: write a whole number of pixels, from 1{up_to}."
            )
    if len(sizes) == 2 and sizes["min_pixels"] > sizes["max_pixels"]:
        raise OperatorError(
            f"student.image_processor: min_pixels {sizes['min_pixels']:,} is above max_pixels {sizes['max_pixels']:,}; lower it."
        )


def _check_edits(processor: Any, edits: Mapping[str, Any]) -> None:
    """OperatorError for an option that the processor does not know, and for a value that it cannot work with: a small image is tried."""
    known: list[str] | None = getattr(processor, "_valid_kwargs_names", None)
    unknown = [name for name in edits if name not in known] if known is not None else []
    if known is not None and unknown:
        raise OperatorError(
            f"student.image_processor.{unknown[0]}: the image processor has no such option{did_you_mean(unknown[0], known)}"
        )
    if not edits:
        return
    try:
        processor(images=[pillow().Image.new("RGB", (32, 32))], return_tensors="pt")
    except Exception as error:  # of many kinds, by which option is wrong
        raise OperatorError(
            f"student.image_processor: with these options the image processor fails on a small image ({' '.join(str(error).split())[:200]}); "
            "correct them."
        ) from error


def _checked(
    processor: Any, config: Any, tokenizer: Any, edits: Mapping[str, Any], most: int | None, where: str
) -> Pictures:
    lacks = [name for name in TOKEN_IDS[:3] if getattr(config, name, None) is None]
    if lacks or "image_grid_thw" not in getattr(processor, "model_input_names", ()):
        raise OperatorError(
            f"student: {config.model_type} ({where}) handles images in a way that is not supported; use a model such as Qwen2-VL, "
            "Qwen2.5-VL or Qwen3-VL, whose processor names a grid of patches (image_grid_thw)."
        )
    _check_edits(processor, edits)
    return Pictures(processor, config, tokenizer, most=most)


# --- parts of the model ---------------------------------------------------------------------------------------------------


def freeze(model: Any, parts: Sequence[str]) -> None:
    """Take a part of an image-text model out of training: `language` is the language model with its embeddings and its head,
    `vision` everything else (the tower and what joins it to the language model). OperatorError for a model of text alone."""
    if not reads_images(model.config):
        raise OperatorError(f"train: freeze: {model.config.model_type} reads only text; leave it out.")
    language = {id(p) for module in (model.get_decoder(), model.get_output_embeddings()) for p in module.parameters()}
    for parameter in model.parameters():
        part = "language" if id(parameter) in language else "vision"
        if part in parts:
            parameter.requires_grad_(False)
