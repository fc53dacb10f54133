"""Every way a picture can arrive, and every way it can be refused."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from model.errors import ImageError
from model.images import DEFAULT_LIMITS, DecodedImage, ImageLimits, decode_image

PHOTOS = sorted((Path(__file__).parents[2] / "fixtures" / "photos").glob("*.jpg"))
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30)


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red and green above, blue and yellow below: tells all 8 orientations apart."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    picture.paste(YELLOW, (width // 2, height // 2, width, height))
    return picture


def photograph(width: int = 320, height: int = 240) -> Image.Image:
    """Smooth with some noise, as photographs are, so that every part of the file matters."""
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] * [0.3, 0.2, 0.4]
    noise = np.random.default_rng(0).normal(60, 12, (height, width, 3))
    return Image.fromarray(np.clip(ramp + noise, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def corners(picture: Image.Image) -> list[tuple[int, int, int]]:
    width, height = picture.size
    at = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [picture.getpixel(position) for position in at]


def assert_near(found: object, expected: object, tolerance: int = 6) -> None:
    np.testing.assert_allclose(np.asarray(found, int), np.asarray(expected, int), atol=tolerance)


def outcome(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> DecodedImage | ImageError:
    try:
        return decode_image(data, limits)
    except ImageError as error:
        return error


def code_of(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, limits)
    return caught.value.code


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        ]
    )


FORMATS: dict[str, tuple[bytes, str]] = {
    "jpeg": (encode(quarters(), "JPEG", quality=95, subsampling=0), "image/jpeg"),
    "progressive jpeg": (encode(quarters(), "JPEG", quality=95, progressive=True), "image/jpeg"),
    "png": (encode(quarters(), "PNG"), "image/png"),
    "lossless webp": (encode(quarters(), "WEBP", lossless=True), "image/webp"),
    "lossy webp": (encode(quarters(), "WEBP", quality=95), "image/webp"),
    "gif": (encode(quarters(), "GIF"), "image/gif"),
    "bmp": (encode(quarters(), "BMP"), "image/bmp"),
    "tiff": (encode(quarters(), "TIFF"), "image/tiff"),
    "big tiff": (encode(quarters(), "TIFF", big_tiff=True), "image/tiff"),
    "deflated tiff": (encode(quarters(), "TIFF", compression="tiff_adobe_deflate"), "image/tiff"),
    "avif": (encode(quarters(), "AVIF", quality=95), "image/avif"),
    "two-picture jpeg": (
        encode(quarters(), "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (48, 32))]),
        "image/jpeg",
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_picture(name: str) -> None:
    data, media_type = FORMATS[name]
    decoded = decode_image(data)
    assert (decoded.media_type, decoded.width, decoded.height) == (media_type, 48, 32)
    assert decoded.image.mode == "RGB"
    assert_near(corners(decoded.image), [RED, GREEN, BLUE, YELLOW], tolerance=12)


def test_heic_is_read() -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(quarters(96, 64)).save(file, quality=95)
    decoded = decode_image(file.getvalue())
    assert (decoded.media_type, decoded.width, decoded.height) == ("image/heic", 96, 64)
    assert_near(corners(decoded.image), [RED, GREEN, BLUE, YELLOW], tolerance=12)
    assert code_of(file.getvalue()[:-200]) == "image_truncated"
    assert code_of(file.getvalue(), ImageLimits(max_pixels=96 * 64 - 1)) == "image_too_large"


def stored_with(orientation: int) -> tuple[Image.Image, Image.Exif]:
    """`quarters()` as a camera held otherwise stores it, and the EXIF that says so."""
    # The inverse of what a viewer does: 6 and 8 undo each other, the rest are their own inverses.
    exif = Image.Exif()
    exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
    upright = quarters()
    upright.info["exif"] = exif.tobytes()
    stored = ImageOps.exif_transpose(upright)
    stored.info = {}
    exif[0x0112] = orientation
    return stored, exif


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_stand_upright(format_name: str, orientation: int) -> None:
    stored, exif = stored_with(orientation)
    if format_name == "HEIC":  # Here the container turns the picture, whatever its EXIF says.
        file = io.BytesIO()
        pillow_heif.encode("RGB", stored.size, stored.tobytes(), file, exif=exif.tobytes(), quality=95)
        data = file.getvalue()
    else:
        data = encode(stored, format_name, exif=exif, quality=95)
    decoded = decode_image(data)
    assert decoded.image.size == (decoded.width, decoded.height) == (48, 32)
    assert_near(corners(decoded.image), [RED, GREEN, BLUE, YELLOW], tolerance=12)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_senseless_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_near(corners(decode_image(encode(quarters(), "PNG", exif=exif)).image)[0], RED)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Said by Pillow, which then carries on.
def test_malformed_exif_is_ignored() -> None:
    data = encode(quarters(), "JPEG", quality=95, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + bytes(9))
    assert_near(corners(decode_image(data).image)[0], RED, tolerance=12)


def test_metadata_does_not_survive() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = decode_image(encode(quarters(), "JPEG", exif=exif, icc_profile=profile, comment=b"me")).image
    assert image.info == {}
    saved_again = Image.open(io.BytesIO(encode(image, "WEBP")))
    assert dict(saved_again.getexif()) == {}
    assert "icc_profile" not in saved_again.info


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
    data = raw_png(16, 16, 16, 0, row * 16, png_chunk(b"tRNS", struct.pack(">H", 1000)))
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


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_animations(format_name: str) -> None:
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("blue", "red")]
    options = {"quality": 95} if format_name in ("WEBP", "AVIF") else {}
    data = encode(quarters(), format_name, save_all=True, append_images=frames, duration=100, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert_near(corners(decode_image(data).image), [RED, GREEN, BLUE, YELLOW], tolerance=12)


def wide_gamut_profile() -> bytes:
    """A matrix profile whose red and green swap places, so that conversion cannot go unnoticed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * data[131], 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = (
        data[green + 4 : green + 12],
        data[red + 4 : red + 12],
    )
    return bytes(data).replace("sRGB".encode("utf-16-be"), "Test".encode("utf-16-be"))


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


def test_an_empty_file_is_refused() -> None:
    assert code_of(b"") == "image_empty"


@pytest.mark.parametrize(
    "data",
    [b"just a text in a file named holiday.jpg", b"\x00" * 5000, b"GIF", b"RIFF\x10\x00\x00\x00WAVEfmt "],
)
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    assert code_of(data) == "image_unreadable"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.7 ...", "PDF"),
        (b"8BPS\x00\x01", "PSD"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "video"),
        (b"\xff\x4f\xff\x51\x00", "JPEG 2000"),
    ],
)
def test_known_formats_that_are_not_read_are_named(data: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=name) as caught:
        decode_image(data)
    assert caught.value.code == "image_format_unsupported"


@pytest.mark.parametrize("format_name", ["PPM", "ICO", "TGA", "PCX", "SGI"])
def test_no_other_decoder_of_pillow_is_reached(format_name: str) -> None:
    assert code_of(encode(quarters(), format_name)) in ("image_unreadable", "image_format_unsupported")


CUTTABLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode(photograph(), "JPEG"),
    "progressive jpeg": lambda: encode(photograph(), "JPEG", progressive=True),
    "png": lambda: encode(photograph(), "PNG"),
    "webp": lambda: encode(photograph(), "WEBP"),
    "gif": lambda: encode(photograph(), "GIF"),
    "bmp": lambda: encode(photograph(), "BMP"),
    "tiff": lambda: encode(photograph(), "TIFF"),
    "deflated tiff": lambda: encode(photograph(), "TIFF", compression="tiff_adobe_deflate"),
    "avif": lambda: encode(photograph(), "AVIF"),
}


@pytest.mark.parametrize("name", CUTTABLE)
def test_files_cut_anywhere_are_truncated_never_padded(name: str) -> None:
    data = CUTTABLE[name]()
    whole = np.asarray(decode_image(data).image)
    near_the_end = range(len(data) - 20, len(data))
    for length in sorted({*np.linspace(12, len(data) - 1, 40).astype(int), *near_the_end}):
        result = outcome(data[:length])
        if isinstance(result, ImageError):
            assert result.code == "image_truncated", f"cut to {length} of {len(data)} bytes: {result}"
        else:  # Nothing of the picture itself may be missing: an end marker, say.
            np.testing.assert_array_equal(np.asarray(result.image), whole, f"{length} of {len(data)}")
    assert code_of(data[: len(data) // 2]) == "image_truncated"


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow speaks of broken TIFF directories and EXIF.
@pytest.mark.parametrize("name", CUTTABLE)
def test_damage_never_escapes_as_another_exception(name: str) -> None:
    data = CUTTABLE[name]()
    random = np.random.default_rng(1)
    limits = ImageLimits(max_pixels=1_000_000)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for position in random.integers(4, min(len(data), 1500), 3):
            damaged[position] = random.integers(256)
        refused += isinstance(outcome(bytes(damaged), limits), ImageError)
    assert refused


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_pictures_that_are_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=rf"{size[0]} x {size[1]}.*at least 8") as caught:
        decode_image(encode(Image.new("RGB", size), "PNG"))
    assert caught.value.code == "image_too_small"


def test_the_smallest_picture() -> None:
    assert decode_image(encode(Image.new("RGB", (8, 8)), "PNG")).image.size == (8, 8)


def test_files_beyond_the_limit_of_bytes() -> None:
    data = encode(quarters(), "BMP")
    with pytest.raises(ImageError, match="MiB") as caught:
        decode_image(data, ImageLimits(max_bytes=len(data) - 1))
    assert caught.value.code == "image_too_large"
    decode_image(data, ImageLimits(max_bytes=len(data)))


@pytest.mark.parametrize("name", FORMATS)
def test_pictures_beyond_the_limit_of_pixels(name: str) -> None:
    data, _ = FORMATS[name]
    with pytest.raises(ImageError, match=r"48 x 32 pixels, 1,536 in all; the limit is 1,535") as caught:
        decode_image(data, ImageLimits(max_pixels=48 * 32 - 1))
    assert caught.value.code == "image_too_large"
    decode_image(data, ImageLimits(max_pixels=48 * 32))


def webp_header(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", 10) + canvas + b"VP8 " + struct.pack("<I", 0)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def tiled_tiff(side: int) -> bytes:
    """A tiny picture in one enormous tile."""
    data = bytearray(encode(Image.new("L", (16, 16)), "TIFF"))
    directory = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, directory)[0]
    entries = [data[directory + 2 + 12 * i : directory + 14 + 12 * i] for i in range(count)]
    rename = {TiffImagePlugin.STRIPOFFSETS: TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS: 325}
    kept = []
    for entry in entries:
        tag = struct.unpack_from("<H", entry)[0]
        if tag in rename:
            struct.pack_into("<H", entry, 0, rename[tag])
        if tag != TiffImagePlugin.ROWSPERSTRIP:
            kept.append(bytes(entry))
    kept += [struct.pack("<HHII", tag, 4, 1, side) for tag in (322, 323)]
    kept.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    new_directory = len(data)
    struct.pack_into("<I", data, 4, new_directory)
    return bytes(data) + struct.pack("<H", len(kept)) + b"".join(kept) + bytes(4)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: raw_png(30_000, 30_000, 8, 2, bytes(1_000_000)),
    "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";",
    "gif frame": lambda: (
        b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + b",\x00\x00\x00\x00\x10\x27\x10\x30\x00\x08"
    ),
    "webp": lambda: webp_header(14_000, 14_000),
    "bmp": lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 1, 1, 0, 0),
    "tiff tile": lambda: tiled_tiff(32_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bombs_cost_neither_time_nor_memory(name: str) -> None:
    bomb = BOMBS[name]()
    assert len(bomb) < 5_000
    tracemalloc.start()
    started = time.perf_counter()
    try:
        assert code_of(bomb) == "image_too_large"
        assert time.perf_counter() - started < 0.25
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_its_pixels_take_memory() -> None:
    """The same with what C allocates, which only a process of its own can tell."""
    program = (
        "import resource, sys; from model.images import decode_image; from model.errors import ImageError\n"
        "data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode_image(data)\n"
        "except ImageError as error: print(error.code)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], input=BOMBS["png"](), capture_output=True, check=True
    )
    code, kibibytes = result.stdout.split()
    assert code == b"image_too_large"
    assert int(kibibytes) < 20_000


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "GIF"])
def test_pillows_size_warning_stays_inside(format_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between Pillow's threshold and ours a picture is fine; a warning would be an exception in this run."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 32 - 1)
    decoded = decode_image(encode(quarters(), format_name))
    assert decoded.image.size == (48, 32)


@pytest.mark.parametrize(("hint", "expected"), [(None, 1200), (700, 1200), (600, 600), (250, 300), (1, 150)])
def test_large_jpegs_are_decoded_at_a_reduced_scale(hint: int | None, expected: int) -> None:
    decoded = decode_image(encode(photograph(1600, 1200), "JPEG"), hint_side=hint)
    assert decoded.image.height == expected
    assert (decoded.width, decoded.height) == (1600, 1200)


def test_reduced_scale_with_orientation_reports_the_full_upright_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_image(encode(quarters(800, 640), "JPEG", exif=exif), hint_side=100)
    assert (decoded.width, decoded.height) == (640, 800)
    assert decoded.image.size == (160, 200)
    assert_near(corners(decoded.image), [BLUE, RED, YELLOW, GREEN], tolerance=12)


def test_the_hint_leaves_other_formats_and_small_pictures_alone() -> None:
    assert decode_image(encode(quarters(), "PNG"), hint_side=8).image.size == (48, 32)
    assert decode_image(encode(quarters(), "JPEG"), hint_side=4000).image.size == (48, 32)


def test_photographs_decode() -> None:
    assert len(PHOTOS) >= 8
    for path in PHOTOS:
        decoded = decode_image(path.read_bytes())
        assert decoded.media_type == "image/jpeg"
        assert max(decoded.width, decoded.height) <= 320


def test_many_threads_decode_at_once() -> None:
    datas = [data for data, _ in FORMATS.values()]
    datas += [encode(quarters(), "PNG", icc_profile=wide_gamut_profile())]
    expected = [decode_image(data).image.tobytes() for data in datas]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: [decode_image(d).image.tobytes() for d in datas], range(16)):
            assert found == expected
