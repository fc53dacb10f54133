"""Files as cameras, scanners, phones and editors really write them: what viewers show is stored, and looks the same."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from model.errors import ImageError
from model.images.decoding import decode_image
from tests.model.images.files import (
    bmp_with_alpha,
    chunk,
    dng,
    encode,
    photograph,
    png_with,
)

PNG = encode(photograph(), "PNG")
GREY = np.asarray(photograph().convert("L"))
LONG = b"x" * 2_000_000


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data).image, int)


def bad_checksum(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


NOT_PIXELS = {
    "text of 2 MB": chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(LONG)),
    "plain text of 2 MB": chunk(b"tEXt", b"Comment\x00" + LONG),
    "profile of 2 MB": chunk(b"iCCP", b"big\x00\x00" + zlib.compress(LONG)),
    "profile that is no zlib": chunk(b"iCCP", b"odd\x00\x00" + b"garbage" * 9),
    "profile with a wrong checksum": bad_checksum(chunk(b"iCCP", b"odd\x00\x00" + zlib.compress(b"garbage"))),
    "text with a wrong checksum": bad_checksum(chunk(b"tEXt", b"Title\x00photo")),
    "text that is no text": chunk(b"iTXt", b"Title\x00\x00\x00\x00\x00\xff\xfe\x80"),
    "XMP that is no text": chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00\xff\xfe"),
    "XMP of 2 MB": chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + zlib.compress(LONG)),
    "EXIF with a wrong checksum": bad_checksum(chunk(b"eXIf", b"II*\x00" + bytes(20))),
    "EXIF that is none": chunk(b"eXIf", b"nothing"),
    "time with a wrong length": chunk(b"tIME", b"1"),
    "resolution with a wrong length": chunk(b"pHYs", b"1"),
    "colours with a wrong length": chunk(b"cHRM", b"1"),
    "gamma with a wrong length": chunk(b"gAMA", b"1"),
    "something of its own": chunk(b"prVt", LONG),
}


@pytest.mark.parametrize("name", NOT_PIXELS)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_faults_of_what_is_no_pixel_are_left_out(name: str, before: bytes) -> None:
    np.testing.assert_array_equal(pixels(png_with(PNG, NOT_PIXELS[name], before=before)), pixels(PNG))


def test_a_turned_png_stays_turned_when_its_text_is_broken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = png_with(encode(photograph(), "PNG", exif=exif), NOT_PIXELS["text of 2 MB"])
    assert decode_image(turned).image.size == (120, 160)
    xmp = b'XML:com.adobe.xmp\x00\x00\x00\x00\x00<rdf:Description tiff:Orientation="6"/>'
    assert decode_image(png_with(PNG, chunk(b"iTXt", xmp))).image.size == (120, 160)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT"])
def test_faults_of_pixels_are_not(kind: bytes) -> None:
    at = PNG.index(kind) + 6
    with pytest.raises(ImageError):
        decode_image(PNG[:at] + b"\xff\xff" + PNG[at + 2 :])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}])
def test_a_jpeg_without_its_end_marker_has_all_its_pixels(options: dict[str, object]) -> None:
    data = encode(photograph(), "JPEG", **options)
    np.testing.assert_array_equal(pixels(data[:-2]), pixels(data))
    np.testing.assert_array_equal(pixels(data[:-1]), pixels(data))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_pixels_as_well_is_truncated(progressive: bool) -> None:
    data = encode(photograph(), "JPEG", progressive=progressive)
    last_scan = data.rindex(b"\xff\xda")
    for end in {len(data) - 30, len(data) // 2, last_scan if progressive else len(data) - 60}:
        with pytest.raises(ImageError) as caught:
            decode_image(data[:end])
        assert caught.value.code == "image_truncated"


@pytest.mark.parametrize("alpha", [0, 255])
def test_alpha_that_is_zero_everywhere_is_no_alpha(alpha: int) -> None:
    np.testing.assert_array_equal(pixels(bmp_with_alpha(photograph(), alpha)), np.asarray(photograph()))


def profile(description: str, gamma: float) -> bytes:
    """A profile with sRGB's primaries, this gamma and this description."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * data[131], 12)}
    curve = struct.pack(">4sIIH2x", b"curv", 0, 1, round(gamma * 256))
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        struct.pack_into(">II", data, tags[tag] + 4, len(data), len(curve))
    data += curve
    struct.pack_into(">I", data, 0, len(data))
    assert len(description) == len("sRGB")
    return bytes(data).replace("sRGB".encode("utf-16-be"), description.encode("utf-16-be"))


@pytest.mark.parametrize("description", ["sRGB", "Line"])
def test_a_profile_does_what_its_curves_say_whatever_it_is_called(description: str) -> None:
    linear = ((np.asarray(photograph()) / 255) ** 2.2 * 255).astype(np.uint8)
    data = encode(Image.fromarray(linear), "PNG", icc_profile=profile(description, 1.0))
    np.testing.assert_allclose(pixels(data)[60:], np.asarray(photograph(), int)[60:], atol=12)


def test_the_profile_of_srgb_changes_nothing_by_any_name() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for same in (srgb, srgb.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))):
        np.testing.assert_array_equal(pixels(encode(photograph(), "PNG", icc_profile=same)), np.asarray(photograph()))


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_first_frame_that_shows_something(format_name: str, mode: str) -> None:
    blank = Image.new(mode, (160, 120), (0,) * len(mode))
    photo = photograph().convert(mode)
    options = {"quality": 95} if format_name in ("WEBP", "AVIF") else {}
    frames = encode(blank, format_name, save_all=True, append_images=[blank, photo, blank], duration=100, **options)
    assert np.abs(pixels(frames) - np.asarray(photograph(), int)).mean() < 12
    still = encode(blank, format_name, save_all=True, append_images=[blank, blank], duration=100, **options)
    assert np.ptp(pixels(still)) <= 8


def test_the_primary_picture_of_a_burst() -> None:
    burst = pillow_heif.HeifFile()
    for picture in (Image.new("RGB", (160, 120), "red"), photograph()):
        burst.add_from_pillow(picture)
    file = io.BytesIO()
    burst.save(file, quality=95, primary_index=1)
    assert np.abs(pixels(file.getvalue()) - np.asarray(photograph(), int)).mean() < 12


def test_camera_raw_is_developed_and_stands_upright() -> None:
    decoded = decode_image(dng())
    assert (decoded.media_type, decoded.width, decoded.height) == ("image/x-dcraw", 64, 48)
    above, below = np.asarray(decoded.image)[:20], np.asarray(decoded.image)[-20:]
    assert above[..., 0].mean() > 200 > 100 > above[..., 2].mean()
    assert below[..., 2].mean() > 200 > 100 > below[..., 0].mean()
    turned = decode_image(dng(orientation=6))
    assert turned.image.size == (turned.width, turned.height) == (48, 64)
    large = decode_image(dng(200, 160), hint_side=64)
    assert (large.width, large.height, large.image.size) == (200, 160, (100, 80))


def without_sensor_data() -> bytes:
    """A DNG of which only the preview can be read."""
    return dng(photometric=2).replace(struct.pack("<HHII", 330, 4, 1, 0)[:2], struct.pack("<H", 331), 1)


@pytest.mark.parametrize(
    "data",
    [
        b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(100),
        b"FUJIFILMCCD-RAW 0201" + bytes(100),
        b"IIRO\x08\x00\x00\x00" + bytes(100),
        b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom" + bytes(100),
        without_sensor_data(),
        dng()[:4000],
    ],
)
def test_camera_raw_that_cannot_be_developed_is_refused_and_no_preview_is_kept(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert caught.value.code in ("image_format_unsupported", "image_unreadable", "image_truncated")


@pytest.mark.parametrize(
    ("module", "extra", "data"),
    [("rawpy", "raw", dng()), ("pillow_jxl.JpegXLImagePlugin", "jxl", b"\xff\x0a\x7f\x00" + b"U" * 30)],
)
def test_without_its_extra_a_format_is_refused_by_name(
    module: str, extra: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=rf"the extra `{extra}`") as caught:
        decode_image(data)
    assert caught.value.code == "image_format_unsupported"


def test_jpeg_xl_is_read_where_its_extra_is_installed(tmp_path: object) -> None:
    pytest.importorskip("pillow_jxl")
    decoded = decode_image(encode(photograph(), "JXL", quality=95))
    assert (decoded.media_type, decoded.width, decoded.height) == ("image/jxl", 160, 120)
    assert np.abs(np.asarray(decoded.image, int) - np.asarray(photograph(), int)).mean() < 8
    exif = Image.Exif()
    exif[0x0112] = 6  # in a JPEG XL the codestream says what is up, and EXIF does not count
    assert decode_image(encode(photograph(), "JXL", exif=exif.tobytes())).image.size == (160, 120)


def test_a_jpeg_inside_a_jpeg_xl_stands_upright(tmp_path: object) -> None:
    pytest.importorskip("pillow_jxl")
    from pathlib import Path

    exif = Image.Exif()
    exif[0x0112] = 6
    path = Path(str(tmp_path)) / "a.jpg"
    path.write_bytes(encode(photograph(), "JPEG", exif=exif))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = encode(Image.open(path), "JXL", lossless_jpeg=True)
    np.testing.assert_array_equal(pixels(data), pixels(path.read_bytes()))
