"""What one of several workers does by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import main
from app.service import Service
from app.settings import Settings
from app.workers import worker


def test_it_has_searched_before_it_takes_connections(
    open_service: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[Any] = []
    service = open_service()
    service.observe_batches(lambda kind, size, seconds: happened.append((kind, size)))
    monkeypatch.setattr(Service, "open", lambda settings, group: service)
    monkeypatch.setattr(main, "serve", lambda service, announce, sockets: happened.append("serves"))
    worker.serve_as_worker(worker.WorkerRequest(Settings(library=tmp_path), (), tmp_path))
    assert happened == [("texts", 1), "serves"]


def test_it_serves_although_a_search_fails(
    open_service: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = []
    service = open_service()
    service.library.close()
    monkeypatch.setattr(Service, "open", lambda settings, group: service)
    monkeypatch.setattr(main, "serve", lambda service, announce, sockets: served.append(service))
    worker.serve_as_worker(worker.WorkerRequest(Settings(library=tmp_path), (), tmp_path))
    assert served == [service]
