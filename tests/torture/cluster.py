"""A cluster on one machine, with real engines and real faults: what is around the clients of tests/torture/history."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.repository import ROOT
from tests.servers import hosts, nginx
from tests.servers.hosts import GATEWAY, Hosts
from tests.servers.milvus import MilvusServer
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import CREDENTIALS, s3_server

BALANCER = "10.77.0.2"
REPLICAS = ("10.77.0.11", "10.77.0.12", "10.77.0.13")
KEY = "a-key-for-the-cluster-of-the-tests"
CONFIGURATION = ROOT / "docker" / "cluster" / "nginx.conf"
_S3 = """
pid nginx.pid;
events {{}}
http {{
    access_log off; keepalive_timeout 0; client_max_body_size 0; client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path unused; uwsgi_temp_path unused; scgi_temp_path unused;
    server {{
        listen {gateway}:9000;
        location / {{
            if (-f {flag}) {{ return 503; }}
            proxy_pass {address}; proxy_set_header Host $http_host; proxy_http_version 1.1;
        }}
    }}
}}
"""


class Replica:
    """`visem serve` on a machine of its own."""

    def __init__(self, address: str, machine: list[str], folder: Path, settings: dict[str, str]) -> None:
        self.address = f"{address}:8000"
        self.log = folder / "log"
        self.settings = {
            **settings,
            "VISEM_HOST": address,
            "VISEM_PORT": "8000",
            "VISEM_LIBRARY": str(folder / "library"),
        }
        self._command = [*machine, str(Path(sys.executable).with_name("visem")), "serve"]
        folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command, env={**os.environ, **self.settings}, stderr=log
            )

    def wait(self) -> None:
        """Wait until it is ready."""
        deadline = time.monotonic() + 120
        while not self._is_ready():
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"a replica does not get ready: {self.log.read_text()[-3000:]}"
            time.sleep(0.2)

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order; its exit code."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@dataclass
class Cluster:
    """Three replicas behind nginx, and their engines, each of which can be made to fail."""

    hosts: Hosts
    postgres: PostgresServer
    milvus: MilvusServer
    replicas: list[Replica]
    environment: dict[str, str]
    s3_flag: Path

    address = f"{BALANCER}:8080"

    def cut(self, number: int) -> None:
        """Cut a replica off from the others, the engines and the balancer."""
        self.hosts.cut(f"visem-{number + 1}")

    def connect(self, number: int) -> None:
        """Connect it again."""
        self.hosts.connect(f"visem-{number + 1}")


def absent() -> str | None:
    """What is missing on this machine."""
    return hosts.absent() or (None if nginx.nginx() else "nginx is not installed (Debian: apt-get install nginx)")


@contextmanager
def cluster(folder: Path, milvus_python: Path, bundle: Path, **settings: str) -> Iterator[Cluster]:
    """Run a cluster while the context lasts, with everything in a folder."""
    import boto3

    with ExitStack() as running:
        machines = running.enter_context(Hosts())
        postgres = running.enter_context(PostgresServer(GATEWAY))
        milvus = running.enter_context(MilvusServer(milvus_python, folder / "milvus"))
        moto = running.enter_context(s3_server(folder))
        boto3.session.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        ).client("s3", endpoint_url=moto).create_bucket(Bucket="visem")
        flag = folder / "unavailable"
        proxy = folder / "s3.conf"
        proxy.write_text(_S3.format(gateway=GATEWAY, flag=flag, address=moto))
        running.enter_context(nginx.serving(proxy, folder / "s3", (GATEWAY, 9000)))
        environment = {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL_S3": f"http://{GATEWAY}:9000",
            "VISEM_CATALOG": f"postgresql+psycopg://visem@{GATEWAY}/visem",
            "VISEM_VECTORS": f"milvus+http://{GATEWAY}:{milvus.port}/cluster",
            "VISEM_CONTENT": "s3://visem/library",
            "VISEM_BUNDLE": str(bundle),
            "VISEM_DEVICE": "cpu",
            "VISEM_API_KEY": KEY,
            "VISEM_TRUSTED_PROXIES": BALANCER,
            **settings,
        }
        replicas = []
        for number, address in enumerate(REPLICAS):
            machine = machines.add(f"visem-{number + 1}", address)
            replicas.append(Replica(address, machine, folder / f"replica-{number + 1}", environment))
        balancer = machines.add("visem-nginx", BALANCER)
        for replica in replicas:
            running.callback(replica.stop)
            replica.start()
        for replica in replicas:
            replica.wait()
        running.enter_context(nginx.serving(CONFIGURATION, folder / "nginx", (BALANCER, 8080), balancer))
        yield Cluster(machines, postgres, milvus, replicas, environment, flag)
