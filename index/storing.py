"""Having the files of images in the content store when their records are written, whatever others delete meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from index import maintenance
from index.interfaces import Catalog, ContentStore

_MANY = 8  # files from which on several threads ask for them
_ASKING = 8


class FilesToStore:
    """The files of images about to be added, by SHA-256: the content, None if it stays elsewhere, and the thumbnail,
    None if none is kept.

    `store` does the work while others may write; `ensure` makes sure within the lock of the catalog. Whoever removes
    files does so within that lock, too, and is counted, so that usually nothing has to be asked there: for files on S3
    that would be several requests an image, while all other writers wait.
    """

    def __init__(
        self, catalog: Catalog, content: ContentStore, files: Mapping[str, tuple[bytes | None, bytes | None]]
    ) -> None:
        self._catalog = catalog
        self._content = content
        self._files = files
        self._removals = -1

    def store(self) -> None:
        """Store what is not there: that also brings back files that got lost. StorageFailed, EngineAway."""
        self._removals = self._catalog.images.removals()
        unknown = set(self._catalog.images.unknown(list(self._files)))
        self._put([*unknown, *self._incomplete(self._files.keys() - unknown)])

    def ensure(self, names: Sequence[str]) -> None:
        """Store again which of these somebody removed since `store`. For whoever has the lock of the catalog."""
        if self._catalog.images.removals() != self._removals:
            self._put(self._incomplete(names))

    def _incomplete(self, names: Iterable[str]) -> list[str]:
        asked = list(names)
        if len(asked) < _MANY:
            there = [self._is_stored(name) for name in asked]
        else:
            with ThreadPoolExecutor(_ASKING) as pool:
                there = list(pool.map(self._is_stored, asked))
        return [name for name, stored in zip(asked, there, strict=True) if not stored]

    def _is_stored(self, name: str) -> bool:
        content, thumbnail = self._files[name]
        size = None if content is None else len(content)
        return maintenance.is_stored(self._content, name, size, thumbnail=thumbnail is not None)

    def _put(self, names: list[str]) -> None:
        self._content.put_many({name: self._files[name] for name in names})
