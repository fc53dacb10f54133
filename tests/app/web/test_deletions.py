"""Deletions that wait: undone, carried out, taken up by another service, or failing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from app.web.deletions import Deletions
from index import EngineAway, Library, LibraryBusy, LibraryConfig, NewImage, RecordNotFound, Space, open_library
from index.deletions import LibraryDeletions

SPACE = Space("a" * 64, "bundle", 4)

Start = Callable[..., Deletions]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with open_library(LibraryConfig(tmp_path / "library"), SPACE) as opened:
        yield opened


@pytest.fixture
def start(library: Library) -> Iterator[Start]:
    """Starts what carries deletions out, for a service; all of them end with the test."""
    with ExitStack() as stack:

        def begin(seconds: float = 60) -> Deletions:
            deletions = Deletions(library, seconds)
            stack.callback(deletions.close)
            return deletions

        yield begin


def add(library: Library, content: bytes = b"a") -> str:
    image = NewImage(content, np.ones(4), b"thumbnail", "image/png", 1, 1, "a.png")
    return library.add_images([image])[0].record.id


def wait_for(deletions: Deletions, image_id: str) -> None:
    deadline = time.monotonic() + 30
    while image_id in deletions.ids() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert image_id not in deletions.ids()


def test_it_happens_after_a_while(library: Library, start: Start) -> None:
    deletions = start(0.2)
    image_id = add(library)
    deletions.schedule(image_id)
    assert deletions.ids() == {image_id}
    assert library.get_image(image_id)
    wait_for(deletions, image_id)
    assert deletions.pending() == ()
    with pytest.raises(RecordNotFound):
        library.get_image(image_id)
    assert not deletions.undo(image_id)


def test_undone_it_never_happens(library: Library, start: Start) -> None:
    deletions = start(0.05)
    image_id = add(library)
    deletions.schedule(image_id)
    assert deletions.undo(image_id)
    time.sleep(0.15)
    deletions.close()
    assert library.get_image(image_id)


def test_it_tells_the_name_and_the_seconds_left(library: Library, start: Start) -> None:
    deletions = start(60)
    image_id = add(library)
    deletions.schedule(image_id)
    deletions.schedule(image_id)
    [pending] = deletions.pending()
    assert (pending.id, pending.name) == (image_id, "a.png")
    assert 50 < pending.seconds <= 60


def test_closing_waits_for_a_deletion_under_way(
    library: Library, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = threading.Event(), threading.Event()
    carry_out = LibraryDeletions.carry_out

    def slow(self: LibraryDeletions, image_id: str, until: datetime) -> bool:
        started.set()
        assert release.wait(10)
        return carry_out(self, image_id, until)

    monkeypatch.setattr(LibraryDeletions, "carry_out", slow)
    deletions = start(0.01)
    image_id = add(library)
    deletions.schedule(image_id)
    assert started.wait(10)
    closing = threading.Thread(target=deletions.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    release.set()
    closing.join(10)
    assert library.count("images") == 0


def test_closing_carries_out_what_is_pending(library: Library, start: Start) -> None:
    deletions = start(60)
    deletions.schedule(add(library, b"a"))
    deletions.schedule(add(library, b"b"))
    deletions.close()
    deletions.close()
    assert library.count("images") == 0


def test_what_closing_has_no_time_for_is_left_to_the_next_service(
    library: Library, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletions = start(60)
    deletions.schedule(add(library, b"a"))
    deletions.schedule(add(library, b"b"))
    monkeypatch.setattr("app.web.deletions.CLOSING", 0.0)
    deletions.close()
    assert library.count("images") == 2
    monkeypatch.undo()
    following = start(60)
    assert len(following.pending()) == 2
    following.close()  # they are not due yet, and not its own
    assert library.count("images") == 2


def test_what_is_gone_already_is_fine(library: Library, start: Start) -> None:
    deletions = start(60)
    image_id = add(library)
    deletions.schedule(image_id)
    library.delete_image(image_id)
    assert deletions.pending() == ()
    deletions.close()
    with pytest.raises(RecordNotFound):
        deletions.schedule(image_id)


def test_a_failure_is_logged_and_the_photograph_is_there_again(
    library: Library, start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: LibraryDeletions, image_id: str, until: datetime) -> bool:
        raise LibraryBusy

    deletions = start(60)
    image_id = add(library)
    deletions.schedule(image_id)
    monkeypatch.setattr(LibraryDeletions, "carry_out", fail)
    with caplog.at_level(logging.ERROR):
        deletions.close()
    assert image_id in caplog.text
    assert deletions.pending() == ()
    assert library.get_image(image_id)


def test_who_stores_it_again_keeps_it(library: Library, start: Start) -> None:
    deletions = start(60)
    image_id = add(library)
    deletions.schedule(image_id)
    assert add(library) == image_id
    assert deletions.pending() == ()
    deletions.schedule(image_id)  # it may be deleted again
    assert deletions.undo(image_id)
    deletions.close()
    assert library.get_image(image_id)


def test_services_share_what_is_pending(library: Library, start: Start) -> None:
    first, second = start(60), start(60)
    image_id, other = add(library, b"a"), add(library, b"b")
    first.schedule(image_id)
    first.schedule(other)
    assert second.ids() == {image_id, other}
    assert second.undo(image_id)
    first.close()
    assert [record.id for record in library.list_images().items] == [image_id]


def test_what_a_killed_service_left_is_taken_up_and_can_be_undone_for_as_long_again(
    library: Library, start: Start
) -> None:
    image_id, other = add(library, b"a"), add(library, b"b")
    for id in (image_id, other):
        library.deletions.schedule(id, datetime(2026, 1, 1, tzinfo=UTC))
    deletions = start(1)
    assert [one.seconds for one in deletions.pending()] == [1, 1]
    assert deletions.undo(other)
    wait_for(deletions, image_id)
    assert [record.id for record in library.list_images().items] == [other]


def test_a_service_that_starts_puts_nothing_off(library: Library, start: Start) -> None:
    image_id = add(library)
    first = start(0.5)
    first.schedule(image_id)
    due = library.deletions.pending()[0].due
    start(600)
    assert library.deletions.pending()[0].due == due
    wait_for(first, image_id)


def test_what_was_scheduled_again_elsewhere_waits_for_its_new_time(library: Library, start: Start) -> None:
    image_id = add(library)
    first, second = start(0.3), start(1.5)
    first.schedule(image_id)
    assert second.undo(image_id)
    second.schedule(image_id)
    time.sleep(0.8)
    assert library.get_image(image_id).id == image_id
    wait_for(first, image_id)


def test_what_a_service_that_is_gone_has_scheduled_is_carried_out_by_another_one(
    library: Library, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.deletions.LOOK", 0.3)
    other = start(60)
    image_id = add(library)
    library.deletions.schedule(
        image_id, datetime.now(UTC) + timedelta(seconds=0.3)
    )  # as a service that was killed since
    assert other.ids() == {image_id}
    wait_for(other, image_id)
    assert library.count("images") == 0


def test_while_an_engine_is_away_a_deletion_waits(
    library: Library, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = LibraryDeletions.carry_out
    attempts: list[str] = []

    def away(self: LibraryDeletions, image_id: str, until: datetime) -> bool:
        attempts.append(image_id)
        if len(attempts) < 3:
            raise EngineAway("catalog", "tested")
        return carry_out(self, image_id, until)

    monkeypatch.setattr("app.web.deletions.LOOK", 0.1)
    monkeypatch.setattr(LibraryDeletions, "carry_out", away)
    deletions = start(0.1)
    image_id = add(library)
    deletions.schedule(image_id)
    wait_for(deletions, image_id)
    assert attempts == [image_id] * 3
    assert library.count("images") == 0
