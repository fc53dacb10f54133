"""From 2 to 3: captions are a relation, and what is owed or pending is in the catalog.

Version 2 kept captions in the metadata of sentences: `origin: captioner`, and `caption_of_ID: true` for each image. The
relation takes the place of these links. A sentence of the captioner whose images are all gone goes, too: it was left
behind by a deletion that did not end.
"""

from __future__ import annotations

import json
import re
from typing import Any

from alembic import op
from sqlalchemy import Column, Connection, Float, Integer, Text, text

revision = "3"
down_revision = "2"

_LINK = re.compile(r"caption_of_([0-9a-f]{20})")


def upgrade() -> None:
    """Make the tables, and turn links into rows."""
    op.add_column("sentences", Column("origin", Text))
    op.create_table(
        "captions",
        Column("image", Integer, primary_key=True),
        Column("sentence", Integer, primary_key=True),
        Column("origin", Text, nullable=False),
        Column("place", Integer, nullable=False),
        Column("score", Float),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_captions_sentence", "captions", ["sentence"])
    op.create_table(
        "captions_owed",
        Column("image", Integer, primary_key=True),
        Column("count", Integer, nullable=False),
        Column("claimed_until", Integer, nullable=False),
    )
    op.create_table(
        "pending_deletions",
        Column("image", Integer, primary_key=True),
        Column("due", Integer, nullable=False),
    )
    _move_links(op.get_bind())


def _move_links(connection: Connection) -> None:
    images = {row.id: row.key for row in connection.execute(text('SELECT id, "key" FROM images'))}
    places: dict[int, int] = {}
    linked = text(
        """SELECT "key", id, metadata FROM sentences WHERE "key" IN
        (SELECT "key" FROM sentences_labels WHERE name LIKE 'caption_of_%' OR (name = 'origin' AND value = 'captioner'))
        ORDER BY "key" """
    )
    for row in connection.execute(linked).all():
        metadata: dict[str, Any] = json.loads(row.metadata)
        links = {
            name: found[1] for name, value in metadata.items() if value is True and (found := _LINK.fullmatch(name))
        }
        if not links:  # `origin: captioner` of somebody's own
            continue
        captioned = [images[id] for id in links.values() if id in images]
        for image in captioned:
            places[image] = places.get(image, -1) + 1
            connection.execute(
                text(
                    "INSERT INTO captions (image, sentence, origin, place) "
                    "VALUES (:image, :sentence, 'captioner', :place)"
                ),
                {"image": image, "sentence": row.key, "place": places[image]},
            )
        left = {name: value for name, value in metadata.items() if name not in links}
        generated = left == {"origin": "captioner"}
        if generated and not captioned:
            _remove(connection, row.key, row.id, [*links, "origin"])
            continue
        for name in links:
            _remove_label(connection, row.key, name)
        connection.execute(
            text('UPDATE sentences SET metadata = :metadata, origin = :origin WHERE "key" = :key'),
            {
                "metadata": json.dumps(left, ensure_ascii=False),
                "origin": "captioner" if generated else None,
                "key": row.key,
            },
        )


def _remove(connection: Connection, key: int, id: str, names: list[str]) -> None:
    for name in names:
        _remove_label(connection, key, name)
    connection.execute(text('DELETE FROM sentences WHERE "key" = :key'), {"key": key})
    connection.execute(
        text("""INSERT INTO deletions (target, "key", id) VALUES ('sentences', :key, :id)"""), {"key": key, "id": id}
    )


def _remove_label(connection: Connection, key: int, name: str) -> None:
    value = "captioner" if name == "origin" else "true"
    connection.execute(
        text('DELETE FROM sentences_labels WHERE name = :name AND value = :value AND "key" = :key'),
        {"name": name, "value": value, "key": key},
    )
