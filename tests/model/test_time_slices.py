"""How long threads compute until it is another one's turn."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from model import threads, time_slices


def in_a_thread(*before: object) -> int | None:
    """The slices of a new thread that has called functions."""

    def look() -> int | None:
        for function in before:
            assert callable(function)
            function()
        return time_slices.current()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(look).result()


def can_be_told() -> bool:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(time_slices.ask_for, time_slices.SHORT).result()


@pytest.mark.skipif(not can_be_told(), reason="this system has no such slices, or does not allow it")
def test_who_answers_and_whom_it_starts_has_short_slices_and_what_gives_way_long_ones() -> None:
    usual = time_slices.current()

    def started_later() -> None:
        threads.answer_soon()
        assert time_slices.current() == time_slices.SHORT
        assert in_a_thread() == time_slices.SHORT
        assert in_a_thread(threads.give_way) == time_slices.LONG
        code = "from model import time_slices; print(time_slices.current())"
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
        assert int(output.stdout) == time_slices.SHORT

    in_a_thread(started_later)
    assert time_slices.current() == usual, "others keep theirs"


def test_where_the_system_has_no_such_call_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = time_slices.current()
    monkeypatch.setattr(time_slices, "_CALLS", {})
    assert time_slices.current() is None
    assert not time_slices.ask_for(time_slices.SHORT)
    monkeypatch.undo()
    assert time_slices.current() == usual
