"""Looking at something while it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

LOOKING = 2


def look_while(change: Callable[[], None], look: Callable[[], None]) -> None:
    """Call `look` again and again in several threads while `change` runs; what any of them raises comes through."""
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            look()

    with ThreadPoolExecutor(LOOKING) as pool:
        looking = [pool.submit(again) for _ in range(LOOKING)]
        try:
            change()
        finally:
            over.set()
        for one in looking:
            one.result()
