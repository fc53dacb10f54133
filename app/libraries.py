"""The library that the settings name."""

from __future__ import annotations

from app.settings import Settings
from index import Library, LibraryConfig, Space
from index import open_library as open_from


def open_library(settings: Settings, space: Space | None = None) -> Library:
    """Open the library of the settings; as `index.open_library`."""
    return open_from(config(settings), space)


def config(settings: Settings) -> LibraryConfig:
    """Where the library of the settings is."""
    return LibraryConfig(settings.library, settings.catalog, settings.vectors, settings.content)
