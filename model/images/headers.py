"""Width and height by the header, for formats whose decoders take memory or time before they tell."""

from __future__ import annotations

import struct

from model.images.limits import too_much_work

MAX_BLOCKS = 100_000
"""Blocks of extensions before the first frame of a GIF."""

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_JXL_SIDE_BITS = (9, 13, 18, 30)


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Canvas of the three kinds of WebP (RFC 9649): extended, lossless, lossy. Opening one allocates it."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def gif_size(data: bytes) -> tuple[int, int]:
    """The logical screen, grown where the first frame reaches beyond it as Pillow grows it (GIF89a).

    Opening a GIF makes Pillow warn of large frames. Raises `ImageError` (image_too_large) for innumerable blocks.
    """
    width, height = struct.unpack_from("<HH", data, 6)
    position = 13 + _colour_table_bytes(data[10])
    blocks = 0
    while data[position] == ord("!"):  # An extension: its label, then blocks until an empty one.
        position += 2
        while data[position]:
            position += 1 + data[position]
            blocks += 1
            if blocks > MAX_BLOCKS:
                raise too_much_work("blocks", blocks, MAX_BLOCKS)
        position += 1
        blocks += 1
    if data[position] == ord(","):
        left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, position + 1)
        width, height = max(width, left + frame_width), max(height, top + frame_height)
    return width, height


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the codestream of a JPEG XL (ISO/IEC 18181-1, SizeHeader). Opening one decodes it."""
    codestream = data if data[:2] == b"\xff\x0a" else _jxl_codestream(data)
    if codestream[:2] != b"\xff\x0a" or len(codestream) < 12:
        return None
    bits = int.from_bytes(codestream[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take(_JXL_SIDE_BITS[take(2)])

    height = side()
    ratio = take(3)
    if ratio == 0:
        return side(), height
    numerator, denominator = _JXL_RATIOS[ratio - 1]
    return height * numerator // denominator, height


def _jxl_codestream(data: bytes) -> bytes:
    """The beginning of the codestream within the boxes of a JPEG XL container (ISO/IEC 18181-2)."""
    position = 0
    while position + 16 <= len(data):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = position + (16 if size == 1 else 8)
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if kind == b"jxlc":
            return data[body : body + 32]
        if kind == b"jxlp":
            return data[body + 4 : body + 36]
        if size < 8:
            break
        position += size
    return b""


def _colour_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
