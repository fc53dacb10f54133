"""Files are there when their record is written, and the content store is asked little while others wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from index import Library, NewImage
from index.storing import FilesToStore

Image = Callable[..., NewImage]


def files_of(library: Library, image: NewImage) -> tuple[FilesToStore, str]:
    from hashlib import sha256

    digest = sha256(image.content).hexdigest()
    files = {digest: (image.content, image.thumbnail)}
    return FilesToStore(library._catalog, library._content, files), digest


def test_nothing_is_asked_within_the_lock(library: Library, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    within = False
    add, stat = library._catalog.images.add, library._content.stat

    def watched_add(drafts: Any, space: Any, before_insert: Callable[[list[str]], None]) -> Any:
        def before(names: list[str]) -> None:
            nonlocal within
            within = True
            before_insert(names)
            within = False

        return add(drafts, space, before)

    def watched_stat(*arguments: Any) -> Any:
        if within:
            asked.append(arguments[0])
        return stat(*arguments)

    monkeypatch.setattr(library._catalog.images, "add", watched_add)
    monkeypatch.setattr(library._content, "stat", watched_stat)
    added = library.add_images([image(n) for n in range(5)])
    assert all(one.created for one in added)
    assert asked == []
    assert library.check(deep=True) == []


def test_what_is_removed_meanwhile_is_stored_again(library: Library, image: Image) -> None:
    """Somebody else adds the same image and deletes it, between the files and the record."""
    storing, digest = files_of(library, image(1))
    storing.store()
    library.delete_image(library.add_images([image(1)])[0].record.id)
    assert library._content.stat(digest, "content") is None
    storing.ensure([digest])
    assert library._content.stat(digest, "content") is not None
    assert library._content.stat(digest, "thumbnail") is not None
