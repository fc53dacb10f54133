"""One factory for each implementation of a part: another implementation is added here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from index.content import DirectoryContentStore
from index.interfaces import ContentStore


@pytest.fixture(params=["directory"])
def open_content(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ContentStore]:
    """Opens the content store of this test: the same one each time, as another process would."""
    stores: dict[str, Callable[[], ContentStore]] = {
        "directory": lambda: DirectoryContentStore(tmp_path / "store"),
    }
    return stores[request.param]
