"""Cursors, whatever somebody gives as one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import InvalidCursor
from index.cursors import ListCursor, SearchCursor


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=60))
def test_no_text_is_taken_for_a_cursor(text: str) -> None:
    for kind in (ListCursor, SearchCursor):
        with pytest.raises(InvalidCursor):
            kind.decode(text, b"q" * 16)
