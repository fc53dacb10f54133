"""Pixels of more than 8 bits, in any order of bytes and samples: they look as they do in 8 bits, or are refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from model.errors import ImageError
from model.images.decoding import decode_image
from tests.model.images.files import colour_tiff, encode, photograph, raw_png, tiff

GREY = np.asarray(photograph().convert("L"))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data).image, int)


def test_white_may_be_zero() -> None:
    deep = GREY.astype(np.uint16) << 8
    negative = tiff(2**16 - 1 - deep, tags={262: 0})
    np.testing.assert_array_equal(pixels(negative), pixels(tiff(deep)))
    floats = (GREY / 255).astype(np.float32)
    np.testing.assert_allclose(pixels(tiff(1 - floats, tags={262: 0})), pixels(tiff(floats)), atol=1)
    np.testing.assert_array_equal(pixels(tiff(255 - GREY, tags={262: 0})), pixels(tiff(GREY)))


@pytest.mark.parametrize("bits", [10, 12])
def test_depth_is_taken_from_the_data_where_nothing_says_it(bits: int) -> None:
    few = GREY.astype(np.uint16) << (bits - 8)
    shown = pixels(tiff(GREY))
    np.testing.assert_array_equal(pixels(tiff(few)), shown)
    np.testing.assert_array_equal(pixels(tiff(2**16 - 1 - few, tags={262: 0})), shown)
    np.testing.assert_array_equal(pixels(encode(Image.fromarray(few), "PNG")), shown)


def test_depth_is_taken_from_the_tags_where_they_say_it() -> None:
    deep = GREY.astype(np.uint16) << 5
    np.testing.assert_allclose(pixels(tiff(deep, tags={281: 2**13 - 1})), pixels(tiff(GREY)), atol=1)
    few = GREY.astype(np.uint16) << 4
    np.testing.assert_allclose(pixels(tiff(few, tags={281: 2**16 - 1})), pixels(tiff(GREY)) // 16, atol=1)
    signed = GREY.astype(np.int16) << 7
    np.testing.assert_allclose(pixels(tiff(signed)), pixels(tiff(GREY)), atol=1)


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a sample (height, width, samples)."""
    height, width, samples = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return raw_png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], rows)


def in_bits(bits: int) -> np.ndarray:
    """The photograph's colours (height, width, 3) as whole numbers of so many bits."""
    return np.rint(np.asarray(photograph()) / 255 * (2**bits - 1)).astype(np.uint16)


DEEP: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": deep_png,
    "tiff": colour_tiff,
    "deflated tiff": lambda values: colour_tiff(values, deflated=True),
    "planar tiff": lambda values: colour_tiff(values, planar=True),
    "planar tiff, big-endian": lambda values: colour_tiff(values, planar=True, order=">"),
}


@pytest.mark.parametrize("write", DEEP.values(), ids=DEEP.keys())
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_depth_of_colours_is_taken_from_the_data_where_nothing_says_it(
    write: Callable[[np.ndarray], bytes], bits: int
) -> None:
    expected = np.asarray(photograph()).astype(int)
    np.testing.assert_allclose(pixels(write(in_bits(bits))), expected, atol=1)
    opaque = np.full((*expected.shape[:2], 1), 2**bits - 1, np.uint16)
    np.testing.assert_allclose(pixels(write(np.concatenate([in_bits(bits), opaque], axis=2))), expected, atol=1)
    dark = in_bits(16) // 8  # 13 bits: a dark photograph, which stays as it is
    np.testing.assert_allclose(pixels(write(dark)), expected // 8, atol=1)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_depth_of_grey_with_alpha_is_taken_from_the_data(bits: int) -> None:
    grey = np.rint(GREY / 255 * (2**bits - 1)).astype(np.uint16)
    alpha = np.full_like(grey, 2**bits - 1)
    alpha[:, :40] = 0
    expected = np.repeat(GREY[..., None].astype(int), 3, axis=2)
    expected[:, :40] = 255
    np.testing.assert_allclose(pixels(deep_png(np.stack([grey, alpha], axis=2))), expected, atol=1)


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_in_planes_are_read_in_any_order(order: str, deflated: bool) -> None:
    photo = np.asarray(photograph())
    for values in (photo, in_bits(16)):
        data = colour_tiff(values, planar=True, order=order, deflated=deflated)
        np.testing.assert_allclose(pixels(data), photo.astype(int), atol=1)
    unnamed = np.concatenate([in_bits(16), in_bits(16)[..., :1]], axis=2)  # a fourth sample that is nothing: 338
    data = colour_tiff(unnamed, planar=True, order=order, deflated=deflated)
    extra = struct.pack(f"{order}HHI", 338, 3, 1)
    nothing = data.replace(extra + struct.pack(f"{order}H", 2), extra + bytes(2))
    assert nothing != data
    np.testing.assert_allclose(pixels(nothing), photo.astype(int), atol=1)


@pytest.mark.parametrize("planar", [False, True])
def test_inks_of_sixteen_bits(planar: bool) -> None:
    inks = np.concatenate([2**16 - 1 - in_bits(16), np.zeros((120, 160, 1), np.uint16)], axis=2)
    data = colour_tiff(inks, planar=planar, tags={262: 5}).replace(struct.pack("<HHI", 338, 3, 1), bytes(8))
    plain = colour_tiff((inks >> 8).astype(np.uint8), tags={262: 5}).replace(struct.pack("<HHI", 338, 3, 1), bytes(8))
    np.testing.assert_allclose(pixels(data), pixels(plain), atol=1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("kind", ["f4", "i4", "i2", "u2"])
def test_long_and_signed_greys_are_read_in_any_order(kind: str, deflated: bool, order: str) -> None:
    white = {"f4": 1.0, "i4": 65535, "i2": 2**15 - 1, "u2": 65535}[kind]
    values = (GREY / 255 * white).astype(kind)[..., None]
    np.testing.assert_allclose(pixels(colour_tiff(values, deflated=deflated, order=order))[..., 0], GREY, atol=1)


def test_unsigned_greys_of_32_bits_are_not_taken_for_signed() -> None:
    values = (GREY / GREY.max() * (2**32 - 1)).astype(np.uint32)[..., None]
    shown = pixels(colour_tiff(values))[..., 0]
    order = np.argsort(GREY, axis=None, kind="stable")
    assert (np.diff(shown.ravel()[order]) >= 0).all()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros((8, 8, 3), np.float32), "3 samples of 32 bits, floating point, compression 1"),
        (np.zeros((8, 8, 3), np.float16), "3 samples of 16 bits, floating point, compression 1"),
        (np.zeros((8, 8, 3), np.uint32), "3 samples of 32 bits, compression 1"),
        (np.zeros((8, 8, 2), np.uint16), "2 samples of 16 bits, compression 1"),
        (np.zeros((8, 8, 2), np.uint8), "2 samples of 8 bits, planar, compression 1"),
        (np.zeros((8, 8, 1), np.float64), "1 sample of 64 bits, floating point, compression 1"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_pixels_that_cannot_be_read_are_named(values: np.ndarray, told: str, order: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(colour_tiff(values, order=order, planar="planar" in told))
    assert caught.value.code == "image_format_unsupported"
    assert told in str(caught.value)


def test_the_depth_of_colours_is_taken_from_the_tags_where_they_say_it() -> None:
    expected = np.asarray(photograph()).astype(int)
    np.testing.assert_allclose(pixels(colour_tiff(in_bits(14), tags={281: 2**14 - 1})), expected, atol=1)
    few = colour_tiff(in_bits(12), tags={281: 2**16 - 1})
    np.testing.assert_allclose(pixels(few), expected // 16, atol=1)


def test_floats_that_are_all_nearly_black_are_brightened() -> None:
    small = (GREY / 255 * 0.02).astype(np.float32)
    expected = pixels(tiff(GREY)) * (255 / GREY.max())
    np.testing.assert_allclose(pixels(tiff(small)), expected, atol=1)
    dark = (GREY / 255 * 0.2).astype(np.float32)  # a dark photograph stays as it is
    np.testing.assert_allclose(pixels(tiff(dark)), pixels(tiff(GREY)) * 0.2, atol=1)
