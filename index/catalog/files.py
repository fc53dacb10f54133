"""Files of sources and the images made of them, within a transaction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, delete, exists, func, insert, select, update

from index.catalog import schema
from index.catalog.times import now
from index.errors import SourceNotFound
from index.types import FileInPlace, FileState, Signature

_files = schema.source_files
_in_place = schema.images_in_place


def source_key(connection: Connection, id: str) -> int:
    """Return the key of a source; SourceNotFound."""
    key = connection.execute(select(schema.sources.c.key).where(schema.sources.c.id == id)).scalar()
    if key is None:
        raise SourceNotFound(id)
    return int(key)


def hidden() -> Select[Any]:
    """Return the query for the keys of images whose files are missing."""
    return select(_in_place.c.image).where(_in_place.c.missing_since.is_not(None))


def count_hidden() -> Select[Any]:
    """Return the query for how many these are."""
    return select(func.count()).select_from(_in_place).where(_in_place.c.missing_since.is_not(None))


def is_hidden(key: Column[Any]) -> ColumnElement[bool]:
    """Return the condition that the files of the image with this key are missing."""
    return exists().where(_in_place.c.image == key, _in_place.c.missing_since.is_not(None))


def write_file(
    connection: Connection,
    source: int,
    path: str,
    signature: Signature,
    state: FileState,
    *,
    image: int | None = None,
    sha256: str | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> None:
    """Write down what a file is, whatever was known of it."""
    name = os.fsencode(path)
    connection.execute(delete(_files).where(_files.c.source == source, _files.c.path == name))
    connection.execute(
        insert(_files).values(
            source=source,
            path=name,
            **signature._asdict(),
            sha256=sha256,
            image=image,
            state=state,
            code=code,
            reason=reason,
        )
    )


def attach(connection: Connection, file: FileInPlace, sha256: str, image: int) -> None:
    """Make a file one of an image, which is found again if it was missing."""
    source = source_key(connection, file.source_id)
    was = _image_of(connection, source, file.path)
    write_file(connection, source, file.path, file.signature, "present", image=image, sha256=sha256)
    connection.execute(update(_in_place).where(_in_place.c.image == image).values(missing_since=None))
    if was is not None and was != image:
        hide_missing(connection, [was])


def keep_in_place(connection: Connection, image: int) -> None:
    """Note that the library has no copy of an image."""
    connection.execute(insert(_in_place).values(image=image, missing_since=None))


def has_copy(connection: Connection, images: Iterable[int]) -> None:
    """Note that the library has a copy of these images: they are found whatever becomes of their files."""
    for image in images:
        connection.execute(delete(_in_place).where(_in_place.c.image == image))


def replaceable(connection: Connection, file: FileInPlace) -> int | None:
    """Return the key of the image that was in this file alone, and of which there is no copy; None if none was."""
    source = source_key(connection, file.source_id)
    image = _image_of(connection, source, file.path)
    if image is None or connection.execute(select(_in_place.c.image).where(_in_place.c.image == image)).first() is None:
        return None
    elsewhere = select(_files.c.path).where(
        _files.c.image == image,
        _files.c.state == "present",
        ~and_(_files.c.source == source, _files.c.path == os.fsencode(file.path)),
    )
    return None if connection.execute(elsewhere.limit(1)).first() else image


def hide_missing(connection: Connection, images: Iterable[int]) -> int:
    """Hide those of these images that have neither a copy nor a file; return how many there are."""
    found = 0
    present = exists().where(_files.c.image == _in_place.c.image, _files.c.state == "present")
    for image in images:
        result = connection.execute(
            update(_in_place)
            .where(_in_place.c.image == image, _in_place.c.missing_since.is_(None), ~present)
            .values(missing_since=now())
        )
        found += result.rowcount
    return found


def release_images(connection: Connection, images: Sequence[int]) -> None:
    """Remember that the files of deleted images are not to be added again."""
    for image in images:
        connection.execute(delete(_in_place).where(_in_place.c.image == image))
        connection.execute(delete(_files).where(_files.c.image == image, _files.c.state != "present"))
        connection.execute(update(_files).where(_files.c.image == image).values(image=None, state="deleted"))


def move_image(connection: Connection, old: int, new: int) -> None:
    """Give what is known of the files of an image to its new key."""
    connection.execute(update(_files).where(_files.c.image == old).values(image=new))
    connection.execute(update(_in_place).where(_in_place.c.image == old).values(image=new))


def was_deleted(connection: Connection, source: int, sha256: str) -> bool:
    """Return whether somebody deleted the image with this content while it was in this source."""
    query = select(_files.c.path).where(
        _files.c.source == source, _files.c.state == "deleted", _files.c.sha256 == sha256
    )
    return connection.execute(query.limit(1)).first() is not None


def _image_of(connection: Connection, source: int, path: str) -> int | None:
    query = select(_files.c.image).where(_files.c.source == source, _files.c.path == os.fsencode(path))
    image = connection.execute(query).scalar()
    return None if image is None else int(image)
