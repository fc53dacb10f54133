"""Addresses: who counts as one client, for everything that is shared among clients, and what this machine is."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache

from starlette.types import Scope

from app.settings import Network

LEFT = "client_left"
"""Where the state of a request has what `has_left` returns."""

_LONGEST = 100  # characters of an address: what is longer is none, and is not remembered


def client_name(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one subscriber has."""
    return _client_name(address) if len(address) <= _LONGEST else address


@lru_cache(maxsize=1024)
def _client_name(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket, or a test client
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def client_of(scope: Scope) -> str:
    """The client of a request: behind a trusted proxy, the one that the proxy names."""
    address, _ = scope.get("client") or ("", 0)
    return client_name(address)


def has_left(scope: Scope) -> Callable[[], bool]:
    """What tells, in any thread, whether the client of a request has hung up; never, where no connection is known."""
    known: Callable[[], bool] = scope.get("state", {}).get(LEFT, lambda: False)
    return known


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Whether an address is that of a trusted proxy."""
    try:
        return any(ipaddress.ip_address(address) in network for network in proxies)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself: localhost, 127.0.0.0/8 or ::1, with brackets or without."""
    return len(host) <= _LONGEST and _is_loopback(host)


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    host = host.removeprefix("[").removesuffix("]")
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False
