"""Files that are read into memory, some at a time, within a budget that all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from app.embedding.fairness import ByteBudget
from model.errors import ImageError

T = TypeVar("T")

CHUNK_BYTES = 48 * 1024 * 1024
"""A chunk ends when its files together take more, so that big photographs do not fill the memory."""

DECODED_BYTES = 2 * 1024 * 1024
"""What the picture of a file takes once it is decoded: three bytes a pixel at working size, and a thumbnail."""


def size_of(file: bytes | ImageError) -> int:
    """Bytes that a file takes, with its picture."""
    return 0 if isinstance(file, ImageError) else len(file) + DECODED_BYTES


class Chunk(Generic[T]):
    """Items whose bytes count against the budget until `release`."""

    def __init__(self, items: list[T], budget: ByteBudget, client: str, size: int) -> None:
        self.items = items
        self._budget = budget
        self._client = client
        self._size = size

    def release(self) -> None:
        """Give up the items, and the bytes back: whoever still has the chunk has nothing in memory. Idempotent."""
        self.items = []
        size, self._size = self._size, 0
        if size:
            self._budget.give_back(self._client, size)


class FilesInMemory:
    """Reads files in chunks. Room for the largest chunk is taken before it is read, as nobody knows its size yet."""

    def __init__(self, budget: ByteBudget, client: str, max_file: int) -> None:
        self._budget = budget
        self._client = client
        self._most = CHUNK_BYTES + max_file + DECODED_BYTES
        self._has_room = False

    def try_room(self) -> bool:
        """Take room for a chunk if there is some."""
        if not self._has_room:
            self._has_room = self._budget.try_take(self._client, self._most)
        return self._has_room

    def wait_for_room(self) -> None:
        """Take room for a chunk. Only for who holds no chunk: others may wait for what it holds."""
        if not self._has_room:
            self._budget.take(self._client, self._most)
            self._has_room = True

    def read(self, files: Iterator[T], most: int, size: Callable[[T], int]) -> Chunk[T]:
        """Up to `most` files, as many as fit into a chunk; an empty chunk at the end of the files."""
        items: list[T] = []
        total = 0
        try:
            for file in islice(files, most):
                items.append(file)
                total += size(file)
                if total >= CHUNK_BYTES:
                    break
        except BaseException:
            self.close()
            raise
        self._has_room = False
        chunk = Chunk(items, self._budget, self._client, total)
        if total < self._most:
            self._budget.give_back(self._client, self._most - total)
        elif total > self._most:  # one who reads more than a file may have has no limits
            chunk = Chunk(items, self._budget, self._client, self._most)
        return chunk

    def close(self) -> None:
        """Give back room that was not used. Idempotent."""
        if self._has_room:
            self._has_room = False
            self._budget.give_back(self._client, self._most)
