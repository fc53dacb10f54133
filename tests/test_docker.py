"""The container: what Dockerfile and docker-compose.yml promise, as far as it can be told without an engine."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from app.settings import Settings
from tests.repository import ROOT, project

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions(stage: str) -> list[tuple[str, str]]:
    """The instructions of a stage, those of its base stages first."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            current = stages[name] = list(stages.get(base, []))
        else:
            current.append((keyword, rest.strip()))
    return stages[stage]


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_the_process_is_not_root(stage: str) -> None:
    users = [rest for keyword, rest in instructions(stage) if keyword == "USER"]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_the_default_stage_is_for_the_cpu() -> None:
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE)[-1] == "cpu"


def test_the_interpreter_is_pinned_and_new_enough() -> None:
    image = re.search(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+\.\d+)-slim-\w+$", DOCKERFILE, re.MULTILINE)

    assert image is not None
    assert SpecifierSet(project()["requires-python"]).contains(image[1])


def test_what_is_copied_is_there_and_not_ignored() -> None:
    admitted = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    copies = [rest for stage in ("build", "runtime") for keyword, rest in instructions(stage) if keyword == "COPY"]
    sources = [
        source
        for rest in copies
        if "--from" not in rest
        for source in [word for word in rest.split() if not word.startswith("--")][:-1]
    ]

    assert {"app", "model", "index", "constraints.txt"} <= {source.removeprefix("./") for source in sources}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in admitted), source


def test_requirements_are_those_of_the_project() -> None:
    script = ROOT / "docker" / "requirements.py"
    command = [sys.executable, script, ROOT / "pyproject.toml", "jxl", "raw"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()  # noqa: S603

    wanted = {
        *project()["dependencies"],
        *project()["optional-dependencies"]["jxl"],
        *project()["optional-dependencies"]["raw"],
    }
    assert wanted < set(printed)
    assert [line for line in printed if line.startswith("setuptools")]


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["${VISEM_HOST:-127.0.0.1}:${VISEM_PORT:-8000}:8000"]
    assert service["volumes"] == ["library:/library"]
    assert f"{service['build']['target']}" in {"cpu", "cuda"}


def test_only_the_cpu_starts_by_default() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["visem"]


def service_address(name: str) -> str:
    """Where on the host a service is published, as the file has it."""
    (ports,) = SERVICES[name]["ports"]
    address, _, _ = str(ports).rpartition(":${VISEM_PORT")
    return address


@pytest.mark.parametrize("name", SERVICES)
def test_every_setting_reaches_the_container(name: str) -> None:
    environment = SERVICES[name]["environment"]
    settings = {f"VISEM_{field.upper()}" for field in Settings.model_fields}

    assert {key for key in environment if key.startswith("VISEM_")} == settings - {"VISEM_DEVICE"}
    assert environment["VISEM_HOST"] == "0.0.0.0"  # noqa: S104  # inside the container
    assert environment["VISEM_PUBLISHED_HOST"] == service_address(name)
    fixed = {"VISEM_HOST", "VISEM_PUBLISHED_HOST", "VISEM_PORT", "VISEM_LIBRARY"}
    assert {key for key, value in environment.items() if value is not None} == fixed


def test_docker_waits_longer_than_the_service_takes_to_stop() -> None:
    for service in SERVICES.values():
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert grace > Settings.model_fields["shutdown_timeout"].default


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /readyz with a status, and everything else with 404; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the output of the tests is not the place."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def healthcheck(port: int) -> int:
    script = ROOT / "docker" / "healthcheck.py"
    # A proxy of the host, which docker passes on to containers, must not be asked.
    environment = {"VISEM_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, script], env=environment, timeout=30).returncode  # noqa: S603


def test_health_is_that_of_readyz() -> None:
    with answering(200) as port:
        assert healthcheck(port) == 0
    with answering(503) as port:
        assert healthcheck(port) == 1
    assert healthcheck(port) == 1  # nobody listens there any more


def test_the_image_runs_the_healthcheck() -> None:
    checks = [rest for keyword, rest in instructions("cpu") if keyword == "HEALTHCHECK"]
    copied = next(rest for _, rest in instructions("cpu") if "healthcheck.py /" in rest).split()[-1]

    assert len(checks) == 1
    assert f'"{copied}"' in checks[0]
    assert Path(copied).is_absolute()
