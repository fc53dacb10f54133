"""One factory for each implementation of a part: another implementation is added here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import Library, LibraryConfig, Space, open_library
from index.catalog import open_catalog
from index.content.directory import DirectoryContentStore
from index.content.referenced import ReferencedContentStore
from index.interfaces import Catalog, Collection, ContentStore, VectorIndex
from index.vectors.faiss.building import Builder
from index.vectors.faiss.index import FaissVectorIndex
from index.vectors.faiss.options import BuildOptions


@pytest.fixture(params=["directory", "referenced", "s3"])
def open_content(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ContentStore]:
    """Opens the content store of this test: the same one each time, as another process would."""

    def s3() -> ContentStore:
        url = request.getfixturevalue("s3_content")
        from index.content.s3 import S3ContentStore

        return S3ContentStore(url)

    stores: dict[str, Callable[[], ContentStore]] = {
        "s3": s3,
        "directory": lambda: DirectoryContentStore(tmp_path / "store"),
        "referenced": lambda: ReferencedContentStore(DirectoryContentStore(tmp_path / "store"), lambda sha256: []),
    }
    return stores[request.param]


@pytest.fixture
def tick(request: pytest.FixtureRequest) -> float:
    """How many seconds apart two files have to be written for their store to tell which is older."""
    return 1.1 if request.node.callspec.params["open_content"] == "s3" else 0.05


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the catalog of this test is; nothing is there yet."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'records.sqlite'}"


@pytest.fixture
def open_records(catalog_url: str) -> Iterator[Callable[..., Catalog]]:
    """Opens the catalog of this test, for a space or as it is: the same one each time, as another process would."""
    with ExitStack() as stack:

        def open_one(space: Space | None = None) -> Catalog:
            catalog = open_catalog(catalog_url, space, lambda: True)
            stack.callback(catalog.close)
            return catalog

        yield open_one


@pytest.fixture
def catalog(open_records: Callable[..., Catalog], space: Space) -> Catalog:
    return open_records(space)


@pytest.fixture
def other(catalog: Catalog, open_records: Callable[..., Catalog]) -> Catalog:
    """The same catalog, as another process has it open."""
    return open_records()


class BuildsAtOnce:
    """Builds what is due while the index looks, so that a test knows what it has."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def wake(self) -> None:
        self._builder.run()

    def close(self) -> None:
        self._builder.close()


@pytest.fixture(params=["faiss-exact", "faiss-segments", "milvus"])
def open_index(
    request: pytest.FixtureRequest, tmp_path: Path, space: Space
) -> Callable[[Catalog, Collection[Any]], VectorIndex]:
    """Opens a vector index that follows a collection: the same one each time for the same collection."""

    def sample() -> list[np.ndarray]:
        directions = np.random.default_rng(0).normal(size=(40, space.dimension)).astype(np.float32)
        return np.split(directions / np.linalg.norm(directions, axis=1, keepdims=True), 2)

    def faiss(options: BuildOptions) -> Callable[[Catalog, Collection[Any]], VectorIndex]:
        def open_one(catalog: Catalog, collection: Collection[Any]) -> VectorIndex:
            folder = tmp_path / "vectors" / collection.target
            builder = BuildsAtOnce(Builder(catalog, collection, folder, options))
            builder.wake()
            return FaissVectorIndex(catalog, collection, folder, options, builder, replace(space, sample=sample))

        return open_one

    if request.param == "milvus":
        url = request.getfixturevalue("milvus_vectors")
        from index.vectors.milvus import MilvusVectorIndex

        def milvus(catalog: Catalog, collection: Collection[Any]) -> VectorIndex:
            index = MilvusVectorIndex(catalog, collection, url, push_at=20)
            index.push()
            return index

        return milvus
    indexes = {"faiss-exact": faiss(BuildOptions()), "faiss-segments": faiss(BuildOptions(50, 20))}
    return indexes[request.param]


_PLACES = ("folder", "s3", "postgresql", "postgresql-s3")

wherever_files_are = pytest.mark.parametrize("open_parts", _PLACES, indirect=True)
"""For tests of a library that read or write files. Without it, they are in a folder."""

in_every_combination = pytest.mark.parametrize(
    "open_parts", [*_PLACES, *(f"{place}-milvus" for place in _PLACES)], indirect=True
)
"""For tests of all three parts together: {SQLite, PostgreSQL} x {folder, S3} x {FAISS, Milvus}."""


@pytest.fixture(params=["folder", "postgresql"])
def open_parts(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Library]]:
    """Opens the library of this test, for a space or as it is: the same one each time, as another process would."""
    catalog = request.getfixturevalue("postgres_url") if "postgresql" in request.param else None
    content = request.getfixturevalue("s3_content") if "s3" in request.param else None
    vectors = None
    if "milvus" in request.param:
        vectors = request.getfixturevalue("milvus_vectors")
        from index.vectors.milvus import MilvusVectorIndex

        # Few records are worth a write to Milvus here, or it would have none of them.
        monkeypatch.setattr("index.vectors.milvus.MilvusVectorIndex", partial(MilvusVectorIndex, push_at=5))
    config = LibraryConfig(tmp_path / "library", catalog=catalog, content=content, vectors=vectors)
    with ExitStack() as stack:

        def open_one(space: Space | None = None) -> Library:
            return stack.enter_context(open_library(config, space))

        yield open_one


@pytest.fixture
def library(open_parts: Callable[..., Library], space: Space) -> Library:
    """An empty library."""
    return open_parts(space)
