"""Camera raw: developed by LibRaw where the extra `raw` is installed, else refused by name.

The previews inside such files are never taken for the photograph.
"""

from __future__ import annotations

import io

from PIL import Image

from model.errors import ImageError, how_to_install
from model.images.limits import ImageLimits, check_size


def develop(data: bytes, limits: ImageLimits, hint_side: int | None) -> tuple[Image.Image, int, int]:
    """The upright sRGB picture, possibly at half its scale (as for `decode_image`), and its full width and height.

    Raises `ImageError` (image_format_unsupported) without the extra or for a camera that LibRaw does not know,
    image_too_large before developing, image_unreadable for damaged files.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ImageError(
            "image_format_unsupported",
            f"Developing a camera raw file needs an extra. {how_to_install('raw')} Or export it as JPEG.",
        ) from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = raw.sizes.iwidth, raw.sizes.iheight
            if raw.sizes.flip in (5, 6):  # a quarter turn, which the sizes do not include
                width, height = height, width
            check_size(width, height, limits)
            half = hint_side is not None and min(width, height) // 2 >= hint_side
            pixels = raw.postprocess(use_camera_wb=True, half_size=half)  # (height, width, 3) uint8, sRGB, upright
    except rawpy.LibRawFileUnsupportedError as error:
        raise ImageError(
            "image_format_unsupported",
            "This is a camera raw file of a kind that cannot be developed. Export it as JPEG.",
        ) from error
    except rawpy.LibRawError as error:
        raise ImageError("image_unreadable", "The camera raw file is damaged. Export it anew as JPEG.") from error
    return Image.fromarray(pixels), width, height
