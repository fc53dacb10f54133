"""Transparency, depth and colour spaces: every picture becomes RGB of 8 bits in sRGB."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.images.decoding import decode_image
from tests.model.images.files import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    assert_near,
    chunk,
    corners,
    encode,
    quarters,
    raw_png,
    wide_gamut_profile,
)


def transparent_left_half(mode: str) -> Image.Image:
    picture = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (16, 0, 32, 32))
    return picture.convert(mode)


@pytest.mark.parametrize(
    ("mode", "format_name"),
    [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("RGBA", "AVIF"), ("LA", "PNG"), ("LA", "TIFF")],
)
def test_transparent_parts_become_white(mode: str, format_name: str) -> None:
    options = {"lossless": True} if format_name == "WEBP" else {}
    picture = decode_image(encode(transparent_left_half(mode), format_name, **options)).image
    assert_near(picture.getpixel((4, 16)), (255, 255, 255))
    assert_near(picture.getpixel((28, 16)), (0, 0, 0))


def test_half_transparent_colours_are_mixed_with_white() -> None:
    picture = decode_image(encode(Image.new("RGBA", (16, 16), (255, 0, 0, 128)), "PNG")).image
    assert_near(picture.getpixel((8, 8)), (255, 127, 127), tolerance=1)


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(format_name: str) -> None:
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([*BLUE, *RED])
    picture.paste(1, (16, 0, 32, 32))
    decoded = decode_image(encode(picture, format_name, transparency=0)).image
    assert_near([decoded.getpixel((4, 16)), decoded.getpixel((28, 16))], [(255, 255, 255), RED])


def test_palette_with_alpha_for_each_entry() -> None:
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([*BLUE, *RED])
    picture.paste(1, (16, 0, 32, 32))
    decoded = decode_image(encode(picture, "PNG", transparency=bytes([0, 255]))).image
    assert_near([decoded.getpixel((4, 16)), decoded.getpixel((28, 16))], [(255, 255, 255), RED])


@pytest.mark.parametrize(("mode", "black"), [("RGB", (0, 0, 0)), ("L", 0), ("1", 0)])
def test_one_transparent_colour_of_png(mode: str, black: object) -> None:
    picture = Image.new(mode, (32, 32), black)
    picture.paste("white" if mode != "L" else 90, (16, 0, 32, 32))
    decoded = decode_image(encode(picture, "PNG", transparency=black)).image
    assert_near(decoded.getpixel((4, 16)), (255, 255, 255))
    assert_near(decoded.getpixel((28, 16)), (90, 90, 90) if mode == "L" else (255, 255, 255))


def test_one_transparent_grey_of_sixteen_bits() -> None:
    row = b"\x00" + struct.pack(">16H", *[1000] * 8, *[0x8000] * 8)
    data = raw_png(16, 16, 16, 0, row * 16, chunk(b"tRNS", struct.pack(">H", 1000)))
    decoded = decode_image(data).image
    assert [decoded.getpixel((2, 8)), decoded.getpixel((12, 8))] == [(255, 255, 255), (128, 128, 128)]


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_sixteen_bit_greys_keep_their_tones(format_name: str, order: str) -> None:
    levels = np.repeat(np.linspace(0, 65535, 16), 16).reshape(16, 16).astype(order)
    mode = "I;16B" if order == ">u2" and format_name == "TIFF" else "I;16"
    picture = Image.frombytes(mode, (16, 16), (levels if mode == "I;16B" else levels.astype("<u2")).tobytes())
    grey = np.asarray(decode_image(encode(picture, format_name)).image)
    np.testing.assert_allclose(grey[:, 0, 0], np.linspace(0, 255, 16), atol=1)


def test_dark_sixteen_bit_greys_stay_dark() -> None:
    picture = Image.fromarray(np.full((16, 16), 200, np.uint16))
    assert decode_image(encode(picture, "PNG")).image.getpixel((8, 8)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0.0, 0.5, 1.0], np.float32), [0, 128, 255]),
        (np.array([0.0, 100.0, 255.0], np.float32), [0, 100, 255]),
        (np.array([0.0, 32768.0, 65535.0], np.float32), [0, 128, 255]),
        (np.array([-1.0, 0.0, 1.0], np.float32), [0, 128, 255]),
        (np.array([np.nan, 0.5, np.inf], np.float32), [0, 128, 0]),
        (np.array([-3e38, 0.0, 3e38], np.float32), [0, 128, 255]),
        (np.array([7e9, 7e9, 7e9], np.float32), [0, 0, 0]),
        (np.array([0, 1, 255], np.int32), [0, 1, 255]),
        (np.array([0, 32768, 65535], np.int32), [0, 128, 255]),
        (np.array([0, 1_000_000, 2_000_000], np.int32), [0, 128, 255]),
        (np.array([-100, 0, 100], np.int32), [0, 128, 255]),
    ],
)
def test_deep_tiff_greys_are_scaled(values: np.ndarray, expected: list[int]) -> None:
    picture = Image.fromarray(np.repeat(values, 8 * 8).reshape(3, 8, 8).reshape(24, 8))
    grey = np.asarray(decode_image(encode(picture, "TIFF")).image)[::8, 0, 0]
    np.testing.assert_allclose(grey.astype(int), expected, atol=1)


def test_twelve_bit_tiff_greys_are_scaled() -> None:
    tags = {256: 16, 257: 16, 258: 12, 259: 1, 262: 1, 277: 1, 278: 16, 279: 16 * 24}
    entries = [*tags.items(), (273, 8 + 2 + 12 * (len(tags) + 1) + 4)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries))
    pixels = b"\x80\x08\x00" * 8 * 16  # Two values of 0x800, half of white.
    data = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + pixels
    middle = decode_image(data).image.getpixel((8, 8))
    assert middle == (128, 128, 128)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP", "GIF"])
def test_bilevel(format_name: str) -> None:
    picture = Image.new("1", (32, 32), 0)
    picture.paste(1, (16, 0, 32, 32))
    decoded = decode_image(encode(picture, format_name)).image
    assert [decoded.getpixel((4, 16)), decoded.getpixel((28, 16))] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk(format_name: str) -> None:
    # Photoshop, and Pillow with it, store the inks of a CMYK JPEG inverted and say so in an Adobe marker.
    data = encode(quarters().convert("CMYK"), format_name, quality=95)
    assert (b"Adobe" in data) == (format_name == "JPEG")
    assert_near(corners(decode_image(data).image), [RED, GREEN, BLUE, YELLOW], tolerance=14)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces_of_tiff(mode: str) -> None:
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(quarters(), srgb, lab, outputMode="LAB")
    else:
        picture = quarters().convert(mode)
    data = encode(picture, "TIFF")
    assert Image.open(io.BytesIO(data)).mode == mode
    assert_near(corners(decode_image(data).image), [RED, GREEN, BLUE, YELLOW], tolerance=12)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_brought_to_srgb(mode: str) -> None:
    picture = quarters().quantize(4) if mode == "P" else quarters().convert(mode)
    data = encode(picture, "PNG", icc_profile=wide_gamut_profile())
    red, green, blue, _ = corners(decode_image(data).image)
    assert red[1] > 150 > red[0]
    assert green[0] > 150 > green[1]
    assert_near(blue, BLUE, tolerance=12)


def test_alpha_survives_colour_conversion() -> None:
    data = encode(transparent_left_half("RGBA"), "PNG", icc_profile=wide_gamut_profile())
    picture = decode_image(data).image
    assert_near([picture.getpixel((4, 16)), picture.getpixel((28, 16))], [(255, 255, 255), (0, 0, 0)])


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        wide_gamut_profile()[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["garbage", "truncated", "another colour space", "sRGB"],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_profiles_that_change_nothing(profile: bytes, mode: str) -> None:
    picture = quarters().convert(mode)
    decoded = decode_image(encode(picture, "PNG", icc_profile=profile)).image
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(picture.convert("RGB")))
