"""Small pictures on the page: squares of the image's colours, nothing of its file, and a size that a page can bear."""

import io
import re

from PIL import Image as Pillow

from redistill.io.images import ImageStore, image_folders
from redistill.records import Image, make_problem
from redistill.report.thumbnails import SIDE, thumbnail, thumbnails
from tiny_vision import png


def test_an_image_becomes_squares_of_its_colours(tmp_path):
    picture = Pillow.new("RGB", (4, 2), "white")
    picture.putpixel((1, 0), (255, 0, 0))
    data = io.BytesIO()
    picture.save(data, "PNG")
    store = ImageStore(tmp_path)
    svg = thumbnail(store.find(store.add(data.getvalue())), 'a"><script>.png')
    assert "<script>" not in svg and 'viewBox="0 0 4 2"' in svg
    found = dict(re.findall(r'fill="(#\w+)" d="([^"]+)"', svg))
    # white: one square left of the red one, two right of it, and the second row
    assert found == {"#ffffff": "M0 0h1v1h-1zM2 0h2v1h-2zM0 1h4v1h-4z", "#ff0000": "M1 0h1v1h-1z"}


def test_a_photo_of_any_size_takes_a_few_thousand_bytes(tmp_path):
    noise = Pillow.effect_noise((600, 400), 90).convert("RGB")
    data = io.BytesIO()
    noise.save(data, "JPEG")
    store = ImageStore(tmp_path)
    svg = thumbnail(store.find(store.add(data.getvalue())), "noise.jpg")
    assert len(svg) < 20_000 and f'viewBox="0 0 {SIDE} ' in svg


def test_images_that_the_run_does_not_hold_are_left_out(tmp_path):
    # a colour of its own: a file with these bytes in a folder that an earlier test looked in would be found there
    held = ImageStore(image_folders(tmp_path)[0]).add(png("rebeccapurple"))
    images = (Image("a.png", held), Image("b.png", "0" * 64))
    assert len(thumbnails(tmp_path, make_problem("q", images=images))) == 1
    assert thumbnails(tmp_path, make_problem("q")) == ()
    path = ImageStore(image_folders(tmp_path)[0]).find(held)
    path.write_bytes(b"changed")
    assert thumbnails(tmp_path, make_problem("q", images=images)) == ()
