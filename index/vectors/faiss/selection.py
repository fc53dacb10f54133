"""Which keys a search may find, as bits that FAISS reads while it scans."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from index.interfaces import Collection, Where
from index.types import Keys
from index.vectors.head import Choice

Bits = npt.NDArray[np.uint8]
"""One bit for each key, in the order of FAISS."""

_REMEMBERED = 32


@dataclass(frozen=True)
class Selection:
    """The keys that match a filter, ascending."""

    keys: Keys

    @cached_property
    def bits(self) -> Bits:
        """One bit for each key up to the last that matches."""
        flags = np.zeros(int(self.keys[-1]) + 1 if len(self.keys) else 0, dtype=bool)
        flags[self.keys] = True
        return np.packbits(flags, bitorder="little")

    def count(self, keys: Keys) -> int:
        """Return how many of some other keys match, in a time that hardly depends on how many do in all."""
        if not len(self.keys):
            return 0
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return int((self.keys[places] == keys).sum())


class Selections:
    """Remembers what the catalog said of the filters asked last, for as long as nothing is committed."""

    def __init__(self, collection: Collection[Any]) -> None:
        self._collection = collection
        self._version: int | None = None
        self._known: OrderedDict[tuple[Any, ...], Selection] = OrderedDict()

    def of(self, where: Where, version: int | None) -> Selection:
        """Return the keys that match. `version` is the catalog's, seen before this call."""
        name = (*where.filters.items(), where.concepts, where.photo)
        return self._get(version, name, lambda: self._collection.keys(where.filters, where.concepts, where.photo))

    def hidden(self, version: int | None) -> Keys:
        """Return the keys that no search may find."""
        return self._get(version, ("hidden",), self._collection.hidden).keys

    def _get(self, version: int | None, name: tuple[Any, ...], ask: Callable[[], Keys]) -> Selection:
        known = self._known  # replaced, never emptied: others may be reading
        if version is None or version != self._version:
            known = self._known = OrderedDict()
            self._version = version
        found = known.get(name)
        if found is None:
            found = known[name] = Selection(ask())
            while len(known) > _REMEMBERED:
                known.popitem(last=False)
        return found


class Selector:
    """Whether a key below `size` may be found: what FAISS and the head ask."""

    def __init__(self, size: int, selection: Selection | None, refused: Keys) -> None:
        self._bits: Bits | None = None if selection is None else selection.bits  # kept for as long as FAISS reads them
        if len(refused):
            flags = np.ones(size, dtype=bool) if self._bits is None else np.unpackbits(self._bits, bitorder="little")
            flags[refused[refused < len(flags)]] = 0
            self._bits = np.packbits(flags, bitorder="little")

    @property
    def choice(self) -> Choice | None:
        """What tells which of some keys may be found; None for all of them."""
        bits = self._bits
        if bits is None:
            return None

        def choose(keys: Keys) -> npt.NDArray[np.bool_]:
            places = keys >> 3
            there = places < len(bits)
            chosen = np.zeros(len(keys), dtype=bool)
            chosen[there] = bits[places[there]] >> (keys[there] & 7) & 1
            return chosen

        return choose

    @cached_property
    def of_faiss(self) -> Any | None:
        """The same for FAISS, which must not outlive this object."""
        bits = self._bits
        if bits is None:
            return None
        import faiss

        return faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
