"""When segments are built."""

from __future__ import annotations

from dataclasses import dataclass

from index.vectors import EXACT_UP_TO, SEAL_AT

RECALL_AT = 10
"""How many of the nearest the recall of an index is about."""


@dataclass(frozen=True)
class BuildOptions:
    """Up to `exact_up_to` vectors there are no segments; beyond, every `seal_at` new records become one."""

    exact_up_to: int = EXACT_UP_TO
    seal_at: int = SEAL_AT
