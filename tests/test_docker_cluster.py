"""The cluster of docker/cluster: what its files promise, as far as it can be told without an engine."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.http.problem_responses import ProblemResponse
from app.problems import PROBLEMS, Problem
from app.settings import Settings
from index import LibraryConfig
from index.opening import require_library
from tests.repository import ROOT, files
from tests.servers import nginx
from tests.test_docker import SERVICES as SINGLE

FOLDER = ROOT / "docker" / "cluster"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REPLICAS = {name: service for name, service in SERVICES.items() if name.startswith("visem-")}
NGINX = (FOLDER / "nginx.conf").read_text(encoding="utf-8")


def addresses() -> set[str]:
    return {service["networks"]["cluster"]["ipv4_address"] for service in REPLICAS.values()}


def test_there_are_three_replicas_and_the_balancer_knows_them() -> None:
    assert len(REPLICAS) == 3
    for upstream in re.findall(r"upstream \w+ \{(.*?)\}", NGINX, re.DOTALL):
        assert set(re.findall(r"server ([\d.]+):8000", upstream)) == addresses()


@pytest.mark.parametrize("name", REPLICAS)
def test_a_replica_has_settings_that_exist_and_keeps_nothing_itself(name: str) -> None:
    environment = REPLICAS[name]["environment"]
    named = {key for key in environment if key.startswith("VISEM_")}
    assert named <= {f"VISEM_{field.upper()}" for field in Settings.model_fields}
    assert {"VISEM_CATALOG", "VISEM_VECTORS", "VISEM_CONTENT", "VISEM_API_KEY"} <= named
    assert environment["VISEM_TRUSTED_PROXIES"] == SERVICES["nginx"]["networks"]["cluster"]["ipv4_address"]
    for confinement in ("read_only", "cap_drop", "security_opt", "stop_grace_period", "init"):
        assert REPLICAS[name][confinement] == SINGLE["visem"][confinement]


def test_the_urls_are_those_of_engines_that_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pymilvus")
    environment = REPLICAS["visem-1"]["environment"]
    filled = {key: re.sub(r"\$\{\w+:\?[^}]*\}", "0123456789abcdef", str(value)) for key, value in environment.items()}
    for key, value in filled.items():
        if value != "None":
            monkeypatch.setenv(key, value)
    settings = Settings()
    assert settings.catalog is not None
    require_library(LibraryConfig(tmp_path, settings.catalog, settings.vectors, settings.content))
    hosts = re.findall(r"(?:@|//)(\w+)[:/]", f"{settings.catalog} {settings.vectors} {filled['AWS_ENDPOINT_URL_S3']}")
    assert set(hosts) - {"visem"} == {"postgres", "milvus", "minio"}


def complaints(document: dict[str, Any]) -> list[str]:
    """What is wrong with a compose file by the schema of Docker Compose 1.29.2 (Apache License 2.0)."""
    schema = json.loads((ROOT / "tests" / "fixtures" / "compose_spec.json").read_text(encoding="utf-8"))
    schema["properties"]["name"] = {"type": "string"}  # younger than that version
    found = jsonschema.Draft201909Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.mark.parametrize("folder", [ROOT, FOLDER])
def test_compose_files_are_of_the_schema(folder: Path) -> None:
    document = yaml.safe_load((folder / "docker-compose.yml").read_text(encoding="utf-8"))
    assert complaints(document) == []
    for service in document["services"].values():
        service["restart"] = True
        service["volume"] = []
    assert len(complaints(document)) >= 2 * len(document["services"])


def test_what_is_waited_for_is_there_and_can_be_told() -> None:
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            assert name in SERVICES
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name], name


def test_every_volume_is_declared_and_every_image_has_a_version() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (FOLDER / source).exists(), source
        assert re.fullmatch(r"[\w/-]+:[\w.-]+", service["image"]), name


def test_secrets_are_demanded_and_not_in_any_file(tmp_path: Path) -> None:
    text = (FOLDER / "docker-compose.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{(\w*(?:PASSWORD|USER|KEY)\w*)", text))
    assert all(f"${{{name}:?" in text for name in names)
    assert not [path for path in files() if path.name == ".env"]
    shutil.copy(FOLDER / "secrets.sh", tmp_path)
    make = ["sh", str(tmp_path / "secrets.sh")]
    assert subprocess.run(make, check=False, capture_output=True).returncode == 0  # noqa: S603
    made = (tmp_path / ".env").read_text()
    values = dict(line.split("=") for line in made.splitlines())
    assert set(values) == names
    assert len({value for value in values.values() if re.fullmatch("[0-9a-f]{48}", value)}) == 3
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert subprocess.run(make, check=False, capture_output=True).returncode == 1  # noqa: S603
    assert (tmp_path / ".env").read_text() == made


def test_nginx_words_problems_as_the_replicas_do() -> None:
    documents = [json.loads(found) for found in re.findall(r"return \d+ '(.*)';", NGINX)]
    assert {document["code"] for document in documents} == {
        "replica_away",
        "internal_error",
        "head_too_large",
        "http_error",
    }
    for document in documents:
        ours = json.loads(bytes(ProblemResponse(Problem(document["code"], "detail"), "id").body))
        assert document.keys() == ours.keys()
        kind = PROBLEMS[document["code"]]
        assert (document["status"], document["title"], document["type"]) == (kind.status, kind.title, ours["type"])


@pytest.mark.skipif(nginx.nginx() is None, reason="nginx is not installed (Debian: apt-get install nginx)")
def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    assert nginx.complaints(FOLDER / "nginx.conf", tmp_path) == ""


def composes() -> bool:
    """Whether there is `docker compose`."""
    docker = shutil.which("docker")
    return docker is not None and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode  # noqa: S603


@pytest.mark.skipif(not composes(), reason="docker compose is not installed")
def test_docker_accepts_the_file(tmp_path: Path) -> None:
    secrets = tmp_path / ".env"
    secrets.write_text("POSTGRES_PASSWORD=a\nMINIO_ROOT_USER=b\nMINIO_ROOT_PASSWORD=c\nVISEM_API_KEY=d\n")
    command = ["docker", "compose", "--env-file", secrets, "-f", FOLDER / "docker-compose.yml", "config", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr


@contextmanager
def balancing(tmp_path: Path, *replicas: int) -> Iterator[int]:
    """Run nginx with our configuration, on another port, before replicas on ports of this machine; give its port."""
    port = free_port()
    ports = iter([*replicas, *(free_port() for _ in range(3 - len(replicas)))] * 2)
    text = re.sub(r"server 10\.77\.0\.\d+:8000", lambda _: f"server 127.0.0.1:{next(ports)}", NGINX)
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(text.replace("listen 8080;", f"listen 127.0.0.1:{port};"))
    with nginx.serving(configuration, tmp_path / "nginx", ("127.0.0.1", port)):
        yield port


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, b"body" if method == "POST" else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.skipif(nginx.nginx() is None, reason="nginx is not installed (Debian: apt-get install nginx)")
def test_without_a_replica_nginx_answers_with_problems(tmp_path: Path) -> None:
    with balancing(tmp_path) as port:
        for method, path in (("GET", "/v1/images"), ("POST", "/v1/search"), ("POST", "/v1/images"), ("GET", "/")):
            status, problem = ask(port, method, path)
            assert (status, problem["status"], problem["code"]) == (503, 503, "replica_away"), (method, path)
        status, problem = ask(port, "GET", "/v1/images", long="x" * 70_000)
        assert (status, problem["code"]) == (431, "head_too_large")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
            assert b"/problems/http_error" in connection.makefile("rb").read()


@pytest.mark.skipif(nginx.nginx() is None, reason="nginx is not installed (Debian: apt-get install nginx)")
def test_one_replica_is_enough(tmp_path: Path) -> None:
    """Two of three do not listen: reads and writes arrive at the third one, whole, and so do its own problems."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = {"path": self.path, "body": body.decode(), "from": self.headers["X-Forwarded-For"]}
            answer = json.dumps(told).encode()
            self.send_response(503 if self.path == "/v1/away" else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the output of the tests is not the place."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with balancing(tmp_path, server.server_port) as port:
                for path in ("/v1/images?x=1", "/v1/search/image", "/results", "/v1/map"):
                    told = {"path": path, "body": "body", "from": "127.0.0.1"}
                    assert [ask(port, "POST", path) for _ in range(4)] == [(200, told)] * 4
                    assert ask(port, "GET", path) == (200, {**told, "body": ""})
                assert ask(port, "GET", "/v1/away")[0] == 503
        finally:
            server.shutdown()
            thread.join()
