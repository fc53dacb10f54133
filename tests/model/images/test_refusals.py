"""What is refused: no picture, damaged, too small or too large, and at what cost."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from model.errors import ImageError
from model.images.decoding import decode_image
from model.images.limits import ImageLimits
from tests.model.images.files import (
    FORMATS,
    code_of,
    encode,
    outcome,
    photograph,
    quarters,
    raw_png,
)


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
    started = time.process_time()
    try:
        assert code_of(bomb) == "image_too_large"
        assert time.process_time() - started < 0.5
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_its_pixels_take_memory() -> None:
    """The same with what C allocates, which only a process of its own can tell."""
    program = (
        "import resource, sys; from model.images.decoding import decode_image; from model.errors import ImageError\n"
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


def test_a_damaged_tiff_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    written = io.BytesIO()
    Image.new("L", (60, 60)).save(written, "TIFF", tiffinfo={277: 1})
    data = bytearray(written.getvalue())
    samples = data.index(struct.pack("<HH", 277, 3)) + 8
    data[samples : samples + 2] = struct.pack("<H", 1000)
    assert code_of(bytes(data)) == "image_unreadable"
    assert not caplog.records
