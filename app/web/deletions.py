"""Deleting with a way back: what a page deletes is gone from the pages at once, and from the library a little later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

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

    A process that dies while one is pending has deleted nothing, and the photograph is there again. Nothing here
    waits for the library, except `close`: pages ask for the pending ones on the event loop.
    """

    def __init__(self, delete: Callable[[str], None], seconds: float) -> None:
        self._delete = delete
        self._seconds = seconds
        self._changed = threading.Condition()
        self._pending: dict[str, Pending] = {}
        self._under_way: set[str] = set()

    def schedule(self, image_id: str, name: str) -> None:
        """Delete an image in a while. Doing it again changes nothing."""
        timer = threading.Timer(self._seconds, self._carry_out, [image_id])
        timer.daemon = True
        with self._changed:
            if image_id not in self._pending and image_id not in self._under_way:
                self._pending[image_id] = Pending(image_id, name, time.monotonic() + self._seconds, timer)
                timer.start()

    def undo(self, image_id: str) -> bool:
        """Keep an image after all; False when it is too late, or was never to be deleted."""
        with self._changed:
            pending = self._pending.pop(image_id, None)
        if pending is None:
            return False
        pending.timer.cancel()
        return True

    def pending(self) -> tuple[Pending, ...]:
        """What can still be undone, oldest first."""
        with self._changed:
            return tuple(self._pending.values())

    def __contains__(self, image_id: object) -> bool:
        """Whether an image is about to be deleted, or being deleted."""
        with self._changed:
            return image_id in self._pending or image_id in self._under_way

    def close(self) -> None:
        """Carry out what is pending, now, and wait for what is under way."""
        for pending in self.pending():
            pending.timer.cancel()
            self._carry_out(pending.id)
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def _carry_out(self, image_id: str) -> None:
        with self._changed:
            if self._pending.pop(image_id, None) is None:
                return
            self._under_way.add(image_id)
        try:
            self._delete(image_id)
        except RecordNotFound:
            pass
        except Exception:
            logger.exception("image %s could not be deleted", image_id)
        finally:
            with self._changed:
                self._under_way.remove(image_id)
                self._changed.notify_all()
