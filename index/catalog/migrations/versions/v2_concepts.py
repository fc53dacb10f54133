"""From 1 to 2: images have concepts, which whoever knows the model fills in (`Catalog.describe`)."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, Text, text

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the column, the table for filters, and the index that finds images without concepts."""
    op.add_column("images", Column("concepts", Text, nullable=False, server_default="[]"))
    op.create_table(
        "images_concepts",
        Column("word", Text, primary_key=True),
        Column("key", Integer, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_images_undescribed", "images", ["key"], sqlite_where=text("concepts = '[]'"))
