from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import index
from index import LibraryConfig, NewImage, Space, is_library, open_library

needs_boto3 = pytest.mark.skipif(find_spec("boto3") is None, reason="boto3 is not installed")


@pytest.mark.parametrize(
    ("part", "url", "present"),
    [
        ("catalog", "mysql://visem:secret@host/db", "PostgreSQL"),
        ("vectors", "milvus://user:secret@host:19530/name", "FAISS"),
        ("content", "s3x://secret/prefix", "s3://bucket/prefix"),
        pytest.param("content", "s3://key:secret@bucket/prefix", "s3://bucket/prefix", marks=needs_boto3),
        ("content", "secret", "not a URL"),
    ],
)
def test_an_engine_that_is_not_there_is_refused_by_name(
    root: Path, space: Space, part: str, url: str, present: str
) -> None:
    parts: dict[str, Any] = {part: url}
    config = LibraryConfig(root, **parts)
    with pytest.raises(index.EngineUnsupported, match=present) as caught:
        open_library(config, space)
    assert f"VISEM_{part.upper()}" in str(caught.value)
    assert "secret" not in str(caught.value) + repr(config)
    assert not root.exists()


def test_strange_files_and_folders_stop_no_search(root: Path, space: Space, image: Callable[..., NewImage]) -> None:
    config = LibraryConfig(root, exact_up_to=8)
    with open_library(config, space) as library:
        library.add_images([image(n) for n in range(40)])
        library.search(image(3).vector, 1, "images")
    for place in (".", "content", "thumbnails", "incoming", "index", "index/images", "content/ab"):
        (root / place / "photos of 2019.faiss" / "more").mkdir(parents=True)
        (root / place / "notes.txt").write_text("mine")
        (root / place / "1-40").mkdir()
        (root / place / "abcd").mkdir()
    with open_library(config, space) as library:
        [hit] = library.search(image(3).vector, 1, "images").items
        assert hit.record.filename == "3.png"
        assert library.check() == []
        library.add_images([image(50)])
        [hit] = library.search(image(50).vector, 1, "images").items
        assert hit.record.filename == "50.png"
    assert (root / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("catalog", [None, "postgres_url"])
def test_a_folder_with_content_is_known_as_a_library_wherever_its_catalog_is(
    catalog: str | None, tmp_path: Path, space: Space, request: pytest.FixtureRequest
) -> None:
    config = LibraryConfig(tmp_path, catalog=request.getfixturevalue(catalog) if catalog else None)
    assert not is_library(path.name for path in tmp_path.iterdir())
    open_library(config, space).close()
    assert is_library(path.name for path in tmp_path.iterdir())
