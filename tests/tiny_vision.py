"""A student of Qwen2-VL's shape with random weights that fits into a test, and images to show it."""

import copy
import io
from pathlib import Path
from typing import Any

from PIL import Image

from redistill.config.tables import StudentSettings
from redistill.io.images import ImageStore, look_in

FROM_CONFIG: dict[str, Any] = {
    "model_type": "qwen2_vl",
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    },
    "vision_config": {
        "depth": 1,
        "embed_dim": 16,
        "hidden_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 1,
        "in_channels": 3,
        "mlp_ratio": 2,
    },
}
ALPHABET = "abcdefghijklmnopqrstuvwxyz <>/?,.0123456789\n"


def vision_student(**changes: Any) -> StudentSettings:
    """The student; an image of 16 x 16 pixels takes four tokens of it."""
    processor = {"min_pixels": 64, "max_pixels": 1024}
    return StudentSettings(
        **{"from_config": copy.deepcopy(FROM_CONFIG), "alphabet": ALPHABET, "image_processor": processor, **changes}
    )


def png(
    colour: str = "white", *, size: tuple[int, int] = (16, 16), mode: str = "RGB", kind: str = "PNG", **options: Any
) -> bytes:
    """The bytes of an image of one colour."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(data, kind, **options)
    return data.getvalue()


def stored(folder: Path, *images: bytes) -> list[str]:
    """The SHA-256 of images that are kept in a folder, where every student finds them from now on."""
    store = ImageStore(folder)
    look_in(folder)
    return [store.add(image) for image in images]
