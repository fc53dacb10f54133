"""Picture files for tests: of every format, and some that no encoder writes, made byte by byte."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.errors import ImageError
from model.images.decoding import decode_image
from model.images.limits import DEFAULT_LIMITS, ImageLimits
from model.images.types import DecodedImage


def photograph(width: int = 160, height: int = 120) -> Image.Image:
    """Smooth with some noise, as photographs are, so that every part of the file matters."""
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] / (height + width) * [168, 112, 224]
    noise = np.random.default_rng(0).normal(30, 8, (height, width, 3))
    return Image.fromarray(np.clip(ramp + noise, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, format_name: str, **options: object) -> bytes:
    """A file of the picture."""
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(data: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG with more chunks before its first one of a kind."""
    at = data.index(before) - 4
    return data[:at] + b"".join(chunks) + data[at:]


def tiff(pixels: np.ndarray, *, tags: dict[int, int] | None = None) -> bytes:
    """An uncompressed grey TIFF in little-endian order of these pixels (height, width); `tags` are added or replace."""
    height, width = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries = {256: width, 257: height, 258: 8 * pixels.itemsize, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    entries |= {279: pixels.nbytes, 339: kind, **(tags or {})}
    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return struct.pack("<2sHI", b"II", 42, 8 + len(raw)) + raw + struct.pack("<H", len(entries)) + directory + bytes(4)


def colour_tiff(
    pixels: np.ndarray,
    *,
    order: str = "<",
    planar: bool = False,
    deflated: bool = False,
    tags: dict[int, int] | None = None,
) -> bytes:
    """A TIFF of these pixels (height, width, samples) in two strips, two of each sample if it is `planar`.

    One sample is grey, two are grey and alpha, three are colours, and a fourth is alpha.
    """
    height, width, samples = pixels.shape
    rows = -(-height // 2)
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    planes = np.moveaxis(pixels, 2, 0) if planar else [pixels]
    strips = [plane[at : at + rows].astype(pixels.dtype.newbyteorder(order)) for plane in planes for at in (0, rows)]
    raw = [zlib.compress(strip.tobytes()) if deflated else strip.tobytes() for strip in strips]
    starts = [8 + sum(len(strip) for strip in raw[:number]) for number in range(len(raw))]
    entries: list[tuple[int, int, tuple[int, ...] | bytes]] = [
        *((256, 4, (width,)), (257, 4, (height,)), (258, 3, (8 * pixels.itemsize,) * samples)),
        *((259, 3, (8 if deflated else 1,)), (262, 3, (2 if samples > 2 else 1,)), (273, 4, (*starts,))),
        *((277, 3, (samples,)), (278, 4, (rows,)), (279, 4, tuple(map(len, raw))), (284, 3, (2 if planar else 1,))),
        (339, 3, (kind,) * samples),
        *((tag, 3, (value,) * samples) for tag, value in (tags or {}).items()),
    ]
    if samples in (2, 4):
        entries.append((338, 3, (2,)))
    body = b"".join(raw)
    body += bytes(len(body) % 2)
    header = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(body))
    return header + body + _directory(entries, 8 + len(body), order)


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG whose first scan is repeated."""
    data = encode(Image.new("L", (width, height), 128), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff", start + 2)
    return data[:start] + data[start:end] * scans + data[end:]


def bmp_with_alpha(picture: Image.Image, alpha: int) -> bytes:
    """A BMP of 32 bits a pixel whose header (BITMAPV5) declares a channel of alpha."""
    picture = picture.convert("RGBA")
    picture.putalpha(alpha)
    pixels = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    header = struct.pack("<IiiHHIIiiII", 124, *picture.size, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(124 - 40 - 20)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


_PACKED = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}


def _directory(entries: list[tuple[int, int, tuple[int, ...] | bytes]], offset: int, order: str = "<") -> bytes:
    body, extra = struct.pack(f"{order}H", len(entries)), b""
    for tag, kind, values in sorted(entries):
        if isinstance(values, bytes):
            raw, count = values, len(values)
        else:
            raw = struct.pack(f"{order}{len(values)}{_PACKED[kind]}", *values)
            count = len(values) // 2 if kind in (5, 10) else len(values)
        if len(raw) > 4:
            where = offset + 2 + 12 * len(entries) + 4 + len(extra)
            extra += raw + bytes(len(raw) % 2)
            raw = struct.pack(f"{order}I", where)
        body += struct.pack(f"{order}HHI", tag, kind, count) + raw.ljust(4, b"\x00")
    return body + bytes(4) + extra


def dng(width: int = 64, height: int = 48, *, orientation: int = 1, photometric: int = 32803) -> bytes:
    """A DNG (1.4) as cameras write it: a preview, which is white, and a mosaic that is red above and blue below."""
    mosaic = np.full((height, width), 500, np.uint16)
    mosaic[: height // 2 : 2, ::2] = 6000
    mosaic[height // 2 + 1 :: 2, 1::2] = 6000
    pixels, preview = mosaic.astype("<u2").tobytes(), b"\xff" * (16 * 16 * 3)
    at_pixels = 8 + len(preview)
    at_sub = at_pixels + len(pixels)
    sub = _directory(
        [
            *((254, 4, (0,)), (256, 4, (width,)), (257, 4, (height,)), (258, 3, (16,)), (259, 3, (1,))),
            *((262, 3, (photometric,)), (273, 4, (at_pixels,)), (277, 3, (1,)), (278, 4, (height,))),
            *((279, 4, (len(pixels),)), (284, 3, (1,)), (33421, 3, (2, 2)), (33422, 1, (0, 1, 1, 2))),
            *((50714, 4, (0,)), (50717, 4, (8000,))),
        ],
        at_sub,
    )
    identity = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    main = _directory(
        [
            *((254, 4, (1,)), (256, 4, (16,)), (257, 4, (16,)), (258, 3, (8, 8, 8)), (259, 3, (1,)), (262, 3, (2,))),
            *((271, 2, b"Visem\x00"), (272, 2, b"Test camera\x00"), (273, 4, (8,)), (274, 3, (orientation,))),
            *((277, 3, (3,)), (278, 4, (16,)), (279, 4, (len(preview),)), (330, 4, (at_sub,))),
            *((50706, 1, (1, 4, 0, 0)), (50708, 2, b"Visem Test\x00"), (50721, 10, identity)),
            *((50728, 5, (1, 1, 1, 1, 1, 1)), (50778, 3, (21,))),
        ],
        at_sub + len(sub),
    )
    return struct.pack("<2sHI", b"II", 42, at_sub + len(sub)) + preview + pixels + sub + main


RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30)


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red and green above, blue and yellow below: tells all 8 orientations apart."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    picture.paste(YELLOW, (width // 2, height // 2, width, height))
    return picture


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


def raw_png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
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
