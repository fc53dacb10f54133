"""What a file costs is bounded before it is decoded, and no damage ends in anything but an `ImageError`."""

from __future__ import annotations

import io
import struct
import time
import warnings
from collections.abc import Callable

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from model.errors import ImageError
from model.images.decoding import decode_image
from model.images.jpeg import MAX_SCANS
from model.images.limits import ImageLimits
from tests.model.images.files import bmp_with_alpha, chunk, dng, encode, photograph, png_with, progressive_jpeg, tiff


def gif_of_blocks() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + b"!\xfe" + b"\x01x" * 1_000_000


def tiff_of_strips() -> bytes:
    data = tiff(np.zeros((16, 16), np.uint8))
    return data.replace(struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, 1_000_000, 8)) + bytes(
        4_000_000
    )


def jpeg_of_segments() -> bytes:
    data = encode(photograph(), "JPEG")
    return data[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + data[2:]


def jpeg_with(filling: bytes) -> bytes:
    """A JPEG with megabytes of this behind its first segment."""
    data = encode(photograph(), "JPEG")
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + filling * (16_000_000 // len(filling)) + data[end:]


COSTLY: dict[str, Callable[[], bytes]] = {
    "1,000 scans of 16 million pixels": lambda: progressive_jpeg(4000, 4000, 1000),
    "90 scans of 36 million pixels": lambda: progressive_jpeg(6000, 6000, 90),
    "a million segments": jpeg_of_segments,
    "millions of fill bytes": lambda: jpeg_with(b"\xff"),
    "millions of restart markers": lambda: jpeg_with(b"\xff\xd0"),
    "millions of other bytes between segments": lambda: jpeg_with(b"A"),
    "millions of bytes behind an early end": lambda: jpeg_with(b"\xff\xd9" + b"A" * 1_000_000),
    "a million chunks": lambda: png_with(encode(photograph(), "PNG"), chunk(b"prVt", b"") * 1_000_000),
    "a million blocks": gif_of_blocks,
    "a million strips": tiff_of_strips,
    "a large JPEG XL": lambda: b"\xff\x0a\xfe" + b"\xff" * 30,
}


@pytest.mark.parametrize("name", COSTLY)
def test_costly_files_are_refused_at_once(name: str) -> None:
    data = COSTLY[name]()
    started = time.process_time()
    with pytest.raises(ImageError, match=r"limit is [\d,]+") as caught:
        decode_image(data)
    assert caught.value.code == "image_too_large"
    assert time.process_time() - started < 1


def test_segments_may_have_some_bytes_between_them() -> None:
    data = encode(photograph(), "JPEG")
    end = 4 + int.from_bytes(data[4:6], "big")
    assert decode_image(data[:end] + b"\xff" * 1000 + data[end:]).width == 160


def test_scans_are_counted_not_guessed() -> None:
    assert decode_image(progressive_jpeg(64, 48, MAX_SCANS - 20)).width == 64
    plain = encode(photograph(), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 600) + b"\xff\xda" * 300  # these bytes are no scans
    assert decode_image(plain[:2] + comment + plain[2:]).width == 160
    assert decode_image(plain + b"\xff\xda" * 300).width == 160  # nor these, behind the end: a film, for one


def heic() -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(photograph()).save(file, quality=80)
    return file.getvalue()


MUTATED: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode(photograph(), "JPEG"),
    "progressive jpeg": lambda: encode(photograph(), "JPEG", progressive=True),
    "png": lambda: encode(photograph(), "PNG"),
    "animated png": lambda: encode(
        Image.new("RGB", (64, 48)), "PNG", save_all=True, append_images=[photograph(64, 48)]
    ),
    "gif": lambda: encode(Image.new("P", (64, 48)), "GIF", save_all=True, append_images=[photograph(64, 48)]),
    "webp": lambda: encode(Image.new("RGB", (64, 48)), "WEBP", save_all=True, append_images=[photograph(64, 48)]),
    "bmp": lambda: bmp_with_alpha(photograph(), 0),
    "tiff": lambda: encode(photograph(), "TIFF", compression="tiff_lzw"),
    "deep tiff": lambda: tiff(np.asarray(photograph().convert("L")).astype(np.uint16) << 4, tags={281: 4095}),
    "avif": lambda: encode(photograph(), "AVIF"),
    "heic": heic,
    "dng": lambda: dng(),
    "jpeg xl": lambda: encode(photograph(), "JXL"),
}


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """A few changes of the kinds that discs, networks and attackers make."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 5)):
        at = int(
            random.integers(0, max(len(changed), 1)) ** random.choice([1.0, 0.7])
        )  # headers more often than pixels
        match random.integers(6):
            case 0:
                changed[at : at + 1] = bytes([changed[at] ^ 1 << int(random.integers(8))]) if changed else b""
            case 1:
                changed[at : at + 4] = struct.pack(">I", random.choice([0, 1, 2**31 - 1, 2**32 - 1, len(data)]))
            case 2:
                del changed[at : at + int(random.integers(1, 64))]
            case 3:
                changed[at:at] = changed[at : at + int(random.integers(1, 64))]
            case 4:
                changed[at : at + 32] = random.bytes(32)
            case _:
                if at > 16:
                    del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("name", MUTATED)
def test_mutated_files_are_pictures_or_refused(name: str) -> None:
    if name == "jpeg xl":
        pytest.importorskip("pillow_jxl")
    elif name == "dng":
        pytest.importorskip("rawpy")
    data = MUTATED[name]()
    random = np.random.default_rng(sum(name.encode()))
    limits = ImageLimits(max_pixels=4_000_000)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow speaks of broken directories, EXIF and comments
        for _ in range(60):
            mutated = mutate(data, random)
            started = time.process_time()
            try:
                decode_image(mutated, limits)
            except ImageError:
                refused += 1
            assert time.process_time() - started < 5
    assert refused
