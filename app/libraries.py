"""The library that the settings name."""

from __future__ import annotations

from app.settings import Settings
from index import Library, LibraryConfig, Space
from index import open_library as open_from


def open_library(settings: Settings, space: Space | None = None) -> Library:
    """Open the library of the settings; as `index.open_library`."""
    config = LibraryConfig(settings.library, settings.catalog, settings.vectors, settings.content)
    return open_from(config, space)
