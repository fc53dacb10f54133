"""The loads of benchmarks/overload.py, each in a process of its own: `python -m benchmarks.overload_loads PORT NAME`.

It prepares its requests, writes a line, and begins when it is told a line. It ends with its standard input, and writes
a document: how many answers there were of each kind, and how long refusals took. Its priority is the lowest, because it
shares the cores of the service that it loads. So what it waits for is also its turn, and benchmarks/overload.py has
refusals of its own to measure.

Clients have addresses of their own, 127.0.0.x, since a service shares what it has between addresses. They try again
when `Retry-After` says so, and after some seconds where the connection was closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import quote

import numpy as np

from tests.app.helpers import form, picture
from tests.model.images.files import progressive_jpeg

MEBIBYTE = 1024 * 1024
RAMP = 2.0
"""Seconds within which the clients of a load begin."""
_PIECE = 64 * 1024
_PATIENCE = 120.0
_LEFT = "connection lost"


@dataclass(frozen=True)
class Answer:
    """What was answered. `seconds` from the end of the head that was sent until the head of the answer was there."""

    status: int
    code: str
    seconds: float
    retry_after: float


@dataclass(frozen=True)
class Request:
    """A request whose body is `prefix`, 32 bytes that are different each time, and `suffix`."""

    path: str
    kind: str = ""
    prefix: bytes = b""
    suffix: bytes = b""
    method: str = "POST"


@dataclass(frozen=True)
class Load:
    """So many clients at so many addresses, and what each of them sends: `different` requests, but for the mark."""

    clients: int
    addresses: int
    request: Callable[[int], Request]
    different: int = 20


_MARK = b"<a mark of thirty-two characters>"[:32]


def _upload(*files: bytes, field_name: str = "files", path: str = "/v1/images") -> Request:
    """A form whose last file has another end each time: the same picture, but another content."""
    body, kind = form({}, [*((field_name, data) for data in files[:-1]), (field_name, files[-1] + _MARK)])
    prefix, _, suffix = body.rpartition(_MARK)
    return Request(path, kind, prefix, suffix)


def _long_texts(number: int) -> Request:
    text = "a brown dog runs over the wet beach behind a ball and another one follows it " * 6
    document = {"texts": [f"{text} {number} {n} {_MARK.decode() if n == 0 else ''}" for n in range(256)]}
    prefix, _, suffix = json.dumps(document).encode().partition(_MARK)
    return Request("/v1/embeddings", "application/json", prefix, suffix)


def _map(number: int) -> Request:
    return Request(f"/v1/map?limit=5000&words={quote(f'dog,cat,{number} cars,')}", method="GET")


LOADS: dict[str, Load] = {
    "500 uploads": Load(500, 4, lambda number: _upload(picture(number, 1600, 1200))),
    "20 files of 45 MB": Load(20, 1, lambda number: _upload(picture(number) + _NOISE), different=2),
    "60 forms of 64 files": Load(
        60, 1, lambda number: _upload(*(picture(64 * number + n, 640, 480) for n in range(64)))
    ),
    "50 captions": Load(
        50, 1, lambda number: _upload(picture(number, 640, 480), field_name="image", path="/v1/captions")
    ),
    "50 times 256 long texts": Load(50, 1, _long_texts),
    "50 maps": Load(50, 1, _map),
    "slow JPEGs": Load(
        8, 1, lambda number: _upload(progressive_jpeg(4000, 4000, 4000 if number % 2 else 80))
    ),  # every other one is as slow as is allowed
    "1,000 idle sockets": Load(1000, 5, lambda _: Request("")),
}
_NOISE = np.random.default_rng(0).integers(0, 256, 45 * MEBIBYTE, dtype=np.uint8).tobytes()


async def ask(port: int, source: str, request: Request, mark: bytes) -> Answer:
    """Send a request in a connection of its own. An answer that comes before all is sent ends it. OSError."""
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    sending: asyncio.Task[None] | None = None
    try:
        size = len(request.prefix) + len(mark) + len(request.suffix) if request.kind else 0
        head = f"{request.method} {request.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        if request.kind:
            head += f"Content-Type: {request.kind}\r\nContent-Length: {size}\r\n"
        writer.write(head.encode() + b"\r\n")
        begun = time.monotonic()
        sending = asyncio.create_task(_send(writer, [request.prefix, mark, request.suffix] if size else []))
        async with asyncio.timeout(_PATIENCE):
            answered = await reader.readuntil(b"\r\n\r\n")
            seconds = time.monotonic() - begun
            status = int(answered.split(None, 2)[1])
            body = await reader.read()
        headers = answered.decode("latin-1").lower().split("\r\n")
        told = next((line.partition(":")[2] for line in headers if line.startswith("retry-after:")), "1")
        return Answer(status, _code(body) if status >= 400 else "", seconds, float(told))
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the connection ended before there was an answer") from error
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, parts: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # the answer says why
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), _PIECE):
                writer.write(view[start : start + _PIECE])
                await writer.drain()


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["code"])
    except (ValueError, KeyError, TypeError):
        return "no problem document"


@dataclass
class Outcome:
    """How many answers there were of each kind, and seconds until refusals."""

    answers: Counter[str] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)

    def note(self, answer: Answer) -> None:
        """Count an answer."""
        self.answers[f"{answer.status} {answer.code}".strip()] += 1
        if answer.status == 503:
            self.refused.append(answer.seconds)


async def _client(port: int, source: str, request: Request, outcome: Outcome, marks: count[int]) -> None:
    await asyncio.sleep(random.uniform(0, RAMP))  # noqa: S311  # no secret
    while True:
        try:
            answer = await ask(port, source, request, b"%032d" % next(marks))
        except OSError:
            outcome.answers[_LEFT] += 1
            await asyncio.sleep(random.uniform(2, 8))  # noqa: S311  # no secret
            continue
        outcome.note(answer)
        if answer.status == 503:
            await asyncio.sleep(answer.retry_after)


async def _idler(port: int, source: str, outcome: Outcome) -> None:
    """Connect, say nothing, and connect again some seconds after the service has closed the connection."""
    await asyncio.sleep(random.uniform(0, RAMP))  # noqa: S311  # no secret
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            await reader.read()
            writer.transport.abort()
            outcome.answers["closed"] += 1
        except OSError:
            outcome.answers["refused"] += 1
        await asyncio.sleep(random.uniform(2, 8))  # noqa: S311  # no secret


async def _run(port: int, name: str) -> Outcome:
    load = LOADS[name]
    first = 10 * (2 + list(LOADS).index(name))
    requests = [load.request(number) for number in range(min(load.clients, load.different))]
    outcome, marks = Outcome(), count(time.time_ns())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    work = []
    for number in range(load.clients):
        source, request = f"127.0.0.{first + number % load.addresses}", requests[number % len(requests)]
        work.append(_client(port, source, request, outcome, marks) if request.path else _idler(port, source, outcome))
    tasks = [asyncio.create_task(one) for one in work]
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return outcome


def main() -> None:
    """Be a load until the end of the standard input."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    outcome = asyncio.run(_run(int(sys.argv[1]), sys.argv[2]))
    sys.stdout.write(json.dumps({"answers": dict(sorted(outcome.answers.items())), "refused": outcome.refused}) + "\n")


if __name__ == "__main__":
    main()
