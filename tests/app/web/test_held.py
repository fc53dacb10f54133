"""Pictures held in memory."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app.web.held import HeldPictures
from model.errors import ImageError
from model.images import DEFAULT_LIMITS
from tests.app.helpers import picture


def test_a_picture_is_held_without_what_surrounds_it() -> None:
    held = HeldPictures()
    token = held.hold(picture(1, 3000, 1500), DEFAULT_LIMITS)
    jpeg = held.get(token)
    assert jpeg is not None
    assert Image.open(io.BytesIO(jpeg)).size == (1024, 512)
    assert held.get("other") is None
    assert token != held.hold(picture(1), DEFAULT_LIMITS)


def test_the_one_looked_at_longest_ago_goes_first() -> None:
    probe = HeldPictures()
    size = len(probe.get(probe.hold(picture(1), DEFAULT_LIMITS)) or b"")
    held = HeldPictures(max_bytes=int(2.5 * size))
    first, second = (held.hold(picture(1), DEFAULT_LIMITS) for _ in range(2))
    assert held.get(first)
    third = held.hold(picture(1), DEFAULT_LIMITS)
    assert held.get(second) is None
    assert held.get(first)
    assert held.get(third)


def test_bad_files_are_refused() -> None:
    with pytest.raises(ImageError):
        HeldPictures().hold(b"nothing", DEFAULT_LIMITS)
