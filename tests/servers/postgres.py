"""A PostgreSQL server for tests: a real one, on a Unix socket in a temporary folder."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/usr/bin")
_QUICK = ("fsync", "full_page_writes", "autovacuum")


def programs() -> Path | None:
    """Return the folder with the programs of a server; None where there is none."""
    found = [path for place in _PLACES for path in sorted(Path("/").glob(f"{place[1:]}/initdb"))]
    return found[-1].parent if found else None


def absent() -> str | None:
    """Tell what is missing to run a server and to talk to it."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed (pip install '.[cluster]')"
    return None


class PostgresServer:
    """A server with a database `visem`, which can be stopped, killed and started again. It trusts who can reach it."""

    def __init__(self, address: str | None = None, data: Path | None = None) -> None:
        """With an `address`, it listens there as well, for the network around it, and takes no risks to be quick.

        It starts with a copy of `data`, if there is any: a folder of `write_data`.
        """
        self.address = address
        self._data = data
        found = programs()
        assert found is not None
        self._programs = found
        self.folder = Path(tempfile.mkdtemp(prefix="visem-pg-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # a server does not run as root
            account = next(a for name in ("postgres", "nobody") for a in pwd.getpwall() if a.pw_name == name)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresServer:
        if self._data is not None:
            self._copy(self._data)
            self.start()
            return self
        options = ["--auth=trust", "--username=visem", "--no-sync", "--encoding=UTF8", "--locale=C"]
        self._run("initdb", "--pgdata", self.folder / "data", *options)
        if self.address is not None:
            with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        self.start()
        self._run("createdb", "--host", self.folder, "--username", "visem", "visem")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def schema(self, name: str) -> str:
        """Make a schema and return the URL of it."""
        self.sql(f"CREATE SCHEMA {name}")
        return f"postgresql+psycopg://visem@/visem?host={self.folder}&options=-csearch_path%3D{name}"

    def sql(self, statement: str) -> list[Any]:
        """Run a statement and return its rows."""
        import psycopg

        with psycopg.connect(f"host={self.folder} user=visem dbname=visem", autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = [f"{name}=off" for name in _QUICK] if self.address is None else []
        settings += [
            f"listen_addresses={self.address or ''}",
            f"unix_socket_directories={self.folder}",
            "max_connections=300",
        ]
        self._server = subprocess.Popen(  # noqa: S603
            [self._programs / "postgres", "-D", self.folder / "data", *(f"--{setting}" for setting in settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self._user,
        )
        deadline = time.monotonic() + 60
        ready = [self._programs / "pg_isready", "--quiet", "--host", self.folder, "--username", "visem"]
        while subprocess.run(ready, check=False).returncode:  # noqa: S603
            assert self._server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and all connections: in order (SIGINT), or at once (SIGQUIT)."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(how)
            server.wait(timeout=60)

    def _copy(self, data: Path) -> None:
        own = shutil.copytree(data, self.folder / "data")
        if self._user:
            for path in (own, *own.rglob("*")):
                os.chown(path, self._user["user"], self._user["group"])

    def _run(self, program: str, *arguments: object) -> None:
        command = [self._programs / program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False, cwd=self.folder, **self._user)  # noqa: S603
        assert done.returncode == 0, done.stderr.decode()


def write_data(folder: Path) -> Path:
    """What a server starts with, in `folder`: an empty database `visem`. To copy it takes a tenth of making it."""
    with PostgresServer() as server:
        server.stop()
        shutil.copytree(server.folder / "data", folder)
    return folder


def version() -> str:
    """The version of the server, which its data are for: `15.8`."""
    found = programs()
    assert found is not None
    told = subprocess.run([found / "postgres", "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return told.stdout.split()[2]
