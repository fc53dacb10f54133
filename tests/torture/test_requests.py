"""Requests that are made from our OpenAPI document, valid ones and invalid ones: each gets a proper answer."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import Unsatisfiable

from app.main import create_app
from app.service import Service
from app.settings import Settings
from model.space import JointSpace
from tests.app.helpers import ADDRESS, picture


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and schemathesis takes a second."""
    global Case, GenerationMode, NOT_SET, requests, schemathesis
    import requests
    import schemathesis
    from schemathesis import Case, GenerationMode
    from schemathesis.core import NOT_SET


FEWEST = 4
EXAMPLES = 200 if os.environ.get("TORTURE") else FEWEST
"""Requests for each operation and kind: valid, and invalid. A slow machine sends fewer, but never less than FEWEST."""
SECONDS = 240
UNAVAILABLE = {501, 503}
"""What a service may say that is no error of its own: there is no captioner, or there is too much to do."""
TEXTS = ("a dog", "red - (", "image:0 - blue", "a\0b", "x" * 5000, "2024-02-30", "-91,181,1", "🐕", "ß" * 300)


@strategies.composite
def image_files(draw: strategies.DrawFn) -> bytes:
    """A photograph, some of them cut off or with bytes that were changed."""
    data = bytearray(picture(draw(strategies.integers(0, 29))))
    places = strategies.integers(0, len(data) - 1)
    for at in draw(strategies.lists(places, max_size=20)):
        data[at] = draw(strategies.integers(0, 255))
    return bytes(data[: draw(strategies.integers(1, len(data)))] if draw(strategies.integers(0, 9)) == 0 else data)


def send(client: TestClient, case: Case) -> Any:
    """Send a case as the library `requests` would."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url=ADDRESS)).prepare()
    headers = {name: value.encode(errors="replace") for name, value in prepared.headers.items()}
    return client.request(prepared.method or "", prepared.url or "", content=prepared.body, headers=headers)


def with_ours(case: Case, known: list[str], data: strategies.DataObject) -> None:
    """Put ids and texts that mean something, and photographs, in the place of most that is made up."""
    pick = strategies.sampled_from
    for name in case.path_parameters or {}:
        if known and data.draw(strategies.integers(0, 9)) < 7:
            case.path_parameters[name] = data.draw(pick(known))
    for name, value in (case.query or {}).items():
        if isinstance(value, str) and data.draw(strategies.booleans()):
            case.query[name] = data.draw(pick([*TEXTS, *(f"image:{id} + red" for id in known[:3])]))
    if case.body is not NOT_SET and isinstance(case.body, dict) and "multipart" in (case.media_type or ""):
        for name, value in case.body.items():
            if isinstance(value, bytes) and data.draw(strategies.integers(0, 9)) < 8:
                case.body[name] = data.draw(image_files())
            elif isinstance(value, list) and any(isinstance(one, bytes) for one in value):
                case.body[name] = data.draw(strategies.lists(image_files(), max_size=3))


@pytest.fixture
def client(space: JointSpace, tmp_path: Path) -> Any:
    with (
        Service.open(Settings(library=tmp_path / "library"), space=space) as service,
        TestClient(create_app(service=service), base_url=ADDRESS, raise_server_exceptions=False) as client,
    ):
        yield client
        assert service.library.check(deep=True) == []


def ask(client: TestClient, cases: strategies.SearchStrategy[Case], end: float) -> Counter[int]:
    """Send requests until the end, and FEWEST in any case; return how often each status came back."""
    if len(client.get("/v1/images?limit=5").json()["items"]) < 5:  # some may have been deleted
        for number in range(5):
            client.post("/v1/images", files={"files": ("a.jpg", picture(number))})
    known = [one["id"] for one in client.get("/v1/images?limit=20").json()["items"]]
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(cases, strategies.data())
    def each(case: Case, data: strategies.DataObject) -> None:
        with_ours(case, known, data)  # in any case: what is drawn must not depend on the time
        if time.monotonic() > end and statuses.total() >= FEWEST:
            return
        response = send(client, case)
        statuses[response.status_code] += 1
        what = f"{case.method} {case.formatted_path}: {response.status_code} {response.text[:1000]}"
        assert response.status_code < 500 or response.status_code in UNAVAILABLE, what
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json", what
            problem = response.json()
            assert problem["status"] == response.status_code, what
            assert client.get(problem["type"]).status_code == 200, what

    each()
    return statuses


def test_every_request_gets_a_proper_answer(client: TestClient, record_property: Callable[[str, object], None]) -> None:
    sent: Counter[GenerationMode] = Counter()
    welcome: list[float] = []  # which share of its valid requests each operation answered
    document = client.get("/openapi.json").json()
    operations = list(schemathesis.openapi.from_dict(document).get_all_operations())
    share = SECONDS / (len(operations) * len(GenerationMode))
    for operation in operations:
        for mode in GenerationMode:
            try:
                end = time.monotonic() + share
                found = ask(client, operation.ok().as_strategy(generation_mode=mode), end)
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, "only of valid requests there have to be some"
                continue
            sent[mode] += found.total()
            if mode is GenerationMode.POSITIVE:
                welcome.append(sum(found[status] for status in found if status < 300) / found.total())
    record_property("requests", sent.total())
    assert sum(welcome) > 0.25 * len(welcome), welcome  # it is not all refused at the door
