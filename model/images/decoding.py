"""Bytes to an upright 8-bit sRGB picture, within limits.

Untrusted bytes end in one of two ways: a `DecodedImage`, or an `ImageError` whose code and message say why.
The format is told by content and the one fitting Pillow plugin is called directly: `PIL.Image.open` would
apply Pillow's own pixel limit, a process-wide setting, before it tells us how large the picture is.
"""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import threading
import warnings
from collections.abc import Iterator

from PIL import Image, ImageFile

from model.errors import ImageError
from model.images import bit_depth, headers, jpeg, png, raw, tiff
from model.images.animation import first_shown
from model.images.formats import READABLE, Container, identify
from model.images.limits import DEFAULT_LIMITS, MEBIBYTE, ImageLimits, check_size
from model.images.truncation import ends_early
from model.images.types import DecodedImage

# What Pillow logs as an error is the file's, and whoever sent it is told by an ImageError.
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# EXIF tag 0x0112: how the stored picture has to be turned to stand upright (1, as it is, needs nothing).
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})

# Two guesses at what could have followed a JPEG without its end: alternating bits, either way.
_FILLERS = (b"", b"\x55" * 64, b"\xaa" * 64)

# `warnings.catch_warnings` changes process-wide state: one thread at a time may do so.
_warning_filters_lock = threading.Lock()


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS, *, hint_side: int | None = None) -> DecodedImage:
    """Decode the first picture of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.

    JPEG XL needs the extra `jxl`, and camera raw the extra `raw`. Transparency is laid on white, EXIF orientation
    applied, colours brought to sRGB, deeper greys to 8 bits. Of an animation that begins with blank frames the
    first is taken that shows something. With `hint_side`, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its scale,
    and camera raw at 1/2, which is faster; the shorter side stays at or above `hint_side`. Thread-safe.

    Raises `ImageError`: image_empty, image_unreadable, image_truncated, image_too_small, image_too_large or
    image_format_unsupported. Limits, of the work as well, are checked before any pixel is decoded.
    """
    if not data:
        raise ImageError("image_empty", "The file is empty. Send the bytes of a picture.")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "image_too_large",
            f"The file has {_mebibytes(len(data))} MiB; the limit is {_mebibytes(limits.max_bytes)} MiB. "
            "Send a smaller file.",
        )
    container = identify(data)
    if container.name == "camera raw":
        picture, width, height = raw.develop(data, limits, hint_side)
        return DecodedImage(picture, container.media_type, width, height)
    early_size = _check_before_opening(data, container)
    if early_size is not None:
        check_size(*early_size, limits)
    opened = png.picture_chunks(data) if container.name == "PNG" else data
    image = _open(opened, container)
    width, height = image.size
    check_size(width, height, limits)
    tiff.check_tiles(image, limits)
    if container.name == "JPEG":
        jpeg.check_scans(data, width * height, limits)
    try:
        deep = bit_depth.has_deep_colours(image)
        image = _load(image, opened, container, hint_side)
        if deep:
            bit_depth.restore_depth(image, lambda: _open(opened, container))
        orientation = _orientation(image)
        picture = first_shown(image, limits)
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data.
        raise _broken(data, container, error, image) from error
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    # What is left here described the stored picture: a thumbnail saved with it would be turned twice, and
    # would tell where the photograph was taken.
    picture.info = {}
    return DecodedImage(picture, container.media_type, width, height)


def _check_before_opening(data: bytes, container: Container) -> tuple[int, int] | None:
    """Width and height where opening already costs something, None elsewhere and for damaged headers.

    Raises `ImageError` (image_too_large) for files whose very header would take too long to read.
    """
    try:
        match container.name:
            case "JPEG":
                jpeg.check_segments(data)
            case "TIFF":
                tiff.check_pieces(data)
            case "WebP":
                return headers.webp_size(data)
            case "GIF":
                return headers.gif_size(data)
            case "JPEG XL":
                size = headers.jxl_size(data)
                if size is None:
                    raise ImageError("image_unreadable", f"The JPEG XL file is damaged. Send a {READABLE} file.")
                return size
    except (IndexError, struct.error):
        pass  # Cut short within the header; opening it will say so.
    return None


def _open(data: bytes, container: Container) -> ImageFile.ImageFile:
    """Read the header. No pixels are decoded and no memory is taken for them, but for JPEG XL."""
    try:
        image = container.open(io.BytesIO(data))
        tiff.correct_reading(image)
    except ImageError:
        raise
    except Exception as error:  # As above: SyntaxError, struct.error, KeyError, ... by plugin.
        raise _broken(data, container, error) from error
    return image


def _load(image: ImageFile.ImageFile, data: bytes, container: Container, hint_side: int | None) -> ImageFile.ImageFile:
    """Decode the pixels of the first frame; a JPEG that lacks nothing but its end is opened anew with one."""
    if container.name == "JPEG" and hint_side is not None:
        image.draft(None, (hint_side, hint_side))
    try:
        with _without_size_warning(max(image.width * image.height, tiff.tile_pixels(image))):
            image.load()
    except OSError:
        if container.name != "JPEG" or data.endswith(jpeg.END_OF_IMAGE):
            raise
        begun = data.removesuffix(jpeg.END_OF_IMAGE[:1])  # half of the marker may be there
        if not _lacks_only_its_end(begun, container):
            raise
        ended = begun + jpeg.END_OF_IMAGE
        return _load(container.open(io.BytesIO(ended)), ended, container, hint_side)
    return image


def _lacks_only_its_end(data: bytes, container: Container) -> bool:
    """Whether all pixels of a JPEG without an end are there: whatever is put behind it then changes none of them."""
    if not jpeg.has_all_scans(data):
        return False
    pictures = [container.open(io.BytesIO(data + filler + jpeg.END_OF_IMAGE)) for filler in _FILLERS]
    first, *others = (picture.tobytes() for picture in pictures)
    return all(other == first for other in others)


def _broken(
    data: bytes, container: Container, error: Exception, image: ImageFile.ImageFile | None = None
) -> ImageError:
    """Tell a file that ends too early, which can be sent again, from one with damage inside or of an unknown kind."""
    if container.name == "TIFF" and tiff.is_of_unknown_kind(error):
        return ImageError(
            "image_format_unsupported",
            f"The TIFF file keeps its pixels in a way that Visem does not read ({tiff.describe_pixels(data)}). "
            "Save it anew with 8 or 16 bits a channel, or as JPEG or PNG.",
        )
    if "truncated" in str(error).lower() or ends_early(data, container, image):
        return ImageError(
            "image_truncated",
            f"The {container.name} file ends before its picture does. Send the complete file again.",
        )
    return ImageError(
        "image_unreadable",
        f"The {container.name} file is damaged, or of a kind that cannot be decoded. "
        "Save it anew, as JPEG or PNG, in an image editor.",
    )


@contextlib.contextmanager
def _without_size_warning(pixels: int) -> Iterator[None]:
    """Keep Pillow from warning about the size of a picture that our own limits have let through.

    Its threshold is about 89 million pixels: nearly every picture passes here without taking the lock.
    """
    if Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _warning_filters_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 where there is none or it makes no sense. Ask after loading: TIFF turns itself."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # the codestream says it, and libjxl has turned the picture
    with contextlib.suppress(Exception):  # Malformed EXIF is no reason to refuse a good picture.
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        if isinstance(orientation, int):
            return orientation
    return 1


def _mebibytes(count: int) -> str:
    return f"{count / MEBIBYTE:.1f}".removesuffix(".0")
