"""Several machines on one: network namespaces on a bridge, 10.77.0.1. Needs root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess

GATEWAY = "10.77.0.1"
_BRIDGE = "visem-br"


def absent() -> str | None:
    """What is missing to have several machines."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)  # noqa: S607
    return None if tried.returncode == 0 else "this machine allows no network namespaces"


class Hosts:
    """A bridge with machines on it, which is removed in the end. A machine can be cut off and connected again."""

    def __enter__(self) -> Hosts:
        self._remove()
        _ip(f"link add {_BRIDGE} type bridge")
        _ip(f"addr add {GATEWAY}/24 dev {_BRIDGE}")
        _ip(f"link set {_BRIDGE} up")
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def add(self, name: str, address: str) -> list[str]:
        """Add a machine with an address; return what to put before a command so that it runs there."""
        _ip(f"netns add {name}")
        _ip(f"link add {name} type veth peer name eth0 netns {name}")
        _ip(f"link set {name} master {_BRIDGE} up")
        _ip(f"-n {name} addr add {address}/24 dev eth0")
        _ip(f"-n {name} link set eth0 up")
        _ip(f"-n {name} link set lo up")
        return ["ip", "netns", "exec", name]

    def cut(self, name: str) -> None:
        """Pull the cable: nobody is told, packets are lost."""
        _ip(f"link set {name} nomaster")

    def connect(self, name: str) -> None:
        """Put it in again."""
        _ip(f"link set {name} master {_BRIDGE}")

    def _remove(self) -> None:
        for name in _ip("netns list").splitlines():  # of a run that was killed, too
            if name.startswith("visem-"):
                _ip(f"netns del {name.split()[0]}")
        _ip(f"link del {_BRIDGE}", check=False)


def _ip(arguments: str, *, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, check=False, text=True)  # noqa: S603, S607
    assert not check or done.returncode == 0, f"ip {arguments}: {done.stderr}"
    return done.stdout
