"""Images of a run: files of unknown origin, checked once, then kept under the SHA-256 of their bytes and found by it.

    store = ImageStore(Path("runs/x/corpus/images"))
    sha256 = store.add(data)            ImageError("corrupt_image") where it is none that a student can be shown
    read_image(store.path_of(sha256))   an RGB picture of pillow, turned upright

Pillow is imported where an image is opened and nowhere else, so runs of text never load it. An image is decoded alone and let go,
so memory does not grow with their number.
"""

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from redistill.config.extras import missing
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, sha256_file
from redistill.records import Image
from redistill.text.utf8 import utf8

# The formats that data sets use. Pillow knows more, some of which start other programs (EPS runs Ghostscript).
FORMATS = {
    "PNG": "png",
    "JPEG": "jpg",
    "MPO": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
}
_OPENED = [name for name in FORMATS if name != "MPO"]  # a JPEG that holds several is opened as one, and calls itself so
MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I;16B", "I;16L"))  # fmt: skip
MAX_RATIO = 200  # of the longer side to the shorter: Qwen2-VL's processor takes no more


class ImageError(Exception):
    """A file that cannot be shown to a student: a short stable word, and a sentence for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What one image may cost: bytes of its file, and pixels, which a small file may unfold to in any number."""

    max_bytes: int = 32 * 2**20
    max_pixels: int = 50_000_000


def pillow() -> Any:
    """The package PIL. OperatorError where it is not installed."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise OperatorError(missing("PIL", "reading images")) from error
    return PIL


def checked_format(data: bytes, limits: ImageLimits) -> str:
    """The format (a key of FORMATS) of an image that decodes to its end. ImageError: `image_too_large` (bytes), `not_an_image`,
    `too_many_pixels`, `animated_image` (several frames or pages), `image_shape` (a side of 0, or far longer than the other),
    `image_mode` (numbers that are not colours: 32-bit and floating-point), `corrupt_image` (cut short, or damaged)."""
    if len(data) > limits.max_bytes:
        raise ImageError("image_too_large", f"{len(data):,} bytes, over the limit of {limits.max_bytes:,}")
    with _opened(data) as image:
        width, height = image.size
        if width * height > limits.max_pixels:
            raise ImageError(
                "too_many_pixels", f"{width:,} x {height:,} pixels, over the limit of {limits.max_pixels:,}"
            )
        if not width or not height or max(width, height) > MAX_RATIO * min(width, height):
            raise ImageError("image_shape", f"{width:,} x {height:,} pixels")
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise ImageError("animated_image", f"{image.n_frames:,} frames or pages")
        if image.mode not in MODES and not _is_deep_ppm(image):
            raise ImageError("image_mode", f"mode {image.mode}")
        _as_rgb(image)  # all that a student's processor will be given: what fails, fails here
        return str(image.format)


def _is_deep_ppm(image: Any) -> bool:
    """Whether pillow's 32-bit numbers are a PGM's of up to 16 bits, which it scales to 65,535."""
    return image.mode == "I" and image.format == "PPM"


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """The image, opened but not decoded; whatever pillow raises meanwhile is an ImageError."""
    pil = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images and odd EXIF data, which are counted here
            with pil.Image.open(io.BytesIO(data), formats=_OPENED) as image:
                yield image
    except ImageError:
        raise
    except pil.UnidentifiedImageError as error:
        raise ImageError("not_an_image", "none of " + ", ".join(_OPENED)) from error
    except pil.Image.DecompressionBombError as error:
        raise ImageError("too_many_pixels", str(error)) from error
    except Exception as error:  # the decoders share no kind: OSError, SyntaxError, struct.error, IndexError, ...
        raise ImageError("corrupt_image", " ".join(str(error).split())[:200]) from error


def read_image(path: Path) -> Any:
    """An RGB picture of pillow: turned upright (EXIF that can be read), transparent parts over white, 16 bits as 8.

    OperatorError where the file is not the one that was stored (its name holds its SHA-256)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path} cannot be read ({error.strerror}); run the corpus stage again.") from error
    if hashlib.sha256(data).hexdigest() != path.stem:
        raise OperatorError(f"{path} is not the image that was stored (checksum mismatch); run the corpus stage again.")
    with _opened(data) as image:
        return _as_rgb(image)


def _as_rgb(image: Any) -> Any:
    pil = pillow()
    image.load()
    try:
        upright = pil.ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - whatever damaged EXIF data raises: the picture is whole, and shown as it lies, as viewers do
        upright = image
    if upright.mode.startswith("I"):
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in upright.info:
        above = upright.convert("RGBA")
        upright = pil.Image.new("RGBA", above.size, "white")
        upright.alpha_composite(above)
    return upright.convert("RGB")


@dataclass(frozen=True, slots=True)
class ImageStore:
    """A folder of images, each in a file ab/ab12....png by the SHA-256 of its bytes: an image that comes twice lies there once."""

    folder: Path
    limits: ImageLimits = ImageLimits()

    def add(self, data: bytes) -> str:
        """Check an image and keep it; returns its SHA-256. ImageError as of `checked_format`."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self.find(sha256) is None:
            suffix = FORMATS[checked_format(data, self.limits)]
            with atomic_write(self.folder / sha256[:2] / f"{sha256}.{suffix}") as part:
                part.write_bytes(data)
        return sha256

    def find(self, sha256: str) -> Path | None:
        """The file of an image, None where it is not here."""
        names = (self.folder / sha256[:2] / f"{sha256}.{suffix}" for suffix in dict.fromkeys(FORMATS.values()))
        return next((path for path in names if path.is_file()), None)


def image_folders(run: Path) -> tuple[Path, Path]:
    """The folders of a run that hold images: the corpus's and the benchmarks'."""
    return run.absolute() / "corpus" / "images", run.absolute() / "evaluate" / "images"


_FOLDERS: list[
    Path
] = []  # where this process looks; a name is a hash of the content, so an image in any of them is the right one


def look_in(*folders: Path) -> None:
    """Have `find_image` look in these folders too."""
    _FOLDERS.extend(folder for folder in folders if folder not in _FOLDERS)


def folders_known() -> tuple[Path, ...]:
    """The folders in which `find_image` looks."""
    return tuple(_FOLDERS)


def find_image(sha256: str) -> Path | None:
    """The file of an image in the first of the known folders that has it."""
    return next((path for folder in _FOLDERS if (path := ImageStore(folder).find(sha256)) is not None), None)


_STORE: ContextVar[ImageStore | None] = ContextVar("image_store", default=None)


@contextmanager
def storing_images(store: ImageStore | None) -> Iterator[None]:
    """Sources keep the images of their rows in this store meanwhile; None: they name them and leave them where they lie."""
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


def keeps_images() -> bool:
    """True within `storing_images`."""
    return _STORE.get() is not None


def image_of(value: Any, folder: Path) -> Image:
    """The image that a row of a data file names or holds; `folder` is the file's.

    value: a path below the folder, {"path": ..., "sha256": ...}, the bytes of an image file, or {"bytes": ..., "path": ...} as datasets
    writes them. Within `storing_images` it is checked and kept. ImageError: `wrong_type`; `bad_image_path` for a path that leads out of
    the folder, also through a link; `missing_image`; `image_changed` where its SHA-256 is not the one that the row says; and where it
    is kept, those of `checked_format`.
    """
    one = {"bytes": value} if isinstance(value, bytes) else {"path": value} if isinstance(value, str) else value
    if not isinstance(one, Mapping):
        raise ImageError("wrong_type", "an image is a path, the bytes of a file, or a table of both")
    path, sha256 = _text(one.get("path")), _text(one.get("sha256"))
    if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise ImageError("wrong_type", "sha256 must be 64 hex digits")
    held: Any = one.get("bytes")
    if one.get("path") is None and held is None:
        raise ImageError("wrong_type", "an image has neither a path nor bytes")
    if isinstance(held, bytes):
        image = _kept(held, path, sha256)
        path = path or image[:16]
    else:
        pure = PurePosixPath(path)
        if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
            raise ImageError("bad_image_path", path)
        if sha256 and _STORE.get() is None:
            return Image(path, sha256)
        image = _kept_file(folder, path, sha256)
    return Image(path, image)


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise ImageError("wrong_type", "path and sha256 must be strings")
    return "" if value is None else utf8(value)


def _kept_file(folder: Path, path: str, written_path: str) -> str:
    """The SHA-256 of a file below the folder, kept where images are kept. One over the limit is not read."""
    file, store = folder / path, _STORE.get()
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise ImageError("bad_image_path", path)
        if not file.is_file():
            raise ImageError("missing_image", path)
        if store is None:
            return sha256_file(file)
        if file.stat().st_size > store.limits.max_bytes:
            raise ImageError("image_too_large", f"{path}: {file.stat().st_size:,} bytes")
        return _kept(file.read_bytes(), path, written_path)
    except (OSError, RuntimeError) as error:  # unreadable, a name too long, a ring of links
        raise ImageError("missing_image", path) from error


def _kept(data: bytes, path: str, written_path: str) -> str:
    """The SHA-256 of these bytes, kept where images are kept. written_path: the hash that the row states, "" where it states none."""
    store = _STORE.get()
    if written_path and hashlib.sha256(data).hexdigest() != written_path:
        raise ImageError("image_changed", path)
    try:
        return hashlib.sha256(data).hexdigest() if store is None else store.add(data)
    except ImageError as error:
        raise ImageError(str(error), f"{path}: {error.detail}" if path else error.detail) from error
