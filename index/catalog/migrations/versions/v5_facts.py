"""From 4 to 5: images have facts, and metadata filters find equal numbers and equal text however they are written.

The facts are filled in from the files by `visem facts`. Filters compared the JSON text of a value as it was: 2024.0 was
not 2024, and an accent that follows its letter was not the letter with the accent.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from alembic import op
from sqlalchemy import Column, Connection, Float, Integer, Text, text

revision = "5"
down_revision = "4"

_BATCH = 1000


def upgrade() -> None:
    """Add the columns and their indexes, and write the rows that filters read anew."""
    for column in (
        Column("facts_read", Integer, nullable=False, server_default="0"),
        Column("taken", Integer),
        Column("taken_offset", Integer),
        Column("camera", Text),
        Column("lens", Text),
        Column("latitude", Float),
        Column("longitude", Float),
        Column("place_x", Float),
        Column("place_y", Float),
        Column("place_z", Float),
        Column("orientation", Integer),
        Column("title", Text),
        Column("keywords", Text),
    ):
        op.add_column("images", column)
    op.create_index("ix_images_facts_unread", "images", ["key"], sqlite_where=text("facts_read = 0"))
    for name in ("taken", "camera", "latitude"):
        op.create_index(f"ix_images_{name}", "images", [name, "key"], sqlite_where=text(f"{name} IS NOT NULL"))
    for records in ("images", "sentences"):
        _write_labels(op.get_bind(), records)


def _write_labels(connection: Connection, records: str) -> None:
    connection.execute(text(f"DELETE FROM {records}_labels"))  # noqa: S608
    select = text(f'SELECT "key", metadata FROM {records} WHERE "key" > :last ORDER BY "key" LIMIT {_BATCH}')  # noqa: S608
    insert = text(f'INSERT INTO {records}_labels (name, value, "key") VALUES (:name, :value, :key)')  # noqa: S608
    last = 0
    while rows := connection.execute(select, {"last": last}).all():
        last = rows[-1].key
        labels = [
            {"name": name, "value": value, "key": row.key}
            for row in rows
            for name, value in _labels(json.loads(row.metadata)).items()
        ]
        if labels:
            connection.execute(insert, labels)


def _labels(metadata: dict[str, Any]) -> dict[str, str]:
    return {unicodedata.normalize("NFC", name): _label(value) for name, value in metadata.items()}


def _label(value: object) -> str:
    value = _canonical(value)
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"\x1f{text}" if is_number else text


def _canonical(value: object) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {unicodedata.normalize("NFC", key): _canonical(item) for key, item in value.items()}
    return value
