"""Files that are whole or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from index import atomic_files


def test_a_large_file_goes_to_the_system_in_pieces_between_which_others_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Watched(io.FileIO):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    monkeypatch.setattr(atomic_files, "open", lambda file, mode: io.BufferedWriter(Watched(file, mode)), raising=False)
    content = bytes(range(256)) * 3 * 4096 + b"the end"
    atomic_files.write_atomically(tmp_path / "whole", [content, content], tmp_path)
    assert (tmp_path / "whole").read_bytes() == content * 2
    assert max(sizes) == 1024 * 1024, "and no more of them: each takes the interpreter's lock again"
