"""What the vector index asks of Milvus, with time-outs and errors of ours. Only this module imports pymilvus."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.decorators import IGNORE_RETRY_CODES
from pymilvus.exceptions import ErrorCode
from pymilvus.grpc_gen.milvus_pb2_grpc import MilvusServiceStub

from index.breaker import CircuitBreaker
from index.errors import EngineAway, EngineUnsupported
from index.interfaces import Position
from index.types import EngineState, Keys, Vectors

MOST = 16384
"""How many nearest Milvus returns at most."""

_CONNECT_TIMEOUT = 5.0
_SEARCH_TIMEOUT = 5.0
_WRITE_TIMEOUT = 60.0
_POSITION = -1  # the key of the row that says up to where the collection has been written
_NOT_FOUND = frozenset(
    {4, 100}
)  # codes of Milvus for a collection that does not exist: the older one, and that since 2.3
_NOT_LOADED = 101
_LOADING_PAUSES = 60 * (0.25,)  # seconds: another process may just be creating the collection
_RETRY_PAUSES = (0.1, 0.4)  # seconds at most, between three attempts
_HNSW = {"M": 16, "efConstruction": 200}


class CollectionLostError(Exception):
    """There is no such collection in Milvus."""


class MilvusCollections:
    """Collections in Milvus: each has vectors by key, and a row that says what it holds. Thread-safe.

    All methods raise EngineAway, and CollectionLostError where the collection has to be there.
    """

    def __init__(self, url: str) -> None:
        """Talk to `milvus+http(s)://[user:password@]host:port/name`; nothing is asked yet. EngineUnsupported."""
        parts = urlsplit(url)
        name = parts.path.strip("/")
        wrong = parts.scheme not in ("milvus+http", "milvus+https") or not parts.hostname or parts.query
        if wrong or not name.isidentifier() or not name.isascii():
            raise EngineUnsupported("vectors", url, "milvus+http://host:19530/name, the name of letters and digits")
        self.name = name
        self._uri = f"{parts.scheme.removeprefix('milvus+')}://{parts.hostname}:{parts.port or 19530}"
        self._token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        self._breaker = CircuitBreaker("vectors")
        self._client: Any = None

    def position(self, name: str) -> tuple[Position, str] | None:
        """Return up to where a collection has been written, and of which history; None if that is unknown."""
        with self._asking() as client:
            rows = _once_loaded(
                lambda: client.query(
                    name,
                    filter=f"key == {_POSITION}",
                    output_fields=["position"],
                    consistency_level="Strong",
                    timeout=_SEARCH_TIMEOUT,
                )
            )
        if not rows:
            return None
        told = json.loads(rows[0]["position"])
        return Position(told["generation"], told["key"], told["deletion"]), told["history"]

    def create(self, name: str, dimension: int) -> None:
        """Create an empty collection."""
        with self._asking() as client:
            schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
            schema.add_field("key", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="IP", params=_HNSW)
            client.create_collection(name, schema=schema, index_params=index, timeout=_WRITE_TIMEOUT)

    def drop(self, name: str) -> None:
        """Remove a collection, if it is there."""
        with self._asking() as client:
            client.drop_collection(name, timeout=_WRITE_TIMEOUT)

    def names(self) -> list[str]:
        """Return the names of all collections."""
        with self._asking() as client:
            return list(client.list_collections(timeout=_SEARCH_TIMEOUT))

    def write(self, name: str, removed: Keys, keys: Keys, vectors: Vectors) -> None:
        """Remove keys, then write vectors (n, D) under keys, in place of what was there."""
        with self._asking() as client:
            if len(removed):
                client.delete(name, ids=removed.tolist(), timeout=_WRITE_TIMEOUT)
            if len(keys):
                rows = [
                    {"key": key, "vector": vector, "position": ""}
                    for key, vector in zip(keys.tolist(), vectors, strict=True)
                ]
                client.upsert(name, rows, timeout=_WRITE_TIMEOUT)

    def write_position(self, name: str, position: Position, history: str, dimension: int) -> None:
        """Note up to where the collection has been written, and of which history."""
        told: Mapping[str, int | str] = {
            "generation": position.generation,
            "key": position.key,
            "deletion": position.deletion,
            "history": history,
        }
        vector = np.eye(1, dimension, dtype=np.float32)[0]
        with self._asking() as client:
            row = {"key": _POSITION, "vector": vector, "position": json.dumps(told)}
            client.upsert(name, [row], timeout=_WRITE_TIMEOUT)

    def nearest(self, name: str, vector: Vectors, count: int, *, only: Keys | None, strong: bool) -> Keys:
        """Return the keys of up to `count` near vectors, among `only` these if they are given; count <= MOST."""
        where = f"key > {_POSITION}" if only is None else f"key in {only.tolist()}"
        with self._asking() as client:
            [hits] = client.search(
                name,
                data=[vector],
                filter=where,
                limit=count,
                search_params={"metric_type": "IP", "params": {"ef": max(64, count)}},
                consistency_level="Strong" if strong else "Bounded",
                timeout=_SEARCH_TIMEOUT,
            )
        return np.array([hit["id"] for hit in hits], dtype=np.int64)

    def count(self, name: str) -> int:
        """Return how many vectors there are."""
        with self._asking() as client:
            rows = client.query(
                name,
                filter=f"key > {_POSITION}",
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=_WRITE_TIMEOUT,
            )
        return int(rows[0]["count(*)"])

    def engine(self) -> EngineState:
        """Return how Milvus does."""
        return self._breaker.state()

    def close(self) -> None:
        """Give up the connection. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        with self._breaker.call():
            try:
                if self._client is None:
                    self._client = _connect(self._uri, self._token)
                yield _Persistent(self._client, self._breaker)
            except MilvusException as error:
                if error.code in _NOT_FOUND:
                    raise CollectionLostError from error
                raise EngineAway("vectors", f"Milvus failed with code {error.code}") from error
            except (grpc.RpcError, grpc.FutureTimeoutError) as error:
                raise EngineAway("vectors", f"no answer from Milvus ({type(error).__name__})") from error


class _Persistent:
    """A client whose requests are made again a few times when Milvus could not take them. All of ours may be repeated.

    pymilvus does that by itself, but until the time-out is over, uncounted, and in all processes at the same moments.
    """

    def __init__(self, client: Any, breaker: CircuitBreaker) -> None:
        self._client = client
        self._breaker = breaker

    def __getattr__(self, name: str) -> Any:
        return partial(self._ask, getattr(self._client, name))

    def _ask(self, ask: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if "timeout" not in named:  # nothing is sent
            return ask(*arguments, **named)
        for pause in _RETRY_PAUSES:
            try:
                return ask(*arguments, retry_on_rate_limit=False, **named)
            except MilvusException as error:
                if not _is_passing(error):
                    raise
            self._breaker.retried()
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # no secret
        return ask(*arguments, retry_on_rate_limit=False, **named)


class _NotTakenError(Exception):
    """A request that failed in a way that pymilvus would repeat."""


class _OnceOnly(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc has no types
    """Hides from pymilvus what it would repeat."""

    def intercept_unary_unary(self, proceed: Callable[..., Any], details: Any, request: Any) -> Any:
        call = proceed(details, request)
        error = call.exception()
        if isinstance(error, grpc.RpcError) and error.code() not in IGNORE_RETRY_CODES:
            raise _NotTakenError(f"{error.code()}: {error.details()}") from error
        return call


def _connect(uri: str, token: str) -> Any:
    """Return a client that makes each request once. pymilvus has no setting for it where there is a time-out."""
    client = MilvusClient(uri, token=token, timeout=_CONNECT_TIMEOUT)
    handler = client._handler
    handler._final_channel = grpc.intercept_channel(handler._final_channel, _OnceOnly())
    handler._stub = MilvusServiceStub(handler._final_channel)
    return client


def _is_passing(error: MilvusException) -> bool:
    """Tell whether the same may go well in a moment: the server was not reached, or says that it has too much to do."""
    limited = ErrorCode.RATE_LIMIT in (error.code, error.compatible_code)
    return limited or isinstance(error.__cause__, _NotTakenError)


def _once_loaded(ask: Callable[[], Any]) -> Any:
    """Ask again for a while when Milvus says that the collection is not loaded; MilvusException."""
    for pause in _LOADING_PAUSES:
        try:
            return ask()
        except MilvusException as error:
            if error.code != _NOT_LOADED:
                raise
            time.sleep(pause)
    return ask()
