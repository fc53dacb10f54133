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


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 1.5, -1.5])
def test_a_cursor_at_a_score_that_no_record_has_is_refused(score: float) -> None:
    """It would be looked for to the end of the library, in ever larger searches."""
    query = b"q" * 16
    assert SearchCursor.decode(SearchCursor(1, 1.0, 10).encode(query), query) == SearchCursor(1, 1.0, 10)
    with pytest.raises(InvalidCursor):
        SearchCursor.decode(SearchCursor(1, score, 10).encode(query), query)
