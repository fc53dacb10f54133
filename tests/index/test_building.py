"""Who starts the process that builds the vector indexes."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from index import building
from index.building import BackgroundBuilder, BuildRequest
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.options import BuildOptions


def test_nobody_starts_one_more_while_another_process_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[BuildRequest] = []

    def start(request: BuildRequest) -> subprocess.Popen[bytes]:
        started.append(request)
        return subprocess.Popen(["sleep", "60"])  # noqa: S607

    monkeypatch.setattr(building, "_start", start)
    request = BuildRequest(f"sqlite:///{tmp_path}/catalog.sqlite", tmp_path / "index", BuildOptions())
    builder = BackgroundBuilder(request)
    try:
        with ExitStack() as others:
            for folder in request.folders():
                assert others.enter_context(IndexFolder(folder).lock())
            builder.wake()
            assert started == []
        builder.wake()
        builder.wake()
        assert started == [request]
    finally:
        builder.close()
