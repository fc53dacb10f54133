"""Comparing a vector index with its catalog, for `visem info --check`."""

from __future__ import annotations

from typing import Any

import numpy as np

from index.interfaces import Collection, Position
from index.types import Keys
from index.vector_encoding import unit_rows
from index.vectors.faiss.segments import Segments
from index.vectors.head import Head

_STEP = 2048
_AGREEING = 0.9  # of the parts of a code: the last bits of a product of matrices depend on what comes with a row


def differences(
    collection: Collection[Any], position: Position, segments: Segments | None, head: Head, removed: Keys
) -> list[str]:
    """Return how segments and head differ from the records up to a position: a sentence, or nothing."""
    target = collection.target
    newest = head.keys()
    seen = last = 0
    while last < position.key:
        keys, halves = collection.stored_after(last, _STEP, position.generation)
        keys, halves = keys[keys <= position.key], halves[keys <= position.key]
        if not len(keys):
            break
        last = int(keys[-1])
        seen += len(keys)
        in_head = np.isin(keys, newest)
        if in_head.any() and not head.agrees(keys[in_head], halves[in_head]):
            return [f"{target}: the vector index has other vectors than the catalog"]
        rest = keys[~in_head]
        if not len(rest):
            continue
        if segments is None or len(segments.present(rest)) < len(rest):
            return [f"{target}: the vector index lacks records of the catalog"]
        if not segments.agree(rest, unit_rows(halves[~in_head], halves.shape[1]), _AGREEING):
            return [f"{target}: the vector index has other vectors than the catalog"]
    if len(newest) + (0 if segments is None else len(segments) - len(removed)) > seen:
        return [f"{target}: the vector index has records that the catalog lacks"]
    return []
