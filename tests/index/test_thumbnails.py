from __future__ import annotations

import io

import pytest
from PIL import Image

from index.thumbnails import is_damaged, render_thumbnail


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 500), (320, 160)), ((300, 3000), (32, 320)), ((50, 40), (50, 40)), ((5000, 1), (320, 1))],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_thumbnails_keep_the_shape_and_never_grow(mode: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = Image.new(mode, size, color="red" if mode != "L" else 100)
    with Image.open(io.BytesIO(render_thumbnail(picture))) as thumbnail:
        assert (thumbnail.format, thumbnail.size, thumbnail.mode) == ("JPEG", expected, "RGB")
    assert picture.size == size
    with Image.open(io.BytesIO(render_thumbnail(picture, size=16))) as thumbnail:
        assert max(thumbnail.size) == min(16, *[max(size)])


def test_what_is_not_a_whole_jpeg_is_damaged() -> None:
    whole = render_thumbnail(Image.linear_gradient("L"))
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, format="PNG")
    assert not is_damaged(whole)
    for bad in (b"", whole[:-200], whole[:10], b"\0" * 500, png.getvalue()):
        assert is_damaged(bad)
