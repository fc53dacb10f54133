"""Watching folders for changes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from index import LibraryClosed, LibraryError

logger = logging.getLogger(__name__)

_DEBOUNCE = 400  # milliseconds; changes within them are one
_NO_TEXT = "Unable to decode path"
"""What watchfiles ends with when something happens to a file whose name is not UTF-8, be it that it was read."""


class Watcher:
    """Tells of changes below some folders, in a thread of its own, until `close`."""

    def __init__(self, roots: Iterable[str], without: Path, changed: Callable[[Iterable[str]], None]) -> None:
        self.problem: str | None = None
        self.ended = False
        self._roots = sorted(roots)
        self._without = f"{without.resolve()}{os.sep}"
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="visem-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            unnamed = False
            while not self._stop.is_set():
                unnamed = self._tell_of_changes(unnamed)
        except LibraryClosed:
            pass
        except LibraryError as error:  # of the catalog, not of watching: the next look goes over everything
            logger.warning("changes were seen but could not be looked up: %s", error)
            self.ended = True
        except FileNotFoundError:
            self.ended = True  # one of the folders went while this began: the next look sees it
        except Exception as error:
            self.problem = f"Changes cannot be watched, so they are found by the periodic pass only: {error}"
            logger.warning("%s", self.problem)

    def _tell_of_changes(self, unnamed: bool) -> bool:
        """Watch until the end, or until something happened to a file that cannot be named: True.

        With `unnamed` that was so, and anything may have changed until this watches again.
        """
        from watchfiles import watch  # when there is something to watch: it brings an event loop along

        changes = watch(
            *self._roots,
            watch_filter=lambda change, path: not path.startswith(self._without),
            debounce=_DEBOUNCE,
            rust_timeout=500,
            yield_on_timeout=True,
            stop_event=self._stop,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )
        try:
            for batch in changes:
                if unnamed:
                    self._changed(self._roots)
                elif batch:
                    self._changed(path for _, path in batch)
                unnamed = False
        except RuntimeError as error:
            if _NO_TEXT not in str(error):
                raise
            return True
        return False
