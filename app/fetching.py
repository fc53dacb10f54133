"""Fetching an image from an address of the internet, without being led into the network of the service.

Whoever asks chooses the address, and every server on the way chooses the next one. So each hop is resolved once, all
addresses of its name have to be public, and the connection goes to one of those addresses: nobody is asked again who
might answer differently. Bytes, time and hops are bounded. No proxy of the environment is asked, no cookie or key is
sent, and what the server says of the content is ignored: decoding decides.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httpcore2

from app.addresses import MAX_URL_LENGTH
from app.embedding.fairness import ShuttingDown
from app.ingest.names import display_name
from app.problems import Problem
from app.version import VERSION
from model.errors import ImageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_SECONDS = 20.0
MAX_REDIRECTS = 5
_AT_A_TIME = 4
_OVERHEAD = 512 * 1024  # bytes of heads, chunks and TLS beside the content
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_EMBEDDING = tuple(ipaddress.IPv6Network(one) for one in ("2002::/16", "2001::/32"))  # 6to4, Teredo
_SPECIAL = tuple(ipaddress.IPv4Network(one) for one in ("192.0.0.0/24", "192.88.99.0/24"))  # of protocols, 6to4


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, and does not stand for another one.

    Loopback, private, link-local, shared (CGNAT), multicast and reserved ones are not; nor are IPv6 addresses that have
    an IPv4 address in them: mapped, 6to4, Teredo and NAT64.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inside = address in _GLOBAL_UNICAST and not any(address in network for network in _EMBEDDING)
        return inside and address.scope_id is None and address.is_global
    special = address.is_multicast or any(address in network for network in _SPECIAL)
    return address.is_global and not special


class Fetcher:
    """Fetches images. Thread-safe; some at a time, and Problem overloaded for more.

    `admits` says which addresses may be asked: for tests, whose hostile server is on this machine.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        admits: Callable[[Address], bool] = is_public,
        max_seconds: float = MAX_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._admits = admits
        self._max_seconds = max_seconds
        self._tls = tls
        self._places = threading.BoundedSemaphore(_AT_A_TIME)
        self._lock = threading.Lock()
        self._closed = False
        self._awaited: set[Future[tuple[str | None, bytes]]] = set()

    def fetch(self, url: str) -> tuple[str | None, bytes]:
        """The file at an address, and its name. Problem address_refused, fetch_failed, overloaded; ImageError.

        ShuttingDown after `close`.
        """
        if not self._places.acquire(blocking=False):
            raise Problem(
                "overloaded",
                f"The service fetches {_AT_A_TIME} images at a time. This one was not begun. Try again in 2 s.",
                headers={"Retry-After": "2"},
            )
        fetched: Future[tuple[str | None, bytes]] = Future()
        with self._lock:
            if self._closed:
                self._places.release()
                raise ShuttingDown
            self._awaited.add(fetched)
        # In a thread of its own, which is left behind when the service stops: a connection that is being made cannot
        # be told so.
        threading.Thread(target=self._fetch, args=(url, fetched), name="visem-fetch", daemon=True).start()
        try:
            return fetched.result()
        except (httpcore2.TimeoutException, TimeoutError):
            raise _failed(f"it took longer than {self._max_seconds:g} seconds") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise _failed(
                f"the server could not be reached, or did not keep to HTTP ({type(error).__name__})"
            ) from error
        finally:
            with self._lock:
                self._awaited.discard(fetched)

    def close(self) -> None:
        """Fail all who wait with ShuttingDown, at once. Idempotent."""
        with self._lock:
            self._closed = True
            awaited = list(self._awaited)
        for fetched in awaited:
            with suppress(InvalidStateError):  # it came in just now
                fetched.set_exception(ShuttingDown())

    def _fetch(self, url: str, fetched: Future[tuple[str | None, bytes]]) -> None:
        try:
            found = self._follow(url)
        except BaseException as error:  # it belongs to the caller who waits
            with suppress(InvalidStateError):  # who was told to go
                fetched.set_exception(error)
        else:
            with suppress(InvalidStateError):
                fetched.set_result(found)
        finally:
            self._places.release()

    def _follow(self, url: str) -> tuple[str | None, bytes]:
        network = _Network(self._admits, time.monotonic() + self._max_seconds, self._max_bytes + _OVERHEAD)
        tls = self._tls or ssl.create_default_context()
        with httpcore2.ConnectionPool(ssl_context=tls, network_backend=network, max_connections=1) as pool:
            for _ in range(MAX_REDIRECTS + 1):
                parts = _checked(url)
                headers: dict[bytes | str, bytes | str] = {
                    "Host": parts.netloc,
                    "User-Agent": f"visem/{VERSION}",
                    "Accept": "image/*,*/*;q=0.1",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                }
                timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._max_seconds)
                target = parts._replace(fragment="").geturl()
                with pool.stream("GET", target, headers=headers, extensions={"timeout": timeouts}) as response:
                    location = _header(response.headers, b"location")
                    if response.status in _REDIRECTS and location:
                        url = _joined(url, location)
                        continue
                    if response.status != 200:
                        raise _failed(f"the server answered {response.status}")
                    return _name(parts), self._read(response)
        raise _failed(f"it was redirected more than {MAX_REDIRECTS} times")

    def _read(self, response: httpcore2.Response) -> bytes:
        announced = _header(response.headers, b"content-length")
        if announced.isdigit() and int(announced[:20]) > self._max_bytes:
            raise _too_large(self._max_bytes)
        parts: list[bytes] = []
        size = 0
        for part in response.iter_stream():
            size += len(part)
            if size > self._max_bytes:
                raise _too_large(self._max_bytes)
            parts.append(part)
        return b"".join(parts)


class _Network(httpcore2.NetworkBackend):
    """Connects to addresses that were looked at, until a point in time and for so many bytes."""

    def __init__(self, admits: Callable[[Address], bool], deadline: float, max_bytes: int) -> None:
        self._backend = httpcore2.SyncBackend()
        self._admits = admits
        self.deadline = deadline
        self.bytes_left = max_bytes

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = _resolve(host, port, self.left())
        if not addresses or not all(self._admits(address) for address in addresses):
            raise _refused(f"{host} is not on the public internet")
        stream = self._backend.connect_tcp(str(addresses[0]), port, self.left(), local_address, socket_options)
        return _Stream(stream, self)

    def left(self) -> float:
        """Seconds until the end; TimeoutError after it."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore2.ReadTimeout
        return seconds


class _Stream(httpcore2.NetworkStream):
    """A stream that keeps to the bounds of its network, however slowly bytes come."""

    def __init__(self, stream: httpcore2.NetworkStream, network: _Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._network.left())
        self._network.bytes_left -= len(data)
        if self._network.bytes_left < 0:
            raise httpcore2.RemoteProtocolError("more bytes than the content can have")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._network.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._network.left()), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve(host: str, port: int, seconds: float) -> list[Address]:
    """All addresses of a name. The resolver knows no time-out, so it is left behind if it takes too long."""
    found: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=ask, name="visem-resolver", daemon=True).start()
    try:
        answers = found.result(timeout=seconds)
    except FutureTimeout:
        raise httpcore2.ConnectTimeout from None
    except (OSError, UnicodeError):
        raise _failed("there is no server of that name") from None
    return [ipaddress.ip_address(address[0]) for *_, address in answers]


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; Problem address_refused."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise _refused("it redirects to one that cannot be read") from None


def _checked(url: str) -> SplitResult:
    """The parts of an address that may be asked; Problem address_refused."""
    if len(url) > MAX_URL_LENGTH or not url.isascii() or any(one <= " " or one == "\x7f" for one in url):
        raise _refused(f"an address has up to {MAX_URL_LENGTH} ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("it cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise _refused("only http and https are fetched")
    if "@" in parts.netloc:
        raise _refused("it has a user name or a password in it")
    if not parts.hostname or "\\" in url or port == 0:
        raise _refused("it has no usable host")
    return parts


def _name(parts: SplitResult) -> str | None:
    return display_name(unquote(parts.path.rpartition("/")[2]) or None)


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    return next((value.decode("latin-1") for one, value in headers if one.lower() == name), "")


def _too_large(limit: int) -> ImageError:
    return ImageError("image_too_large", f"The file has more than {limit:,} bytes, which is the limit.")


def _refused(reason: str) -> Problem:
    return Problem("address_refused", f"The address is not fetched: {reason}.")


def _failed(reason: str) -> Problem:
    return Problem("fetch_failed", f"The image could not be fetched: {reason}.")
