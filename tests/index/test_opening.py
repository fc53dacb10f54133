from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import index
from index import LibraryConfig, Space, open_library


@pytest.mark.parametrize(
    ("part", "url", "present"),
    [
        ("catalog", "postgresql+psycopg://visem:secret@host/db", "SQLite"),
        ("vectors", "milvus+http://user:secret@host:19530/name", "FAISS"),
        ("content", "s3://secret/prefix", "files in the library's folder"),
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
