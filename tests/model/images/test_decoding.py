"""Every way a picture can arrive: formats, orientations, animations, reduced scales."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from model.images.decoding import decode_image
from model.images.limits import ImageLimits
from tests.model.images.files import (
    BLUE,
    FORMATS,
    GREEN,
    RED,
    YELLOW,
    assert_near,
    code_of,
    corners,
    encode,
    photograph,
    quarters,
    wide_gamut_profile,
)

PHOTOS = sorted((Path(__file__).parents[2] / "fixtures" / "photos").glob("*.jpg"))


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


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_animations(format_name: str) -> None:
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("blue", "red")]
    options = {"quality": 95} if format_name in ("WEBP", "AVIF") else {}
    data = encode(quarters(), format_name, save_all=True, append_images=frames, duration=100, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert_near(corners(decode_image(data).image), [RED, GREEN, BLUE, YELLOW], tolerance=12)


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
