"""Pictures at working size."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app.embedding.pictures import WORKING_PIXELS, WORKING_SIDE, load_jpeg, load_picture
from model.errors import ImageError
from model.images.limits import ImageLimits
from model.images.reduction import decode_reduced
from tests.app.helpers import encode

LIMITS = ImageLimits()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_are_reduced_but_remember_their_size(kind: str) -> None:
    decoded = load_picture(encode(Image.new("RGB", (4000, 3000), "red"), kind), LIMITS, decode_reduced)
    assert (decoded.width, decoded.height) == (4000, 3000)
    assert WORKING_SIDE <= min(decoded.image.size) < 2 * WORKING_SIDE
    assert decoded.image.getpixel((5, 5)) == pytest.approx((255, 0, 0), abs=3)


def test_small_pictures_are_left_alone() -> None:
    decoded = load_picture(encode(Image.new("RGB", (640, 480)), "PNG"), LIMITS, decode_reduced)
    assert decoded.image.size == (640, 480)


def test_panoramas_are_bounded_too() -> None:
    decoded = load_picture(encode(Image.new("1", (60_000, 700)), "PNG"), LIMITS, decode_reduced)
    assert decoded.image.width * decoded.image.height <= WORKING_PIXELS * 1.01
    assert decoded.image.mode == "RGB"


def test_limits_hold() -> None:
    with pytest.raises(ImageError) as caught:
        load_picture(encode(Image.new("RGB", (100, 100))), ImageLimits(max_pixels=9_999), decode_reduced)
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_the_large_view_of_a_photograph_is_as_large_as_is_meant(kind: str) -> None:
    shown = load_jpeg(encode(Image.new("RGB", (4032, 3024), "red"), kind), LIMITS, 2048, decode_reduced)
    assert Image.open(io.BytesIO(shown)).size == (2048, 1536)


def test_a_jpeg_to_show_is_bounded_and_has_nothing_but_the_picture() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    data = encode(Image.new("RGB", (3000, 1500), "red"), exif=exif)
    assert b"secret" in data
    shown = load_jpeg(data, LIMITS, 1024, decode_reduced)
    assert b"secret" not in shown
    assert (Image.open(io.BytesIO(shown)).format, Image.open(io.BytesIO(shown)).size) == ("JPEG", (1024, 512))
    with pytest.raises(ImageError):
        load_jpeg(b"nothing", LIMITS, 1024, decode_reduced)
