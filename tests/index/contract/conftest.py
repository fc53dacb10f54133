"""One factory for each implementation of a part: another implementation is added here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from index import Library, LibraryConfig, Space, open_library
from index.catalog import open_catalog
from index.content.directory import DirectoryContentStore
from index.content.referenced import ReferencedContentStore
from index.interfaces import Catalog, Collection, ContentStore, VectorIndex
from index.vectors.faiss_following import FaissVectorIndex


@pytest.fixture(params=["directory", "referenced"])
def open_content(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ContentStore]:
    """Opens the content store of this test: the same one each time, as another process would."""
    stores: dict[str, Callable[[], ContentStore]] = {
        "directory": lambda: DirectoryContentStore(tmp_path / "store"),
        "referenced": lambda: ReferencedContentStore(DirectoryContentStore(tmp_path / "store"), lambda sha256: []),
    }
    return stores[request.param]


@pytest.fixture(params=["sqlite"])
def open_records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Catalog]]:
    """Opens the catalog of this test, for a space or as it is: the same one each time, as another process would."""
    urls = {"sqlite": f"sqlite:///{tmp_path / 'records.sqlite'}"}
    with ExitStack() as stack:

        def open_one(space: Space | None = None) -> Catalog:
            catalog = open_catalog(urls[request.param], space, lambda: True)
            stack.callback(catalog.close)
            return catalog

        yield open_one


@pytest.fixture(params=["faiss-exact", "faiss-clustered"])
def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Catalog, Collection[Any]], VectorIndex]:
    """Opens a vector index that follows a collection: the same one each time for the same collection."""

    def faiss(exact_up_to: int) -> Callable[[Catalog, Collection[Any]], VectorIndex]:
        return lambda catalog, collection: FaissVectorIndex(
            catalog, collection, tmp_path / "vectors" / f"{collection.target}.faiss", exact_up_to
        )

    indexes = {"faiss-exact": faiss(50_000), "faiss-clustered": faiss(50)}
    return indexes[request.param]


@pytest.fixture(params=["folder"])
def open_parts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Library]]:
    """Opens the library of this test, for a space or as it is: the same one each time, as another process would."""
    configs = {"folder": LibraryConfig(tmp_path / "library")}
    with ExitStack() as stack:

        def open_one(space: Space | None = None) -> Library:
            return stack.enter_context(open_library(configs[request.param], space))

        yield open_one


@pytest.fixture
def library(open_parts: Callable[..., Library], space: Space) -> Library:
    """An empty library."""
    return open_parts(space)
