"""File names of clients are harmless text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.names import MAX_NAME_LENGTH, display_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Größe 5.jpg", "Größe 5.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\photo.jpg", "photo.jpg"),
        ("folder/photo.jpg", "photo.jpg"),
        ("a\r\nSet-Cookie: x.jpg", "aSet-Cookie: x.jpg"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("a\0b\ud800.jpg", "ab.jpg"),
        ("  two   spaces ", "two spaces"),
        ("", None),
        (None, None),
        ("..", None),
        ("/", None),
        ("\u200b", None),
    ],
)
def test_display_names(name: str | None, shown: str | None) -> None:
    assert display_name(name) == shown


def test_long_names_keep_their_ending() -> None:
    shown = display_name("x" * 10_000 + ".jpeg")
    assert shown is not None
    assert len(shown) == MAX_NAME_LENGTH
    assert shown.endswith("x.jpeg")


@given(st.text(max_size=400))
def test_any_name_becomes_storable_text_and_stays_as_it_is(name: str) -> None:
    shown = display_name(name)
    if shown is not None:
        assert shown.encode()
        assert shown.isprintable()
        assert "/" not in shown
        assert "\\" not in shown
        assert 0 < len(shown) <= MAX_NAME_LENGTH
    assert display_name(shown) == shown
