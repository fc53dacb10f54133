"""Deletions that wait: undone, carried out, or failing."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from app.marks import Marks
from app.web.deletions import Deletions
from index import RecordNotFound


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "deleting")


def wait_for(deletions: Deletions, image_id: str) -> None:
    deadline = time.monotonic() + 30
    while image_id in deletions and time.monotonic() < deadline:
        time.sleep(0.01)
    assert image_id not in deletions


def test_it_happens_after_a_while(marks: Marks) -> None:
    deleted: list[str] = []
    deletions = Deletions(deleted.append, marks, seconds=0.05)
    deletions.schedule("a", "a.jpg")
    assert "a" in deletions
    assert deleted == []
    wait_for(deletions, "a")
    assert deletions.pending() == ()
    assert deleted == ["a"]
    assert not deletions.undo("a")


def test_undone_it_never_happens(marks: Marks) -> None:
    deleted: list[str] = []
    deletions = Deletions(deleted.append, marks, seconds=0.05)
    deletions.schedule("a", "a.jpg")
    assert deletions.undo("a")
    time.sleep(0.15)
    deletions.close()
    assert deleted == []


def test_nobody_waits_for_a_deletion_under_way_but_closing(marks: Marks) -> None:
    started, release = threading.Event(), threading.Event()
    released: list[bool] = []

    def delete(image_id: str) -> None:
        started.set()
        released.append(release.wait(5))

    deletions = Deletions(delete, marks, seconds=0.01)
    deletions.schedule("a", "a.jpg")
    assert started.wait(30)
    assert "a" in deletions  # still hidden
    assert deletions.pending() == ()  # but no way back is offered
    assert not deletions.undo("a")
    deletions.schedule("a", "a.jpg")  # it is being deleted: nothing to add to that
    assert deletions.pending() == ()
    closing = threading.Thread(target=deletions.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    release.set()
    closing.join(30)
    assert released == [True]
    assert "a" not in deletions


def test_undone_in_time_it_can_be_asked_for_again(marks: Marks) -> None:
    deleted: list[str] = []
    deletions = Deletions(deleted.append, marks, seconds=60)
    deletions.schedule("a", "a.jpg")
    assert deletions.undo("a")
    assert "a" not in deletions
    deletions.schedule("a", "a.jpg")
    deletions.close()
    assert deleted == ["a"]


def test_closing_carries_out_what_is_pending_once(marks: Marks) -> None:
    deleted: list[str] = []
    deletions = Deletions(deleted.append, marks, seconds=60)
    for name in ("a", "b", "a"):
        deletions.schedule(name, name)
    assert [one.id for one in deletions.pending()] == ["a", "b"]
    assert 50 <= deletions.pending()[0].seconds <= 60
    deletions.close()
    deletions.close()
    assert deleted == ["a", "b"]


def test_what_is_gone_already_is_fine_and_a_failure_is_logged(caplog: pytest.LogCaptureFixture, marks: Marks) -> None:
    def fail(image_id: str) -> None:
        raise RecordNotFound("image", image_id) if image_id == "gone" else OSError("disk")

    deletions = Deletions(fail, marks, seconds=60)
    deletions.schedule("gone", "gone")
    deletions.schedule("stuck", "stuck")
    with caplog.at_level(logging.ERROR):
        deletions.close()
    assert deletions.pending() == ()
    assert "stuck could not be deleted" in caplog.text
    assert "gone could not" not in caplog.text


def test_who_takes_the_mark_calls_it_off(marks: Marks, tmp_path: Path) -> None:
    deleted: list[str] = []
    deletions = Deletions(deleted.append, marks, seconds=60)
    deletions.schedule("a", "a")
    deletions.schedule("b", "b")
    others = Marks(tmp_path / "deleting")  # as another process has them
    assert others.take("a")
    assert not others.take("a")
    assert "a" not in deletions
    assert [one.id for one in deletions.pending()] == ["b"]
    deletions.close()
    assert deleted == ["b"]


def test_what_was_stored_again_can_be_deleted_again(marks: Marks) -> None:
    deleted: list[str] = []
    deletions = Deletions(deleted.append, marks, seconds=60)
    deletions.schedule("a", "a")
    marks.take("a")
    deletions.schedule("a", "a")
    assert "a" in deletions
    deletions.close()
    assert deleted == ["a"]
