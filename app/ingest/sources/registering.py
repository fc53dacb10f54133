"""Which folders can be sources."""

from __future__ import annotations

from pathlib import Path

from index import Library, Source


class SourceRefused(Exception):  # noqa: N818  # it is the source that is refused
    """A folder that cannot be a source; the message says why, and what to do instead."""

    code = "source_refused"


def register_source(library: Library, folder: Path, library_folder: Path) -> Source:
    """Make a folder a source, or return the source that it is already; SourceRefused.

    It need not be there yet: what is to be mounted on it may come later. Links in its path are resolved, once and for
    all. Sources neither overlap each other nor lie in the library's folder.
    """
    root = folder.expanduser().resolve()
    if root.exists() and not root.is_dir():
        raise SourceRefused(f"{root} is no folder. A source is a folder; add single files without --in-place.")
    if root.is_relative_to(library_folder.resolve()):
        raise SourceRefused(f"{root} is in the library's own folder. Choose the folder of your photographs.")
    for source in library.sources.all():
        other = Path(source.root)
        if root != other and root.is_relative_to(other):
            raise SourceRefused(f"{root} is part of {other}, which is a source already.")
        if root != other and other.is_relative_to(root):
            raise SourceRefused(f"{root} contains {other}, which is a source already. Forget that one first.")
    return library.sources.register(str(root))
