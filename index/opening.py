"""Opening a library: which engines its three parts run on.

Each part is chosen by URL; without one it is in the library's folder. The catalog may be in PostgreSQL instead
(`index.catalog.postgres`):

    FOLDER/catalog.sqlite          every record and every vector, in SQLite: the one source of truth
    FOLDER/content/, thumbnails/   the files, named by their SHA-256; or s3://bucket/prefix: `index.content.s3`
                                   (files of sources stay where they are: `index.content.referenced`)
    FOLDER/index/                  segments of the vector indexes, by FAISS; may be deleted at any time

This is the only module that knows all implementations; `Library` knows interfaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from index import maintenance
from index.atomic_files import PRIVATE_FOLDER, make_private
from index.content.directory import DirectoryContentStore
from index.content.referenced import ReferencedContentStore
from index.errors import WITH_CLUSTER, EngineUnsupported, LibraryNotFound, SpaceMismatch
from index.interfaces import Catalog, Collection, ContentStore, VectorIndex
from index.layout import CATALOG_FILE
from index.library import Library
from index.library_identity import Presence
from index.types import Space, Target
from index.vectors import EXACT_UP_TO, SEAL_AT
from index.vectors.deferred import DeferredVectorIndex

if TYPE_CHECKING:
    from index.building import BackgroundBuilder
    from index.vectors.faiss.options import BuildOptions

_OWN = (CATALOG_FILE, f"{CATALOG_FILE}-wal", f"{CATALOG_FILE}-shm", "content", "thumbnails", "incoming", "index")
"""What a library has in its folder."""

_SIGNS = ({CATALOG_FILE, "content"}, {"content", "thumbnails", "incoming"})
"""What tells that a folder is one of a library with pictures in it: the catalog may be elsewhere."""


@dataclass(frozen=True)
class LibraryConfig:
    """Where a library is: its folder, and a URL for each part that is not in it.

    Up to `exact_up_to` vectors of a kind are searched exhaustively by FAISS.
    """

    folder: Path
    catalog: str | None = field(default=None, repr=False)  # URLs may hold passwords
    vectors: str | None = field(default=None, repr=False)
    content: str | None = field(default=None, repr=False)
    exact_up_to: int = EXACT_UP_TO


def open_library(config: LibraryConfig, space: Space | None = None) -> Library:
    """Open a library. Close it, or use it as a context manager.

    With `space` it is created where there is none, and its vectors have to be of that space: SpaceMismatch. Without,
    it has to be there (LibraryNotFound) and may be of any space. EngineUnsupported, EngineAway, CatalogUnsupported.
    """
    if space is None:
        require_library(config)
    _require_engines(config)
    from index.catalog import default_url, open_catalog  # describing a picture needs no library, and no SQLAlchemy

    own = _own_content(config)
    with ExitStack() as opened:
        catalog = open_catalog(config.catalog or default_url(config.folder), space, may_create=own.is_empty)
        opened.callback(catalog.close)
        make_private(config.folder, _OWN)
        content = ReferencedContentStore(own, catalog.sources.locate)
        found = catalog.state().space
        if space is not None and not found.agrees_with(space):
            raise SpaceMismatch(found, space)
        maintenance.adopt_pending_deletions(config.folder, catalog)
        maintenance.remove_snapshots(config.folder)
        library = Library(catalog, content, _indexes(config, catalog, space), _presence(config).verify)
        opened.pop_all()
        return library


def require_library(config: LibraryConfig) -> None:
    """Refuse, without opening anything, where there is no library: LibraryNotFound. EngineUnsupported."""
    _require_engines(config)
    if config.catalog is None and not (config.folder / CATALOG_FILE).exists():
        raise LibraryNotFound(config.folder)


def is_library(names: Iterable[str]) -> bool:
    """Tell whether a folder with files and folders of these names holds a library."""
    there = set(names)
    return any(signs <= there for signs in _SIGNS)


def _own_content(config: LibraryConfig) -> ContentStore:
    """Return the store of copies and thumbnails. boto3 is imported when S3 is to be used. EngineUnsupported."""
    if config.content is None:
        return DirectoryContentStore(config.folder)
    try:
        from index.content.s3 import S3ContentStore
    except ModuleNotFoundError as error:
        raise EngineUnsupported(
            "content", config.content, f"files in the library's folder (unset), S3 {WITH_CLUSTER}"
        ) from error
    store = S3ContentStore(config.content)
    config.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return store


def _indexes(config: LibraryConfig, catalog: Catalog, space: Space | None) -> Mapping[Target, VectorIndex]:
    """Return the vector indexes. FAISS is imported when one is needed: looking at records needs none."""

    @cache
    def builder() -> tuple[BackgroundBuilder, BuildOptions]:
        from index.building import BackgroundBuilder, BuildRequest
        from index.catalog import default_url
        from index.vectors.faiss.options import BuildOptions

        url = config.catalog or default_url(config.folder).render_as_string(hide_password=False)
        options = BuildOptions(config.exact_up_to, min(SEAL_AT, config.exact_up_to))
        return BackgroundBuilder(BuildRequest(url, config.folder / "index", options)), options

    def open_faiss(collection: Collection[Any]) -> VectorIndex:
        from index.vectors.faiss.index import FaissVectorIndex

        background, options = builder()
        folder = config.folder / "index" / collection.target
        return FaissVectorIndex(catalog, collection, folder, options, background, space)

    if config.vectors is not None:
        return _milvus(config.vectors, catalog)
    return {
        collection.target: DeferredVectorIndex(collection, partial(open_faiss, collection), config.exact_up_to)
        for collection in cast(tuple[Collection[Any], ...], (catalog.images, catalog.sentences))
    }


def _milvus(url: str, catalog: Catalog) -> Mapping[Target, VectorIndex]:
    """Return the vector indexes on Milvus. pymilvus is imported when one is needed. EngineUnsupported."""

    def open_milvus(collection: Collection[Any]) -> VectorIndex:
        from index.vectors.milvus import MilvusVectorIndex

        return MilvusVectorIndex(catalog, collection, url)

    return {
        collection.target: DeferredVectorIndex(collection, partial(open_milvus, collection), 0)
        for collection in cast(tuple[Collection[Any], ...], (catalog.images, catalog.sentences))
    }


def _presence(config: LibraryConfig) -> Presence:
    own = [config.folder / CATALOG_FILE] if config.catalog is None else []
    files = [config.folder / "content"] if config.content is None else []
    return Presence([config.folder, *files, *own])


def _require_engines(config: LibraryConfig) -> None:
    """Refuse what this build has no engine for, before anything is opened."""
    if config.catalog is not None and not config.catalog.startswith(("sqlite:", "postgresql+psycopg:")):
        raise EngineUnsupported(
            "catalog", config.catalog, "SQLite (unset, or sqlite:///path), PostgreSQL (postgresql+psycopg://…)"
        )
    if config.vectors is not None and not config.vectors.startswith(("milvus+http://", "milvus+https://")):
        raise EngineUnsupported("vectors", config.vectors, "FAISS (unset), milvus+http://host:19530/name")
    if config.vectors is not None and find_spec("pymilvus") is None:
        raise EngineUnsupported("vectors", config.vectors, f"FAISS (unset), Milvus {WITH_CLUSTER}")
    if config.content is not None and not config.content.startswith("s3://"):
        raise EngineUnsupported("content", config.content, "files in the library's folder (unset), s3://bucket/prefix")
