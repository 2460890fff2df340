"""Real images: to score students, to train a teacher that is not there yet, and for the arm on real data. Never for inversion.

data: digits                                          scikit-learn's 1,797 digits of 8 x 8 pixels
data: {name: image-folder, path: Greek, invert: true}  a folder per class, with image files
data: {name: npz, path: mine.npz}                     arrays `images` (uint8) and `labels`
data: {name: cifar-binary, path: cifar-10-batches-bin}
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redistill.datafree.settings import ImageSettings
from redistill.errors import OperatorError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
# No other of Pillow's formats, whatever a file is called: some of them start programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 2**24  # of one image file: a larger one is refused before it is decoded
MAX_BYTES = 2**31  # of all images of a set once they are arrays
CIFAR_ROW = 1 + 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class Images:
    """Images (N, C, H, W) with values in 0..1 and labels (N,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images to train on and images to test on."""

    train: Images
    test: Images


def digits(images: ImageSettings, *, test_share: float = 0.3, split_seed: int = 0) -> ImageSet:
    """The 1,797 handwritten digits that come with scikit-learn, resized where `size` is not 8, split class by class."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise OperatorError("data digits: scikit-learn is not installed; run pip install scikit-learn.") from error
    data = load_digits()
    pixels = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    return split(_fitting(pixels, torch.tensor(data.target), images, "digits"), test_share, split_seed)


def image_folder(
    images: ImageSettings, *, path: str, invert: bool = False, test_share: float = 0.25, split_seed: int = 0
) -> ImageSet:
    """A folder per class, in the order of names, with image files; grey or colour by images.channels, resized to images.size.

    invert: black becomes white, for dark strokes on a light ground. OperatorError names the first file that is not an image.
    """
    root = Path(path)
    classes = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    files = [
        (file, label)
        for label, place in enumerate(classes)
        for file in sorted(place.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise OperatorError(
            f"data image-folder: {root} has no folders with images ({', '.join(SUFFIXES)}), one folder per class."
        )
    if len(files) * images.channels * images.size**2 * 4 > MAX_BYTES:
        raise OperatorError(
            f"data image-folder: {len(files):,} images of this size are over 2 GiB; name a smaller folder."
        )
    pixels = np.stack([_decoded(file, images) for file, _ in files])
    pixels_in = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([label for _, label in files])
    return split(_fitting(1 - pixels_in if invert else pixels_in, labels, images, str(root)), test_share, split_seed)


def _decoded(file: Path, images: ImageSettings) -> np.ndarray:
    """One file as (size, size, channels) bytes. OperatorError for a file that is not an image, or too large a one."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise OperatorError(
                    f"{file} has {image.width} x {image.height} pixels; the limit is {MAX_PIXELS:,}; scale it down."
                )
            grey = images.channels == 1
            resized = image.convert("L" if grey else "RGB").resize((images.size, images.size), Image.Resampling.BOX)
            return np.asarray(resized, dtype=np.uint8).reshape(images.size, images.size, images.channels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OperatorError(f"{file} is not a readable image ({error}); repair or remove it.") from error


def npz(images: ImageSettings, *, path: str, test_share: float = 0.25, split_seed: int = 0) -> ImageSet:
    """A numpy .npz with `images` (uint8, N x H x W or N x H x W x C) and `labels` (integers from 0).

    With `test_images` and `test_labels` beside them the split is as in the file, and `test_share` of no effect.
    """
    if Path(path).is_file() and not zipfile.is_zipfile(path):
        raise OperatorError(
            f"data npz: {path} is not an .npz file; write one with numpy.savez(path, images=..., labels=...)."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked * 4 > MAX_BYTES:  # pixels become fp32
            raise OperatorError(f"data npz: the images in {path} are over 2 GiB; name a smaller file.")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        part = _npz_part(arrays, "", images, path)
        tested = _npz_part(arrays, "test_", images, path) if "test_images" in arrays else None
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise OperatorError(
            f"data npz: {path} cannot be read ({error}); it needs `images` (uint8) and `labels`."
        ) from error
    return ImageSet(part, tested) if tested is not None else split(part, test_share, split_seed)


def _npz_part(arrays: dict[str, np.ndarray], prefix: str, images: ImageSettings, path: str) -> Images:
    pixels, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise ValueError(f"{prefix}images is {pixels.dtype} of {pixels.ndim} axes")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(f"{prefix}labels is {labels.dtype} of {labels.ndim} axes, not one integer per image")
    tensor = torch.from_numpy(pixels if pixels.ndim == 4 else pixels[..., None]).permute(0, 3, 1, 2).float() / 255
    return _fitting(tensor, torch.from_numpy(labels.astype(np.int64)), images, path)


def cifar_binary(images: ImageSettings, *, path: str) -> ImageSet:
    """CIFAR-10 in its binary version: a folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, its own split."""
    parts = []
    for names in ([f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]):
        rows = []
        for name in names:
            file = Path(path) / name
            if not file.is_file() or file.stat().st_size % CIFAR_ROW or file.stat().st_size > MAX_BYTES:
                raise OperatorError(
                    f"data cifar-binary: {file} is not a file of CIFAR-10's binary version; unpack cifar-10-binary.tar.gz there."
                )
            rows.append(np.fromfile(file, dtype=np.uint8).reshape(-1, CIFAR_ROW))
        table = np.concatenate(rows)
        pixels = torch.from_numpy(table[:, 1:].reshape(-1, 3, 32, 32)).float() / 255
        parts.append(_fitting(pixels, torch.from_numpy(table[:, 0].astype(np.int64)), images, path))
    return ImageSet(*parts)


def _fitting(pixels: Tensor, labels: Tensor, images: ImageSettings, where: str) -> Images:
    """Images as the recipe says they are, resized where they are of another size. OperatorError where they cannot be."""
    if pixels.shape[1] != images.channels:
        raise OperatorError(
            f"data: {where} has images of {pixels.shape[1]} channels; write images: {{channels: {pixels.shape[1]}}}."
        )
    if not len(labels) or len(labels) != len(pixels):
        raise OperatorError(f"data: {where} has {len(pixels):,} images and {len(labels):,} labels.")
    if int(labels.min()) < 0 or int(labels.max()) >= images.classes:
        raise OperatorError(
            f"data: {where} has labels {int(labels.min())} to {int(labels.max())}; images.classes is {images.classes}."
        )
    if tuple(pixels.shape[2:]) != (images.size, images.size):
        pixels = torch.nn.functional.interpolate(pixels, size=(images.size, images.size), mode="area")
    return Images(pixels.contiguous(), labels.long())


def split(images: Images, test_share: float, seed: int) -> ImageSet:
    """Images split class by class, by a permutation that depends on the seed alone."""
    if not 0 < test_share < 1:
        raise OperatorError(f"data: test_share is {test_share}; write a share between 0 and 1, such as 0.25.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    train, test = [], []
    for label in images.labels.unique().tolist():
        mine = order[images.labels[order] == label].tolist()
        cut = max(1, round(test_share * len(mine)))
        test += mine[:cut]
        train += mine[cut:]
    if not train:
        raise OperatorError("data: every class has only one image, which is held out for the test; add images.")
    return ImageSet(*(Images(images.pixels[sorted(part)], images.labels[sorted(part)]) for part in (train, test)))


# A set's name in a recipe -> its function. One of a user's own takes the same: (images, *, options) -> ImageSet.
IMAGE_SETS: dict[str, Callable[..., ImageSet]] = {
    "digits": digits,
    "image-folder": image_folder,
    "npz": npz,
    "cifar-binary": cifar_binary,
}
