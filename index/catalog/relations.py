"""What hangs on images and sentences: captions, what is owed, pending deletions; within a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, exists, select, update

from index.catalog import files, schema
from index.catalog.rows import insert_record, remove_records, replace_metadata, select_in
from index.interfaces import Draft
from index.metadata import ORIGIN, decode_metadata, encode_metadata
from index.types import CaptionOrigin

CAPTIONER: CaptionOrigin = "captioner"
USER: CaptionOrigin = "user"


def remove_images(connection: Connection, keys: Sequence[int]) -> None:
    """Remove images, and the captions that were generated for them alone."""
    left: set[int] = set()
    for key in keys:
        left |= remove_captions(connection, key)
        connection.execute(delete(schema.captions_owed).where(schema.captions_owed.c.image == key))
        connection.execute(delete(schema.pending_deletions).where(schema.pending_deletions.c.image == key))
    files.release_images(connection, keys)
    remove_records(connection, "images", keys)
    remove_orphans(connection, left)


def replace_image(connection: Connection, row: Mapping[Any, Any], draft: Draft) -> dict[str, Any]:
    """Give an image another content under a new key, so that followers of the log see it; return its new row.

    What people said about it stays. What the captioner wrote was about the old content, and goes.
    """
    old = row["key"]
    left = remove_captions(connection, old, CAPTIONER)
    connection.execute(delete(schema.captions_owed).where(schema.captions_owed.c.image == old))
    remove_records(connection, "images", [old])
    new = insert_record(connection, "images", draft, instead_of=row)
    for table in (schema.captions, schema.pending_deletions):
        connection.execute(update(table).where(table.c.image == old).values(image=new["key"]))
    files.move_image(connection, old, new["key"])
    remove_orphans(connection, left)
    return new


def remove_sentences(connection: Connection, keys: Sequence[int]) -> None:
    """Remove sentences, and with them the captions that they were."""
    for key in keys:
        connection.execute(delete(schema.captions).where(schema.captions.c.sentence == key))
    remove_records(connection, "sentences", keys)


def remove_captions(connection: Connection, image: int, origin: CaptionOrigin | None = None) -> set[int]:
    """Take the captions of one origin, or all, off an image; return the keys of their sentences."""
    table = schema.captions
    conditions = [table.c.image == image]
    if origin is not None:
        conditions.append(table.c.origin == origin)
    sentences = set(connection.execute(select(table.c.sentence).where(*conditions)).scalars())
    connection.execute(delete(table).where(*conditions))
    return sentences


def remove_orphans(connection: Connection, keys: Iterable[int]) -> None:
    """Remove those of these sentences that are the captioner's, and captions of no image."""
    table = schema.sentences
    orphans: list[int] = []
    for key in sorted(keys):
        captioned = exists().where(schema.captions.c.sentence == table.c.key)
        query = select(table.c.key).where(table.c.key == key, table.c.origin == CAPTIONER, ~captioned)
        orphans += connection.execute(query).scalars().all()
    remove_records(connection, "sentences", orphans)


def claim_sentences(connection: Connection, texts: Sequence[str]) -> None:
    """Make sentences with these texts people's own, if they are the captioner's: they stay when images go."""
    table = schema.sentences
    columns = [table.c.key, table.c.origin, table.c.metadata]
    for row in select_in(connection, columns, table.c.text, texts):
        if row["origin"] is None:
            continue
        metadata = {name: value for name, value in decode_metadata(row["metadata"]).items() if name != ORIGIN}
        replace_metadata(connection, "sentences", row["key"], row["metadata"], encode_metadata(metadata))
        connection.execute(update(table).where(table.c.key == row["key"]).values(origin=None))


def keep_images(connection: Connection, names: Sequence[str]) -> None:
    """Call off the pending deletions of images with these digests: somebody stores them again."""
    table, images = schema.pending_deletions, schema.images
    if connection.execute(select(table.c.image).limit(1)).first() is None:
        return
    for row in select_in(connection, [images.c.key], images.c.sha256, names):
        connection.execute(delete(table).where(table.c.image == row["key"]))
