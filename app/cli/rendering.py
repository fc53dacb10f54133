"""Thumbnails for commands that need some now and then: nothing is loaded before the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.images.processes import Decoders


@contextmanager
def thumbnail_renderer() -> Iterator[Callable[[bytes], bytes]]:
    """Give a function that makes the thumbnail (JPEG) of a content; ValueError if it is no image."""
    with ExitStack() as stack:
        decoders: Decoders | None = None

        def render(content: bytes) -> bytes:
            nonlocal decoders
            from app.embedding.pictures import ACCEPTED_BEFORE, load_thumbnail
            from model.errors import ImageError
            from model.images.processes import Decoders

            if decoders is None:
                decoders = Decoders()
                stack.callback(decoders.close)
            try:
                return load_thumbnail(content, ACCEPTED_BEFORE, decoders.decode)
            except ImageError as error:
                raise ValueError(str(error)) from error

        yield render
