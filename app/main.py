"""The HTTP application. `create_app` builds it; `serve` runs it until a signal stops it."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import uvicorn
from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

from app import logs
from app.embedding.fairness import ByteBudget
from app.http import descriptors, problem_responses
from app.http.authentication import Authentication, Guesses
from app.http.clients import is_loopback
from app.http.connections import ConnectionLimits, Connections
from app.http.dependencies import Parameters, documented_parameters, only_documented_parameters
from app.http.descriptors import connections_within
from app.http.listening import Listener
from app.http.metrics import Metrics
from app.http.middleware import (
    REQUEST_ID_HEADER,
    BodyKind,
    BodyLimit,
    HeadRequests,
    LocalHosts,
    RequestContext,
    SameSite,
)
from app.http.readiness import Readiness
from app.http.routes import about, captions, embeddings, image_captions, images, maps, search, sentences, sources
from app.http.schemas.about import ProblemDocument
from app.http.turns import Turns
from app.keys import KeyRing
from app.service import Service
from app.settings import Settings
from app.shared.group import HEARTBEAT
from app.version import VERSION
from app.web import error_pages, page_routes
from app.web.deletions import Deletions
from app.web.query_images import QueryImages
from model import threads

logger = logging.getLogger(__name__)

SAMPLED_EVERY = 1.0
"""Seconds after which other workers know how busy this one is."""

_SWITCH = 0.0005
"""Seconds after which a thread that computes in Python lets another one go on: a search waits so long several times."""

_ARENAS = 2
"""Heaps of glibc among which threads are spread: by default up to eight a core, each of which keeps what was freed."""

_COLLECTIONS = (700, 10, 50)
"""Thresholds of the garbage collector. The last one is 10 by default: with 1,600 connections, going through everything
takes a tenth of a second, in which nobody is answered."""

SPARE_THREADS = 40
"""Threads for requests that wait for nobody: records, files, pages."""

_DESCRIPTION = """
Finds photographs by sentence and sentences by photograph, and does arithmetic with both:
`image:ID - blue + red`.

Errors are `application/problem+json` (RFC 9457) with a stable `code`; `/problems` lists all codes. Lists page
by opaque cursor. Unknown parameters and fields are errors.
"""

_PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {problem_responses.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    for status, description in {
        "4XX": "The request cannot be fulfilled.",
        "5XX": "The service failed.",
    }.items()
}

ROUTERS = tuple(
    module.router for module in (search, images, image_captions, sentences, maps, captions, embeddings, sources, about)
)


def create_app(settings: Settings | None = None, service: Service | None = None) -> FastAPI:
    """Build the application. Without a `service` it opens its own at startup, and closes it at shutdown.

    Startup fails with BundleError for a damaged bundle, which it names, and with SpaceMismatch for a library
    which another bundle made. KeyFileError, at once, for a damaged file of keys. A `service` that is given stays the
    caller's to close.
    """
    settings = settings or (service.settings if service else Settings())
    group = None if service is None else service.group
    metrics = Metrics(None if group is None else group.metrics)
    keys = KeyRing(settings.library, settings.api_key.get_secret_value() if settings.api_key else None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = service if service is not None else await run_in_threadpool(Service.open, settings)
        try:
            deletions = await run_in_threadpool(Deletions, running.library, settings.undo_seconds)
            try:
                running.start()
                running.observe_batches(metrics.observe_batch)
                metrics.watch(running)
                app.state.deletions = deletions
                app.state.service = running
                # A request that waits for its turn holds a thread: there have to be more of them than such requests.
                waiting = settings.max_searches + settings.max_jobs
                to_thread.current_default_thread_limiter().total_tokens = waiting + SPARE_THREADS
                app.state.readiness = Readiness(running.check_ready)
                async with AsyncExitStack() as stack:
                    if group is not None:
                        await stack.enter_async_context(_repeating(group.beat, HEARTBEAT))
                        await stack.enter_async_context(_repeating(metrics.sample, SAMPLED_EVERY))
                    yield
            finally:
                await asyncio.to_thread(deletions.close)  # requests may have all threads of the pool
        finally:
            if service is None:
                await run_in_threadpool(running.close)

    app = FastAPI(
        title="Visem",
        summary="Image-sentence retrieval",
        description=_DESCRIPTION,
        version=VERSION,
        lifespan=lifespan,
        routes=_routes(),
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load scripts from the internet
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # or each request looks for providers of them
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.keys = keys
    app.state.guesses = Guesses(shared=None if group is None else group.guesses)
    app.state.query_images = QueryImages(group=group)
    problem_responses.install(app)
    error_pages.install(app)
    app.openapi = functools.cache(functools.partial(_document, app.openapi, keys.locked))  # type: ignore[method-assign]
    app.state.parameters = _parameters()
    _add_middleware(app, settings, metrics, keys)
    return app


@asynccontextmanager
async def _repeating(function: Callable[[], None], seconds: float) -> AsyncIterator[None]:
    """Call a function again and again on the event loop, so many seconds apart."""

    async def repeat() -> None:
        while True:
            function()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()


@functools.cache
def _routes() -> list[BaseRoute]:
    """All operations and pages: the same for every application, and slow to make."""
    operations = APIRouter(dependencies=[Depends(only_documented_parameters)], responses=_PROBLEM_RESPONSES)
    for router in ROUTERS:
        operations.include_router(router)
    return [*operations.routes, *page_routes()]


@functools.cache
def _parameters() -> Parameters:
    """The query parameters of every operation: the same for every application, and slow to find out."""
    return documented_parameters([route for router in ROUTERS for route in router.routes])


def _document(make: Callable[[], dict[str, Any]], locked: bool) -> dict[str, Any]:
    """The OpenAPI document that FastAPI makes, with what a problem is, and how to send a key where there are any."""
    document = make()
    document["components"]["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
    if locked:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path, operations in document["paths"].items():
            if path.startswith("/v1/") or path == "/metrics":
                for operation in operations.values():
                    operation["security"] = [{"bearer": []}, {"header": []}]
    return document


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, keys: KeyRing) -> None:
    """Innermost first: each addition wraps what is there."""

    forms = BodyKind(settings.max_upload_bytes, "VISEM_MAX_UPLOAD_BYTES", ByteBudget(settings.upload_budget))
    others = BodyKind(settings.max_json_bytes, "VISEM_MAX_JSON_BYTES", ByteBudget(settings.json_budget))

    def body_kind(content_type: str) -> BodyKind:
        return forms if content_type.strip().lower().startswith("multipart/form-data") else others

    app.add_middleware(BodyLimit, kind=body_kind)
    app.add_middleware(Authentication, keys=keys, guesses=app.state.guesses)
    app.add_middleware(SameSite, allowed_origins=settings.allowed_origins)
    if is_loopback(settings.published_host or settings.host):
        app.add_middleware(
            LocalHosts,
            locked=lambda: keys.locked,
            allowed_origins=settings.allowed_origins,
            published=settings.published_host is not None,
        )
    app.add_middleware(HeadRequests)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "If-None-Match", "Range"],
            expose_headers=[REQUEST_ID_HEADER, "ETag", "Content-Range", "Retry-After"],
        )
    app.add_middleware(Turns)
    app.add_middleware(RequestContext, metrics=metrics, cross_origin=bool(settings.allowed_origins))


def serve(
    service: Service,
    announce: Callable[[str, int], None] = lambda host, port: None,
    sockets: list[socket.socket] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; running requests are finished. Returns, so that the caller can clean up.

    `announce` is called with host and port as soon as it listens; the port is the one that the system chose for 0.
    `sockets`: those to listen on, which are bound already; that of the settings is bound otherwise.

    For the main thread of a program, of which it configures logs and interpreter. SystemExit if the port is taken.
    """
    logs.configure(service.settings.log_level)
    server = _Server(service, announce)
    sys.setswitchinterval(_SWITCH)
    threads.share_heaps(_ARENAS)
    gc.freeze()  # all that is loaded by now stays
    gc.set_threshold(*_COLLECTIONS)
    # Before uvicorn has handlers of its own a signal must not be lost. When it is done it raises the signal again, for
    # the handler before its own: the default one would end the process on the spot, with the library still open.
    handlers = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def server_config(service: Service) -> uvicorn.Config:
    """How the server is run that `service` is served by; takes as many file descriptors as it may have."""
    settings = service.settings
    limits = ConnectionLimits(
        total=connections_within(settings.max_connections, descriptors.raise_limit()),
        per_client=settings.max_client_connections,
        head_seconds=settings.head_timeout,
        body_seconds=settings.body_timeout,
        trusted_proxies=settings.trusted_proxies,
    )
    return uvicorn.Config(
        create_app(service=service),
        http=cast(type[asyncio.Protocol], Connections(limits).protocol),
        ws="none",
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=settings.idle_timeout,
        timeout_graceful_shutdown=settings.shutdown_timeout + 1,  # uvicorn logs an error then: we are done before
    )


class _Server(uvicorn.Server):
    """Announces its address, and stops the service when requests have had their time: threads cannot be cancelled."""

    def __init__(self, service: Service, announce: Callable[[str, int], None]) -> None:
        super().__init__(server_config(service))
        self._seconds = service.settings.shutdown_timeout
        self._service = service
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(None if sockets is None else [])
        if sockets is not None:
            self._listen(sockets, shared=True)
        elif sys.platform != "win32":  # whose event loop has no `add_reader`
            own = [bound for server in self.servers for bound in server.sockets]
            copies = [socket.socket(fileno=os.dup(bound.fileno())) for bound in own]
            for server in self.servers:
                server.close()
            self._listen(copies, shared=False)
        for server in self.servers:
            for listening in server.sockets:
                self._announce(*listening.getsockname()[:2])
                return

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stopping = asyncio.create_task(self._stop_in_time())
        try:
            await super().shutdown(sockets)
        finally:
            stopping.cancel()
            await asyncio.to_thread(self._service.stop)

    def _listen(self, sockets: Sequence[socket.socket], *, shared: bool) -> None:
        mine, backlog = self.server_state.connections, self.config.backlog
        listeners = [Listener(bound, self._protocol, mine, backlog, shared=shared) for bound in sockets]
        self.servers = [cast(asyncio.Server, listener) for listener in listeners]

    def _protocol(self) -> asyncio.Protocol:
        make = cast(Callable[..., asyncio.Protocol], self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for connections and requests, and cut off those that take too long: a slow reader is no error."""
        try:
            async with asyncio.timeout(self._seconds):
                await super()._wait_tasks_to_complete()
        except TimeoutError:
            logger.warning("the time to stop is over: %d connections are cut off", len(self.server_state.connections))
            for task in self.server_state.tasks:
                task.cancel()

    async def _stop_in_time(self) -> None:
        await asyncio.sleep(self._seconds)
        await asyncio.to_thread(self._service.stop)
