"""Pictures held in memory."""

from __future__ import annotations

from app.web.query_images import QueryImages
from tests.app.helpers import picture


def test_a_picture_is_held() -> None:
    held = QueryImages()
    token = held.hold(picture(1))
    assert held.get(token) == picture(1)
    assert held.get("other") is None
    assert token != held.hold(picture(1))


def test_the_one_looked_at_longest_ago_goes_first() -> None:
    held = QueryImages(max_bytes=int(2.5 * len(picture(1))))
    first, second = (held.hold(picture(1)) for _ in range(2))
    assert held.get(first)
    third = held.hold(picture(1))
    assert held.get(second) is None
    assert held.get(first)
    assert held.get(third)
