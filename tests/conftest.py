"""Fixtures for all tests: joint spaces, loaded once, and fixture photographs."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import secrets
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

from model.space import JointSpace
from tests.captioning import write_captioner
from tests.clip import write_clip
from tests.servers.milvus import milvus_python, milvus_server
from tests.servers.postgres import PostgresServer, absent, version, write_data
from tests.servers.ray_nodes import RayCluster, ray_cluster
from tests.servers.s3 import CREDENTIALS, s3_server
from tests.tiny import write_bundle

TESTS = Path(__file__).parent
MODEL = TESTS.parent / "model"
PHOTOS = TESTS / "fixtures" / "photos"

KeptBundle = Callable[..., Path]


class Together(LoadFileScheduling):
    """One worker runs all tests of a file, and all that share what is slow to start: browser, torch, Milvus."""

    MILVUS = (
        "tests/index/contract/test_library.py",
        "tests/index/contract/test_searching.py",
        "tests/index/contract/test_vectors.py",
        "tests/app/test_engines.py",
        "tests/index/vectors/test_milvus.py",
    )
    TORCH = (
        "tests/model/training/",
        "tests/model/captioner/",
        "tests/model/compose/test_arithmetic.py",
        "tests/model/runtime/",
        "tests/model/test_bundle.py",
        "tests/model/test_views.py",
        "tests/app/cli/test_caption.py",
        "tests/app/cli/test_convert.py",
        "tests/app/cli/test_import.py",
        "tests/app/cli/test_train.py",
        "tests/app/test_imported_space.py",
    )
    TOGETHER = (
        "tests/e2e/",
        MILVUS,
        TORCH,
    )

    def _split_scope(self, nodeid: str) -> str:
        for prefixes in self.TOGETHER:
            if nodeid.startswith(prefixes):
                return str(prefixes)
        return str(super()._split_scope(nodeid))


FIRST = (
    "tests/model/training/",
    "tests/e2e/",
    "tests/index/contract/",
    "tests/torture/",
    "tests/app/cli/",
    "tests/index/",
)
"""What takes longest, so that no worker begins with it when the others are done."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """How tests are handed out where there are several workers."""
    config.option.loadscopereorder = False  # the files with most tests first would be the quick ones
    return Together(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """Three more than there are processors: many tests wait for a process, a browser or a moment."""
    return (os.cpu_count() or 1) + 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow ones first."""

    def place(item: pytest.Item) -> int:
        return next((at for at, prefix in enumerate(FIRST) if item.nodeid.startswith(prefix)), len(FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def space(captioner_bundle: Path) -> JointSpace:
    """A tiny joint space whose bundle has a captioner. What it finds means nothing."""
    return JointSpace.load(captioner_bundle, device="cpu")


@pytest.fixture(scope="session")
def shipped_space() -> JointSpace:
    """The joint space of the shipped bundle, on the CPU: slow, for tests of quality alone."""
    return JointSpace.load(device="cpu")


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Photographs by name without ending: `photos["cat"]` are the bytes of cat.jpg."""
    return {path.stem: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))}


@pytest.fixture(scope="session")
def kept_bundle(request: pytest.FixtureRequest) -> KeptBundle:
    """Returns a folder with something trained: `kept_bundle(name, write, arguments)`.

    The function is called with a folder and the arguments, writes a tiny bundle into it, and whatever else its tests
    look at. All of it is kept until code, captions or packages change that it is made with, so that most runs neither
    train nor import torch. Continuous integration starts without any.
    """
    made_with = [
        *MODEL.rglob("*.py"),
        *TESTS.glob("*.py"),
        *(TESTS / "model" / "training").glob("*.py"),
        *(TESTS / "fixtures" / "captions").glob("*.txt"),
        TESTS.parent / "constraints.txt",
    ]
    state = hashlib.sha256()
    for path in sorted(made_with):
        state.update(path.read_bytes())
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir(f"bundles-{state.hexdigest()[:16]}")

    def keep(name: str, write: Callable[..., Path], *arguments: Any) -> Path:
        bundle: Path = folder / name
        with FileLock(folder / f"{name}.lock"):  # one training for all workers: the first trains, the others wait
            if not bundle.exists():
                with tempfile.TemporaryDirectory(dir=folder) as unfinished:
                    write(Path(unfinished) / "bundle", *arguments).rename(bundle)
        return bundle

    return keep


@pytest.fixture(scope="session")
def captioner_bundle(kept_bundle: KeptBundle) -> Path:
    """A tiny bundle with a captioner, trained in seconds. For tests that do not change it."""
    return kept_bundle("captioner", write_captioner)


@pytest.fixture(scope="session")
def plain_bundle(kept_bundle: KeptBundle) -> Path:
    """A tiny bundle without a captioner. For tests that do not change it."""
    return kept_bundle("plain", write_bundle)


@pytest.fixture(scope="session")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that speaks the protocol of S3, for this worker."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("boto3") is None:
        pytest.skip("S3: moto and boto3 are not installed, as in an environment without the extras cluster and dev")
    from botocore import loaders

    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as address:
        # Each session of boto3 would read and decompress what S3 is anew, in a tenth of a second.
        patch.setattr(loaders, "create_loader", functools.cache(loaders.create_loader))
        yield address


@pytest.fixture
def s3_content(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place on S3; the environment leads there."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": s3_address}.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid.uuid4()}"
    httpx2.put(f"{s3_address}/{bucket}").raise_for_status()
    return f"s3://{bucket}/some/library"


@pytest.fixture(scope="module")  # not for longer than it is used: idle nodes take a tenth of a core
def ray_nodes(request: pytest.FixtureRequest) -> Iterator[RayCluster]:
    """A cluster of Ray with two nodes, which can read from S3."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        reason = "Ray: ray and pyarrow are not installed, as in an environment without the extra ray"
        if os.environ.get("REQUIRE_RAY"):
            pytest.fail(reason)
        pytest.skip(reason)
    address = request.getfixturevalue("s3_address")
    with ray_cluster({**CREDENTIALS, "AWS_ENDPOINT_URL_S3": address}) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def clip_bundle(kept_bundle: KeptBundle) -> Path:
    """A tiny model of open_clip with random weights, imported. For tests that do not change it."""
    return kept_bundle("clip", write_clip)


@pytest.fixture(scope="session")
def postgres_data(kept_bundle: KeptBundle) -> Path:
    """What a PostgreSQL server starts with."""
    if reason := absent():
        assert not os.environ.get("REQUIRE_POSTGRES"), reason
        pytest.skip(reason)
    return kept_bundle(f"postgresql-{version()}", write_data)


@pytest.fixture(scope="session")
def postgres_server(postgres_data: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of this process."""
    with PostgresServer(data=postgres_data) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty schema, for one catalog."""
    return postgres_server.schema(f"test_{secrets.token_hex(8)}")


@pytest.fixture
def own_postgres_server(postgres_data: Path) -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with PostgresServer(data=postgres_data) as server:
        yield server


@pytest.fixture(scope="session")
def milvus_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a real Milvus."""
    python = milvus_python()
    if python is None or importlib.util.find_spec("pymilvus") is None:
        reason = "Milvus: no server in .venv-milvus (`make milvus`), or no pymilvus"
        if os.environ.get("REQUIRE_MILVUS"):
            pytest.fail(reason)
        pytest.skip(reason)
    with milvus_server(python, tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture
def milvus_vectors(milvus_address: str) -> Iterator[str]:
    """The URL of an empty place in Milvus; what a test leaves there is removed."""
    from pymilvus import MilvusClient

    name = f"test_{uuid.uuid4().hex}"
    yield f"milvus+http://{milvus_address}/{name}"
    client = MilvusClient(f"http://{milvus_address}", timeout=10)
    for collection in client.list_collections():
        if collection.startswith(name):
            client.drop_collection(collection)
    client.close()
