"""What one of several workers does by itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from app.service import Service
from app.workers import worker


def test_it_says_that_it_serves_once_it_has_searched(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Any] = []
    told = threading.Event()

    def tell(**what: Any) -> None:
        happened.append(what)
        told.set()

    monkeypatch.setattr(worker, "_tell", tell)
    service.observe_batches(lambda kind, size, seconds: happened.append((kind, size)))
    worker._serves(service)
    assert told.wait(30)
    assert happened == [("texts", 1), {"serving": True}]


def test_it_serves_although_a_search_fails(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    monkeypatch.setattr(worker, "_tell", lambda **what: told.set())
    service.library.close()
    worker._serves(service)
    assert told.wait(30)
