"""Deleting with a way back: what a page deletes is gone from the pages at once, and from the library a little later."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from index import Library

logger = logging.getLogger(__name__)

CLOSING = 0.5
"""Seconds for which deletions are carried out when the service stops."""
_AT_ANY_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Pending:
    """A photograph that is about to be deleted, and how many whole seconds are left to undo it."""

    id: str
    name: str
    seconds: int


class Deletions:
    """Carries out the deletions that wait in the library, each when it is due.

    They are in the catalog: every service on the library shows them, can undo them and carries them out, and storing a
    photograph again keeps it. What is overdue was left behind: the next service that starts schedules it anew.
    """

    def __init__(self, library: Library, seconds: float) -> None:
        self._library = library
        self._seconds = seconds
        self._changed = threading.Condition()
        self._timers: dict[str, threading.Timer] = {}
        self._scheduled: set[str] = set()
        self._under_way = 0
        self._closed = False
        for one in library.deletions.pending():
            if one.due > datetime.now(UTC):
                self._start(one.image_id, one.due)
            else:
                self._schedule(one.image_id)

    def schedule(self, image_id: str) -> None:
        """Delete an image in a while; RecordNotFound. Doing it again changes nothing."""
        if image_id not in self.ids():
            self._schedule(image_id)

    def undo(self, image_id: str) -> bool:
        """Keep an image after all; False when it is too late, or was never to be deleted."""
        with self._changed:
            timer = self._timers.pop(image_id, None)
        if timer is not None:
            timer.cancel()
        return bool(self._library.deletions.cancel([image_id]))

    def pending(self) -> tuple[Pending, ...]:
        """What can still be undone, the first due first."""
        now = datetime.now(UTC)
        return tuple(
            Pending(one.image_id, one.filename or "The photograph", max(0, round((one.due - now).total_seconds())))
            for one in self._library.deletions.pending()
        )

    def ids(self) -> frozenset[str]:
        """The ids of what can still be undone."""
        return frozenset(one.image_id for one in self._library.deletions.pending())

    def close(self) -> None:
        """Carry out now what was scheduled here, for up to CLOSING seconds, and wait for what is under way.

        The rest stays in the library, for other services and the next one.
        """
        with self._changed:
            self._closed = True
            waiting = dict(self._timers)
        end = time.monotonic() + CLOSING
        for image_id, timer in waiting.items():
            timer.cancel()
            if image_id in self._scheduled and time.monotonic() < end:
                self._carry_out(image_id, _AT_ANY_TIME)
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def _schedule(self, image_id: str) -> None:
        due = datetime.now(UTC) + timedelta(seconds=self._seconds)
        self._library.deletions.schedule(image_id, due)
        self._scheduled.add(image_id)
        self._start(image_id, due)

    def _start(self, image_id: str, due: datetime) -> None:
        seconds = max(0.0, (due - datetime.now(UTC)).total_seconds())
        timer = threading.Timer(seconds, self._carry_out, [image_id, due])
        timer.daemon = True
        with self._changed:
            if self._closed:
                return
            if (old := self._timers.pop(image_id, None)) is not None:  # it was stored again, and is deleted again
                old.cancel()
            self._timers[image_id] = timer
        timer.start()

    def _carry_out(self, image_id: str, until: datetime) -> None:
        with self._changed:
            if self._timers.pop(image_id, None) is None:
                return
            self._under_way += 1
        try:
            if not self._library.deletions.carry_out(image_id, until):
                self._wait_longer(image_id)
        except Exception:
            logger.exception("image %s could not be deleted", image_id)
            try:
                self._library.deletions.cancel([image_id])  # it is in the pages again, and can be deleted again
            except Exception:
                logger.exception("the deletion of image %s is left to the next service", image_id)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _wait_longer(self, image_id: str) -> None:
        """Carry a deletion out later, which another service undid and scheduled again."""
        for one in self._library.deletions.pending():
            if one.image_id == image_id:
                self._start(image_id, one.due)
