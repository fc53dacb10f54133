"""Thumbnails of images: those that are kept, and those of small images, which are made for whoever asks."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from index import Content, ImageFile, Library

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.embedding.embedder import Embedder


class Thumbnails:
    """The thumbnails of a library. Thread-safe.

    What is made is not remembered: it takes a few milliseconds, and browsers remember it. So there is nothing that a
    deletion would have to be told to.
    """

    def __init__(self, library: Library, embedder: Embedder) -> None:
        self._library = library
        self._embedder = embedder

    def of_image(self, image_id: str, client: str) -> ImageFile:
        """The thumbnail of an image, open. One that is not kept is made when it is read, in turn with other clients.

        RecordNotFound, ContentMissing. When it is read: ImageError, StorageFailed, Overloaded.
        """
        file = self._library.open_file(image_id, "thumbnail")
        if file.kind == "thumbnail":
            return file

        def make(data: bytes) -> bytes:
            with self._embedder.admit("search", client) as place:
                return self._embedder.thumbnail(data, place)

        return replace(file, kind="thumbnail", media_type="image/jpeg", content=MadeThumbnail(file.content, make))

    def of_content(self, sha256: str, client: str) -> bytes | None:
        """The thumbnail of a content, None if no image has it; errors as `of_image`. A kept one asks no catalog."""
        kept = self._library.thumbnail(sha256)
        if kept is not None:
            return kept
        record = self._library.find_images([sha256]).get(sha256)
        if record is None:
            return None
        with self.of_image(record.id, client) as file:
            return file.content.read()


class MadeThumbnail:
    """A thumbnail that is made of an open content when it is needed; see `Content` for what each method promises."""

    path = None

    def __init__(self, original: Content, make: Callable[[bytes], bytes]) -> None:
        self._original = original
        self._make = make

    @cached_property
    def _jpeg(self) -> bytes:
        return self._make(self._original.read())

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self._jpeg)

    @property
    def modified(self) -> float:
        """When the content was written."""
        return self._original.modified

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to `end`, or up to its end."""
        return self._jpeg[start:end]

    def close(self) -> None:
        """Close the content. Idempotent."""
        self._original.close()
