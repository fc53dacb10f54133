"""Opening what commands work with."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.service import Service
    from app.settings import Settings
    from index import Library

_NICE = 10  # a tenth of the time of others at work; all of it if there are none


AUTOGROUP = Path("/proc/self/autogroup")
"""Priority of the session, such as a terminal, that this process is in (sched(7))."""


def below_searches() -> None:
    """Give this process a lower priority than that of a service beside it: for commands that compute for long.

    Linux shares its cores evenly among sessions first, and heeds the priority of a process within its own. So the
    session has a lower one, too, until the command ends.
    """
    os.nice(_NICE)
    with suppress(OSError):  # other systems have none
        told = AUTOGROUP.read_text("ascii").split()
        if not told:  # no session that Linux counts: what init started, such as a job of a container
            return
        before = told[-1]
        _set_session(str(_NICE))
        # A command that was killed has left its own behind.
        atexit.register(_set_session, "0" if before == str(_NICE) else before)


def _set_session(priority: str) -> None:
    with suppress(OSError):
        AUTOGROUP.write_text(priority, "ascii")


@contextmanager
def open_service(settings: Settings, *, create: bool = False) -> Iterator[Service]:
    """The service of these settings. LibraryNotFound if there is no library and it is not to be created."""
    if not create:
        # A mistyped name must not leave an empty library behind. This comes before the model: it is quick.
        from app.libraries import config
        from index import require_library

        require_library(config(settings))
    from app.service import Service

    with Service.open(settings) as service:
        yield service


@contextmanager
def open_library(settings: Settings) -> Iterator[Library]:
    """The library alone, whatever bundle made it, without the model. LibraryNotFound."""
    from app import libraries

    with libraries.open_library(settings) as library:
        yield library
