"""The version of the service."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version of the installed distribution; "0+unknown" in a source tree which is not installed."""
    try:
        return metadata.version("visem")
    except metadata.PackageNotFoundError:
        return "0+unknown"
