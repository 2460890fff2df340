"""Images of unknown origin: each kind of damage has its reason, what is kept is found by its hash, and nothing is opened that need not be."""

import io
import os
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image as Pillow

from redistill.errors import OperatorError
from redistill.io.images import (
    ImageError,
    ImageLimits,
    ImageStore,
    checked_format,
    image_of,
    read_image,
    storing_images,
)
from tiny_vision import png

RED = png("red", size=(64, 64))
LIMITS = ImageLimits(max_bytes=100_000, max_pixels=1_000_000)


def gif(frames: int) -> bytes:
    data = io.BytesIO()
    pictures = [Pillow.new("RGB", (8, 8), (90 * place, 0, 0)) for place in range(frames)]
    pictures[0].save(data, "GIF", save_all=True, append_images=pictures[1:])
    return data.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_an_image"),
        (b"<svg></svg>", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),  # Ghostscript is never started
        (png()[:60], "corrupt_image"),
        (png("red", kind="JPEG", size=(64, 64))[:400], "corrupt_image"),
        (RED[:45] + b"\0" * 10 + RED[55:], "corrupt_image"),
        (bomb(1000, 1000), "corrupt_image"),
        (bomb(1001, 1000), "too_many_pixels"),
        (bomb(100_000, 100_000), "too_many_pixels"),
        (png(kind="BMP", size=(300, 300)), "image_too_large"),
        (png(size=(401, 2)), "image_shape"),
        (gif(3), "animated_image"),
        (png(mode="F", kind="TIFF"), "image_mode"),
    ],
)
def test_each_kind_of_damage_has_its_reason(data: bytes, reason: str):
    with pytest.raises(ImageError) as caught:
        checked_format(data, LIMITS)
    assert str(caught.value) == reason


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_odd_modes_become_rgb(mode: str, tmp_path):
    store = ImageStore(tmp_path, LIMITS)
    data = io.BytesIO()
    (Pillow.new("I;16", (8, 8), 65535) if mode == "I;16" else Pillow.new("RGB", (8, 8), "white").convert(mode)).save(
        data, "PNG"
    )
    path = store.find(store.add(data.getvalue()))
    assert path is not None
    picture = read_image(path)
    assert (picture.mode, picture.size, picture.getpixel((3, 3))) == ("RGB", (8, 8), (255, 255, 255))


def test_what_is_transparent_is_white_and_a_turned_photo_stands_upright(tmp_path):
    store, data = ImageStore(tmp_path, LIMITS), io.BytesIO()
    Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)).save(data, "PNG")
    assert read_image(store.find(store.add(data.getvalue()))).getpixel((0, 0)) == (255, 255, 255)
    turned = Pillow.new("RGB", (16, 8), "red")
    exif = turned.getexif()
    exif[0x0112] = 6  # a quarter turn
    data = io.BytesIO()
    turned.save(data, "JPEG", exif=exif)
    assert read_image(store.find(store.add(data.getvalue()))).size == (8, 16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_whose_exif_is_damaged_is_shown_as_it_lies(kind: str, tmp_path):
    """It decodes, so it is kept; and what is kept, a student's processor is given, at whatever step of training that is."""
    turned = Pillow.Exif()
    turned[0x112] = 6
    exif = turned.tobytes()
    damaged = exif.replace(b"MM\x00*", b"MM\x13*")
    assert damaged != exif
    store, data = ImageStore(tmp_path, LIMITS), io.BytesIO()
    Pillow.new("RGB", (8, 4), "white").save(data, kind, exif=damaged)
    path = store.find(store.add(data.getvalue()))
    assert path is not None
    assert read_image(path).size == (8, 4)


def test_a_gray_image_of_16_bits_in_a_pgm_is_read_like_a_png(tmp_path):
    store = ImageStore(tmp_path, LIMITS)
    path = store.find(store.add(b"P5 2 1 65535\n" + b"\xff\xff\x80\x00"))
    assert path is not None
    assert [read_image(path).getpixel((x, 0)) for x in (0, 1)] == [(255,) * 3, (128,) * 3]


def test_an_image_is_kept_once_and_a_changed_file_is_said(tmp_path):
    store = ImageStore(tmp_path)
    sha256 = store.add(png("red"))
    assert store.add(png("red")) == sha256 and len(list(tmp_path.rglob("*.png"))) == 1
    path = store.find(sha256)
    path.write_bytes(png("blue"))
    with pytest.raises(OperatorError, match="checksum"):
        read_image(path)
    assert store.find("0" * 64) is None


def test_a_row_names_its_image_below_the_folder_and_nowhere_else(tmp_path):
    folder, outside = tmp_path / "data", tmp_path / "secret.png"
    folder.mkdir()
    outside.write_bytes(png("red"))
    (folder / "a.png").write_bytes(png())
    (folder / "inside.png").symlink_to("a.png")
    (folder / "link.png").symlink_to(outside)
    (folder / "ring.png").symlink_to("ring.png")
    os.mkfifo(folder / "pipe.png")

    def reason(value) -> str:
        with storing_images(ImageStore(tmp_path / "kept")), pytest.raises(ImageError) as caught:
            image_of(value, folder)
        return str(caught.value)

    assert reason("link.png") == reason("../secret.png") == reason(str(outside)) == "bad_image_path"
    assert reason("none.png") == reason("ring.png") == reason("pipe.png") == reason(".") == "missing_image"
    assert reason({"path": "a.png", "sha256": "0" * 64}) == "image_changed"
    assert reason(7) == reason({"path": 7}) == "wrong_type"
    assert reason({"bytes": b"junk", "path": "x.png"}) == "not_an_image"
    assert not (tmp_path / "kept").exists()
    with storing_images(ImageStore(tmp_path / "kept")):
        found = [image_of(value, folder) for value in ("a.png", "inside.png", png(), {"bytes": png(), "path": "b.png"})]
    assert len({image.sha256 for image in found}) == 1 and len(list((tmp_path / "kept").rglob("*.png"))) == 1
    assert [image.path for image in found] == ["a.png", "inside.png", found[0].sha256[:16], "b.png"]


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "huge.png", "wb") as file:
        file.truncate(1 << 40)  # a sparse file: to read it would end this test
    with storing_images(ImageStore(tmp_path / "kept")), pytest.raises(ImageError, match="image_too_large"):
        image_of("huge.png", tmp_path)


def test_our_modules_come_without_pillow():
    code = (
        "import sys; sys.modules['PIL'] = None; import redistill.io.images, redistill.corpus, redistill.evaluate.stage"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
