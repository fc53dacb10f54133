"""Deleting with a way back: what a page deletes is gone from the pages at once, and from the library a little later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.marks import Marks
from index import RecordNotFound

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pending:
    """A photograph that is about to be deleted, and when (monotonic seconds)."""

    id: str
    name: str
    due: float
    timer: threading.Timer = field(repr=False, compare=False)

    @property
    def seconds(self) -> int:
        """Whole seconds that are left to undo it."""
        return max(0, round(self.due - time.monotonic()))


class Deletions:
    """The deletions that were asked for, pending at first, then under way. `close` carries all of them out.

    Each pending one has a mark in the library; when somebody takes it away, because they store the photograph again,
    the deletion is off. A process that dies in between has deleted nothing, and the photograph is there again. Nothing
    here waits for the library, except `close`: pages ask for the pending ones on the event loop.
    """

    def __init__(self, delete: Callable[[str], None], marks: Marks, seconds: float) -> None:
        self._delete = delete
        self._marks = marks
        self._seconds = seconds
        self._changed = threading.Condition()
        self._pending: dict[str, Pending] = {}
        self._under_way: set[str] = set()

    def schedule(self, image_id: str, name: str) -> None:
        """Delete an image in a while. Doing it again changes nothing."""
        timer = threading.Timer(self._seconds, self._carry_out, [image_id])
        timer.daemon = True
        with self._changed:
            if self._is_pending(image_id) or image_id in self._under_way:
                return
            if (old := self._pending.get(image_id)) is not None:  # it was stored again, and is deleted again
                old.timer.cancel()
            self._marks.put(image_id)
            self._pending[image_id] = Pending(image_id, name, time.monotonic() + self._seconds, timer)
            timer.start()

    def undo(self, image_id: str) -> bool:
        """Keep an image after all; False when it is too late, or was never to be deleted."""
        with self._changed:
            pending = self._pending.pop(image_id, None)
            if pending is None:
                return False
            self._marks.take(image_id)
        pending.timer.cancel()
        return True

    def pending(self) -> tuple[Pending, ...]:
        """What can still be undone, oldest first."""
        with self._changed:
            return tuple(one for one in self._pending.values() if one.id in self._marks)

    def __contains__(self, image_id: object) -> bool:
        """Whether an image is about to be deleted, or being deleted."""
        with self._changed:
            return self._is_pending(image_id) or image_id in self._under_way

    def close(self) -> None:
        """Carry out what is pending, now, and wait for what is under way."""
        for pending in self.pending():
            pending.timer.cancel()
            self._carry_out(pending.id)
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def _is_pending(self, image_id: object) -> bool:
        return isinstance(image_id, str) and image_id in self._pending and image_id in self._marks

    def _carry_out(self, image_id: str) -> None:
        with self._changed:
            if self._pending.pop(image_id, None) is None:
                return
            self._under_way.add(image_id)
        try:
            if self._marks.take(image_id):
                self._delete(image_id)
        except RecordNotFound:
            pass
        except Exception:
            logger.exception("image %s could not be deleted", image_id)
        finally:
            with self._changed:
                self._under_way.remove(image_id)
                self._changed.notify_all()
