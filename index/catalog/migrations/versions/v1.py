"""Version 1, where migrations start. New catalogs are made at the newest version at once."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """The first version."""
