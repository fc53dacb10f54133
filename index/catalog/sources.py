"""The sources of a catalog: folders whose pictures stay where they are, and what was last seen in them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from index.catalog import files, relations, schema
from index.catalog.collection import SqlCollection
from index.catalog.database import Database
from index.catalog.rows import select_in
from index.catalog.times import microseconds, moment_if, now
from index.types import (
    FileInPlace,
    FileState,
    ImageRecord,
    KnownFile,
    Location,
    RefusedFile,
    Signature,
    Source,
    SourceFile,
    SourceState,
)

_sources = schema.sources
_files = schema.source_files
_in_place = schema.images_in_place
_FILE = [
    _files.c.path,
    _files.c.size,
    _files.c.mtime_ns,
    _files.c.inode,
    _files.c.state,
    _files.c.code,
    _files.c.reason,
    _sources.c.id.label("source_id"),
    schema.images.c.id.label("image_id"),
    _in_place.c.missing_since,
]
_FILES_AND_IMAGES = (
    _files.join(_sources, _sources.c.key == _files.c.source)
    .outerjoin(schema.images, schema.images.c.key == _files.c.image)
    .outerjoin(_in_place, _in_place.c.image == _files.c.image)
)
_LOCATE = (
    select(_sources.c.root, _files.c.path, _files.c.size, _files.c.mtime_ns, _files.c.inode)
    .select_from(
        schema.images.join(_files, _files.c.image == schema.images.c.key).join(
            _sources, _sources.c.key == _files.c.source
        )
    )
    .where(schema.images.c.sha256 == bindparam("sha256"), _files.c.state == "present")
    .order_by(_files.c.source, _files.c.path)
)  # put together once: it is asked for each file that is opened


class SqlSources:
    """The sources; see `SourceStore` for what each method promises."""

    def __init__(self, database: Database, images: SqlCollection[ImageRecord]) -> None:
        self._database = database
        self._images = images

    def register(self, root: str) -> Source:
        """Return the source with this path, a new one where there is none."""
        name = os.fsencode(root)

        def transaction(connection: Connection) -> Source:
            query = select(_sources).where(_sources.c.root == name)
            if connection.execute(query).first() is None:
                values = {"id": secrets.token_hex(10), "root": name, "paused": 0, "state": "new", "mounts": "[]"}
                connection.execute(insert(_sources).values(**values))
            return _source(connection.execute(query).mappings().one())

        return self._database.write(transaction)

    def all(self) -> list[Source]:
        """Return all sources, in the order in which they came."""
        with self._database.read() as connection:
            rows = connection.execute(select(_sources).order_by(_sources.c.key)).mappings()
            return [_source(row) for row in rows]

    def get(self, id: str) -> Source:
        """Return one source; SourceNotFound."""
        with self._database.read() as connection:
            return _get(connection, id)

    def pause(self, id: str, paused: bool) -> Source:
        """Have nobody work on a source, or let them again."""

        def transaction(connection: Connection) -> Source:
            key = files.source_key(connection, id)
            connection.execute(update(_sources).where(_sources.c.key == key).values(paused=int(paused)))
            return _get(connection, id)

        return self._database.write(transaction)

    def note(self, id: str, state: SourceState, reason: str | None, mounts: Sequence[str] | None) -> None:
        """Write down how a pass ended: that it was complete with the state `ready`."""
        values: dict[str, Any] = {"state": state, "reason": reason}
        if mounts is not None:
            values["mounts"] = json.dumps(list(mounts))
        if state == "ready":
            values["finished_at"] = now()

        def transaction(connection: Connection) -> None:
            key = files.source_key(connection, id)
            connection.execute(update(_sources).where(_sources.c.key == key).values(**values))

        self._database.write(transaction)

    def known(self, id: str) -> dict[str, KnownFile]:
        """Return what is remembered of all files of a source, by path."""
        columns = (_files.c.path, _files.c.size, _files.c.mtime_ns, _files.c.inode, _files.c.state, _files.c.code)
        with self._database.read() as connection:
            key = files.source_key(connection, id)
            rows = connection.execute(select(*columns).where(_files.c.source == key))
            return {
                os.fsdecode(path): KnownFile(Signature(size, mtime_ns, inode), state, code)
                for path, size, mtime_ns, inode, state, code in rows
            }

    def counts(self, id: str) -> dict[FileState, int]:
        """Return how many files of a source there are in each state."""
        with self._database.read() as connection:
            key = files.source_key(connection, id)
            query = select(_files.c.state, func.count()).where(_files.c.source == key).group_by(_files.c.state)
            return {row[0]: row[1] for row in connection.execute(query)}

    def files(self, id: str, state: FileState, after: str | None, limit: int) -> list[SourceFile]:
        """Return up to `limit` files in a state whose paths come after `after`, in the order of their bytes."""
        with self._database.read() as connection:
            key = files.source_key(connection, id)
            query = select(*_FILE).select_from(_FILES_AND_IMAGES).where(_files.c.source == key, _files.c.state == state)
            if after is not None:
                query = query.where(_files.c.path > os.fsencode(after))
            rows = connection.execute(query.order_by(_files.c.path).limit(limit)).mappings()
            return [_file(row) for row in rows]

    def of(self, image_ids: Sequence[str]) -> dict[str, list[SourceFile]]:
        """Return the files of images by id; those without any are left out."""
        found: dict[str, list[SourceFile]] = {}
        images = schema.images
        with self._database.read() as connection:
            keys = [row["key"] for row in select_in(connection, [images.c.key], images.c.id, image_ids)]
            for key in keys:
                query = select(*_FILE).select_from(_FILES_AND_IMAGES).where(_files.c.image == key)
                for row in connection.execute(query.order_by(_files.c.source, _files.c.path)).mappings():
                    found.setdefault(row["image_id"], []).append(_file(row))
        return found

    def locate(self, sha256: str) -> list[Location]:
        """Return where files with this content were last seen."""
        with self._database.read() as connection:
            return [
                Location(os.fsdecode(row["root"]), os.fsdecode(row["path"]), _signature(row))
                for row in connection.execute(_LOCATE, {"sha256": sha256}).mappings()
            ]

    def attach(self, found: Sequence[tuple[FileInPlace, str]]) -> list[ImageRecord | Literal["unknown", "deleted"]]:
        """Note files by the SHA-256 of their content, where there are images of it."""

        def transaction(connection: Connection) -> list[ImageRecord | Literal["unknown", "deleted"]]:
            return [self._attach(connection, file, sha256) for file, sha256 in found]

        return self._database.write(transaction)

    def seen(self, id: str, seen: Sequence[tuple[str, Signature]]) -> None:
        """Note that missing files are back."""

        def transaction(connection: Connection) -> None:
            key = files.source_key(connection, id)
            for path, signature in seen:
                row = (_files.c.source == key) & (_files.c.path == os.fsencode(path)) & (_files.c.state == "missing")
                image = connection.execute(select(_files.c.image).where(row)).scalar()
                connection.execute(update(_files).where(row).values(state="present", **signature._asdict()))
                connection.execute(update(_in_place).where(_in_place.c.image == image).values(missing_since=None))

        self._database.write(transaction)

    def refuse(self, id: str, refused: Sequence[RefusedFile]) -> None:
        """Note files that make no images."""

        def transaction(connection: Connection) -> None:
            key = files.source_key(connection, id)
            for one in refused:
                was = connection.execute(
                    select(_files.c.image).where(_files.c.source == key, _files.c.path == os.fsencode(one.path))
                ).scalar()
                state: FileState = "skipped" if one.skipped else "refused"
                # The image stays that of this file: should the file become readable, the image has its content.
                files.write_file(
                    connection, key, one.path, one.signature, state, image=was, code=one.code, reason=one.reason
                )
                if was is not None:  # it was an image before it was changed
                    files.hide_missing(connection, [was])

        self._database.write(transaction)

    def settle(self, id: str, gone: Sequence[str]) -> int:
        """Note that these files are gone; return how many images are missing since."""

        def transaction(connection: Connection) -> int:
            key = files.source_key(connection, id)
            images: set[int] = set()
            names = [os.fsencode(path) for path in gone]
            for name in names:
                this = (_files.c.source == key) & (_files.c.path == name)
                image = connection.execute(select(_files.c.image).where(this)).scalar()
                if image is None:
                    connection.execute(delete(_files).where(this))
                else:
                    connection.execute(update(_files).where(this).values(state="missing"))
                    images.add(image)
            found = files.hide_missing(connection, images)
            for image in images.difference(connection.execute(files.hidden()).scalars()):  # elsewhere, or copied
                connection.execute(delete(_files).where(_files.c.image == image, _files.c.state == "missing"))
            return found

        return self._database.write(transaction)

    def prune(self, id: str | None, before: datetime, spare: Sequence[str] = ()) -> list[ImageRecord]:
        """Delete the images that have been missing since before then, of one source or of all; return them."""
        due = microseconds(before)

        def transaction(connection: Connection) -> list[ImageRecord]:
            spoilt = exists().where(_files.c.image == _in_place.c.image, _files.c.state != "missing")
            query = select(_in_place.c.image).where(_in_place.c.missing_since <= due, ~spoilt)
            if id is not None:
                key = files.source_key(connection, id)
                query = query.where(_in_place.c.image.in_(select(_files.c.image).where(_files.c.source == key)))
            keys = connection.execute(query).scalars().all()
            if spare:
                places = select_in(connection, [_files.c.image, _files.c.path], _files.c.image, keys)
                spared = {row["image"] for row in places if _is_below(os.fsdecode(row["path"]), spare)}
                keys = [key for key in keys if key not in spared]
            return self._remove(connection, keys)

        return self._database.write(transaction)

    def forget(self, id: str) -> list[ImageRecord]:
        """Delete a source, and the images that were in no other and have no copy; return those."""

        def transaction(connection: Connection) -> list[ImageRecord]:
            key = files.source_key(connection, id)
            mine = select(_files.c.image).where(_files.c.source == key, _files.c.image.is_not(None))
            images = list(dict.fromkeys(connection.execute(mine).scalars()))
            connection.execute(delete(_files).where(_files.c.source == key))
            connection.execute(delete(_sources).where(_sources.c.key == key))
            left = {row["image"] for row in select_in(connection, [_files.c.image], _files.c.image, images)}
            files.hide_missing(connection, left)
            rows = select_in(connection, [_in_place.c.image], _in_place.c.image, images)
            return self._remove(connection, [row["image"] for row in rows if row["image"] not in left])

        return self._database.write(transaction)

    def _attach(
        self, connection: Connection, file: FileInPlace, sha256: str
    ) -> ImageRecord | Literal["unknown", "deleted"]:
        images = schema.images
        key = connection.execute(select(images.c.key).where(images.c.sha256 == sha256)).scalar()
        if key is not None:
            files.attach(connection, file, sha256, key)
            return self._images.by_keys(connection, [key])[key]
        source = files.source_key(connection, file.source_id)
        if files.was_deleted(connection, source, sha256):
            files.write_file(connection, source, file.path, file.signature, "deleted", sha256=sha256)
            return "deleted"
        return "unknown"

    def _remove(self, connection: Connection, keys: Sequence[int]) -> list[ImageRecord]:
        """Remove images together with what is known of their files: should these come back, they are new."""
        records = self._images.by_keys(connection, keys)
        for key in records:
            connection.execute(delete(_files).where(_files.c.image == key))
        relations.remove_images(connection, list(records))
        return list(records.values())


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _get(connection: Connection, id: str) -> Source:
    key = files.source_key(connection, id)
    return _source(connection.execute(select(_sources).where(_sources.c.key == key)).mappings().one())


def _source(row: Mapping[Any, Any]) -> Source:
    return Source(
        id=row["id"],
        root=os.fsdecode(row["root"]),
        paused=bool(row["paused"]),
        state=row["state"],
        reason=row["reason"],
        finished_at=moment_if(row["finished_at"]),
        mounts=tuple(json.loads(row["mounts"])),
    )


def _file(row: Mapping[Any, Any]) -> SourceFile:
    return SourceFile(
        source_id=row["source_id"],
        path=os.fsdecode(row["path"]),
        signature=_signature(row),
        state=row["state"],
        image_id=row["image_id"],
        code=row["code"],
        reason=row["reason"],
        missing_since=moment_if(row["missing_since"]),
    )


def _signature(row: Mapping[Any, Any]) -> Signature:
    return Signature(row["size"], row["mtime_ns"], row["inode"])
