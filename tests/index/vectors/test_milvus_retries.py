"""Requests to a Milvus that does not take them: a server that speaks its protocol, and answers nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from index.errors import EngineAway


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and pymilvus takes a second."""
    global grpc
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("pymilvus")


class Refusing:
    """Lets clients connect, and refuses so many of their requests for the names of collections."""

    def __init__(self, refused: int) -> None:
        from pymilvus.grpc_gen import milvus_pb2

        self.refused = refused
        self.asked: Counter[str] = Counter()
        self._messages = milvus_pb2

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]

        def answer(request: bytes, context: Any) -> bytes:
            self.asked[name] += 1
            if name == "Connect":
                return bytes(self._messages.ConnectResponse(identifier=1).SerializeToString())
            if self.asked[name] <= self.refused:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            return bytes(self._messages.ShowCollectionsResponse(collection_names=["a"]).SerializeToString())

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def serve() -> Iterator[Callable[[Refusing], Any]]:
    servers = []

    def start(refusing: Refusing) -> Any:
        from index.vectors.milvus.client import MilvusCollections

        server = grpc.server(ThreadPoolExecutor(4), handlers=[refusing])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        collections = MilvusCollections(f"milvus+http://127.0.0.1:{port}/retries")
        servers.append((server, collections))
        return collections

    yield start
    for server, collections in servers:
        collections.close()
        server.stop(None)


def test_what_could_not_be_taken_is_asked_again_and_counted(serve: Callable[[Refusing], Any]) -> None:
    refusing = Refusing(2)
    collections = serve(refusing)
    assert collections.names() == ["a"]
    assert refusing.asked["ShowCollections"] == 3
    assert (collections.engine().retries, collections.engine().failures) == (2, 0)


def test_there_are_three_attempts_and_no_more(serve: Callable[[Refusing], Any]) -> None:
    refusing = Refusing(1000)
    collections = serve(refusing)
    started = time.monotonic()
    with pytest.raises(EngineAway):
        collections.names()
    assert time.monotonic() - started < 4, "the time-out is 5 s"
    assert refusing.asked["ShowCollections"] == 3
    assert (collections.engine().retries, collections.engine().failures) == (2, 1)
