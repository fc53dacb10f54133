"""Deleting with a way back: what a page deletes is gone from the pages at once, and from the library a little later."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from index import EngineAway, Library, LibraryClosed, LibraryError, PendingDeletion, StorageFailed

logger = logging.getLogger(__name__)

CLOSING = 0.5
"""Seconds for which deletions are carried out when the service stops."""
LOOK = 5.0
"""Seconds between looks for what other services scheduled, and after which they are no longer waited for."""


@dataclass(frozen=True)
class Pending:
    """A photograph that is about to be deleted, and how many whole seconds are left to undo it."""

    id: str
    name: str
    seconds: int


class Deletions:
    """Carries out, in a thread, the deletions that wait in the library, each when it is due.

    They are in the catalog: every service on the library shows them and can undo them, and storing a photograph again
    keeps it. Whoever scheduled one carries it out. If that service is gone, or cannot, another one does so LOOK seconds
    later. What is overdue when a service starts was left behind by all: there is as much time again.
    """

    def __init__(self, library: Library, seconds: float) -> None:
        self._library = library
        self._seconds = seconds
        self._changed = threading.Condition()
        self._woken = False
        self._closed = False
        now = datetime.now(UTC)
        due = now + timedelta(seconds=seconds)
        self._scheduled: dict[str, datetime] = {}  # those that are this service's, and when they are due
        try:
            self._scheduled = dict.fromkeys(library.deletions.postpone(now, due), due)
        except StorageFailed as error:  # a library that is only read can be searched all the same
            logger.warning("pending deletions have to wait: %s", error)
        self._thread = threading.Thread(target=self._work, name="visem-deletions", daemon=True)
        self._thread.start()

    def schedule(self, image_id: str) -> None:
        """Delete an image in a while; RecordNotFound. Doing it again changes nothing."""
        if image_id not in self.ids():
            self._schedule(image_id)

    def undo(self, image_id: str) -> bool:
        """Keep an image after all; False when it is too late, or was never to be deleted."""
        with self._changed:
            self._scheduled.pop(image_id, None)
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
        """Carry out now what was scheduled here, for up to CLOSING seconds, after what is under way. Idempotent.

        The rest stays in the library, for other services and the next one.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        end = time.monotonic() + CLOSING
        try:
            while self._scheduled and time.monotonic() < end:
                self._carry_out(*self._scheduled.popitem())
        except LibraryError as error:
            logger.warning("pending deletions are left to the next service: %s", error)

    def _schedule(self, image_id: str) -> None:
        due = datetime.now(UTC) + timedelta(seconds=self._seconds)
        self._library.deletions.schedule(image_id, due)
        with self._changed:
            self._scheduled[image_id] = due
            self._woken = True
            self._changed.notify_all()

    def _work(self) -> None:
        wait = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._closed, wait)
                self._woken = False
                if self._closed:
                    return
            try:
                wait = self._carry_out_due()
            except LibraryClosed:
                return
            except Exception as error:
                logger.warning("pending deletions have to wait: %s", error)
                wait = LOOK * random.uniform(0.5, 1)  # noqa: S311  # not every service at once

    def _carry_out_due(self) -> float:
        """Carry out what is due; return the seconds until there may be more."""
        pending = self._library.deletions.pending()
        known, now = {one.image_id for one in pending}, datetime.now(UTC)
        with self._changed:
            self._scheduled = {id: due for id, due in self._scheduled.items() if id in known or due > now}
        for one in pending:
            if self._seconds_left(one) <= 0 and not self._closed:
                self._carry_out(one.image_id, one.due)
        return min([LOOK, *(left for one in pending if (left := self._seconds_left(one)) > 0)])

    def _seconds_left(self, one: PendingDeletion) -> float:
        """Until it is for this service to carry out."""
        left = (one.due - datetime.now(UTC)).total_seconds()
        return left if one.image_id in self._scheduled else left + LOOK

    def _carry_out(self, image_id: str, until: datetime) -> None:
        try:
            self._library.deletions.carry_out(image_id, until)
        except (EngineAway, StorageFailed):
            raise  # it stays pending, and is nobody's fault
        except Exception:
            logger.exception("image %s could not be deleted", image_id)
            self._library.deletions.cancel([image_id])  # it is in the pages again, and can be deleted again
