"""From 3 to 4: folders whose pictures stay where they are."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text, text

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sources",
        Column("key", Integer, primary_key=True),
        Column("id", Text, nullable=False, unique=True),
        Column("root", LargeBinary, nullable=False, unique=True),
        Column("paused", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("reason", Text),
        Column("finished_at", Integer),
        Column("mounts", Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "source_files",
        Column("source", Integer, primary_key=True),
        Column("path", LargeBinary, primary_key=True),
        Column("size", BigInteger, nullable=False),
        Column("mtime_ns", BigInteger, nullable=False),
        Column("inode", BigInteger, nullable=False),
        Column("sha256", Text),
        Column("image", Integer),
        Column("state", Text, nullable=False),
        Column("code", Text),
        Column("reason", Text),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_source_files_image", "source_files", ["image"])
    op.create_index("ix_source_files_state", "source_files", ["source", "state"])
    op.create_table(
        "images_in_place",
        Column("image", Integer, primary_key=True),
        Column("missing_since", Integer),
    )
    op.create_index(
        "ix_images_in_place_missing",
        "images_in_place",
        ["image"],
        sqlite_where=text("missing_since IS NOT NULL"),
    )
