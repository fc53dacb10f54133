"""Fixtures for the tests of app: real services in temporary directories, and clients for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings

from app.main import create_app
from app.service import Service
from app.settings import Settings
from model.images.processes import Decoders
from model.space import JointSpace
from tests.app.helpers import ADDRESS
from tests.app.listening import Listening

# Machines under load are slow: that alone is no failure.
settings.register_profile("visem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("visem")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("VISEM_"):
            monkeypatch.delenv(name)


class _SharedDecoders(Decoders):
    """Real processes, which outlive the service that uses them: starting some for each test would take a while."""

    def close(self) -> None:
        pass


@pytest.fixture(scope="session", autouse=True)
def _shared_decoders() -> Iterator[None]:
    shared = _SharedDecoders()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.embedding.embedder.Decoders", lambda: shared)
        yield
    Decoders.close(shared)


@pytest.fixture
def open_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Opens services on libraries in the temporary directory; settings as keywords, and `space` for another one."""
    with ExitStack() as stack:

        def open_one(**changes: Any) -> Service:
            values = {"library": tmp_path / "library", **changes}
            chosen = values.pop("space", None) or request.getfixturevalue("space")
            return stack.enter_context(Service.open(Settings(**values), space=chosen))

        yield open_one


@pytest.fixture(scope="session")
def silent_space(plain_bundle: Path) -> JointSpace:
    """A tiny joint space whose bundle has no captioner."""
    return JointSpace.load(plain_bundle, device="cpu")


@pytest.fixture
def service(open_service: Callable[..., Service]) -> Service:
    """A service on an empty library."""
    return open_service()


@pytest.fixture
def connect(open_service: Callable[..., Service]) -> Iterator[Callable[..., TestClient]]:
    """Opens clients of running applications; settings as keywords."""
    with ExitStack() as stack:

        def connect_one(**changes: Any) -> TestClient:
            app = create_app(service=open_service(**changes))
            return stack.enter_context(TestClient(app, base_url=ADDRESS, raise_server_exceptions=False))

        yield connect_one


@pytest.fixture
def client(connect: Callable[..., TestClient]) -> TestClient:
    """A client of an application with an empty library."""
    return connect()


@pytest.fixture(scope="session")
def stocked(
    space: JointSpace, photos: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A client of an application with all photographs and some sentences. For tests which change nothing."""
    stock = Settings(library=tmp_path_factory.mktemp("stocked") / "library")
    with (
        Service.open(stock, space=space) as service,
        TestClient(create_app(service=service), base_url=ADDRESS) as client,
    ):
        client.raise_server_exceptions = False  # type: ignore[attr-defined]
        for name, data in photos.items():
            files = {"files": (f"{name}.jpg", data)}
            body = {"metadata": f'{{"name": "{name}", "initial": "{name[0]}"}}'}
            assert client.post("/v1/images", files=files, data=body).status_code == 200
        texts = ["a dog runs on the beach", "a man on a red car", "a black cat", "a white flower"]
        assert client.post("/v1/sentences", json={"texts": texts}).status_code == 200
        yield client


@pytest.fixture
def listen(open_service: Callable[..., Service], silent_space: JointSpace) -> Iterator[Callable[..., Listening]]:
    """Starts servers that really listen; settings as keywords. Their bundle has no captioner."""
    with ExitStack() as stack:

        def listen_one(**changes: Any) -> Listening:
            return stack.enter_context(Listening(open_service(space=silent_space, port=0, **changes)))

        yield listen_one
