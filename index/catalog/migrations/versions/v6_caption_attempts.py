"""From 5 to 6: how often the captions that an image is owed were attempted."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer

revision = "6"
down_revision = "5"


def upgrade() -> None:
    """Add the column."""
    op.add_column("captions_owed", Column("attempts", Integer, nullable=False, server_default="0"))
