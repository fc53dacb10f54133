"""A service takes over what others add while nobody searches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.search.follower import IndexFollower
from index import Library, NewSentence, Space


def test_what_others_add_is_there_before_the_next_search(tmp_path: Path) -> None:
    space = Space("a" * 64, "some-bundle", 8)
    random = np.random.default_rng(0)

    def sentences(first: int, last: int) -> list[NewSentence]:
        return [NewSentence(f"sentence {n}", random.normal(size=8)) for n in range(first, last)]

    with Library.open(tmp_path / "library", space) as mine, Library.open(tmp_path / "library", space) as other:
        follower = IndexFollower(mine)
        follower.start()
        mine.add_sentences(sentences(0, 3))
        index = mine._indexes["sentences"]
        time.sleep(0.6)
        assert index._opened is None  # nobody has searched
        mine.search(np.ones(8), 1, "sentences")
        other.add_sentences(sentences(3, 10))
        until(lambda: len(index._opened._head) == 10)
        follower.close()
        follower.close()
        assert not follower._thread.is_alive()


def test_it_ends_with_a_library_that_is_closed_under_it(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", Space("a" * 64, "some-bundle", 8))
    follower = IndexFollower(library)
    follower.start()
    library.close()
    time.sleep(0.3)
    follower.close()


def test_it_goes_on_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = []

    def follow(library: Library) -> None:
        looks.append(library)
        if len(looks) == 1:
            raise RuntimeError("no memory for that")

    monkeypatch.setattr(Library, "follow", follow)
    monkeypatch.setattr("app.search.follower.RETRY", 0.1)
    with Library.open(tmp_path / "library", Space("a" * 64, "some-bundle", 8)) as library:
        follower = IndexFollower(library)
        follower.start()
        until(lambda: len(looks) >= 3)
        follower.close()
    assert [record.exc_info is not None for record in caplog.records] == [True]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
