"""Leases: who does what must be done by one process at a time, on whatever machine."""

from __future__ import annotations

from typing import Protocol


class Leases(Protocol):
    """Leases by name, in the catalog. Thread-safe, each method one transaction.

    A lease saves work, and is no lock: whoever pauses for longer than it lasts does not notice that it has ended. So
    what is done under one must do no harm when it is done twice.
    """

    def claim(self, name: str, holder: str, seconds: float) -> bool:
        """Take a lease for so many `seconds` from now, or longer if it is the holder's; False if somebody has it.

        Time is that of the catalog, so clocks of machines may differ.
        """

    def release(self, name: str, holder: str) -> None:
        """Give a lease back; nothing happens if it is not the holder's any more."""
