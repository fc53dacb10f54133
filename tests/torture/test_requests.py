"""Requests that are made from our OpenAPI document, valid ones and all but valid ones: each gets a proper answer."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from app.main import create_app
from app.service import Service
from app.settings import Settings
from model.space import JointSpace
from tests.app.helpers import ADDRESS, picture

COUNT = 20_000 if os.environ.get("TORTURE") else 150
SECONDS = 240
UNAVAILABLE = {501, 503}
"""What a service may say that is no error of its own: there is no captioner, or there is too much to do."""
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", " ", "a\0b", "\ud800", "x" * 5000, "../../etc/passwd",
    [], {}, [[[]]], {"a": {"b": []}}, "image:0 - blue", "2024-02-30", "-91,181,1", "%00", "ß" * 300, "dog", "🐕",
)  # fmt: skip


class Requests:
    """Makes requests of a document, at random."""

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self.known: list[str] = []
        self._schemas = document["components"]["schemas"]
        self._random = random.Random(seed)  # noqa: S311  # nothing secret
        self._operations = [
            (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]

    def next(self) -> tuple[str, str, dict[str, Any]]:
        """Method, path, and arguments for the client."""
        method, path, operation = self._random.choice(self._operations)
        query: list[tuple[str, str]] = []
        for parameter in operation.get("parameters", []):
            value = self._value(parameter.get("schema", {}))
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", _in_path(self._id() if self._often() else value))
            elif parameter.get("required") or self._random.random() < 0.3:
                query.append((parameter["name"], _text(value)))
        options: dict[str, Any] = {"params": query}
        bodies = operation.get("requestBody", {}).get("content", {})
        if bodies:
            kind, body = self._random.choice(list(bodies.items()))
            options |= self._form(body["schema"]) if kind.startswith("multipart") else self._json(body["schema"])
        return method.upper(), path, options

    def _json(self, schema: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(self._value(schema)).encode()
        if self._random.random() < 0.05:
            text = text[: self._random.randrange(len(text) + 1)]
        return {"content": text, "headers": {"Content-Type": "application/json"}}

    def _form(self, schema: dict[str, Any]) -> dict[str, Any]:
        files: list[tuple[str, Any]] = []
        for name, field in self._resolved(schema).get("properties", {}).items():
            if "binary" in json.dumps(field):
                count = self._random.choice((1, 1, 1, 0, 2))
                files.extend((name, ("a.jpg", self._image(), "image/jpeg")) for _ in range(count))
            elif self._random.random() < 0.3:
                files += [(name, (None, _text(self._value(field)).encode(errors="replace")))]
        return {"files": files or [("x", (None, b"x"))]}

    def _image(self) -> bytes:
        data = bytearray(picture(self._random.randrange(30)))
        if self._random.random() < 0.4:
            for _ in range(self._random.randrange(1, 20)):
                data[self._random.randrange(len(data))] = self._random.randrange(256)
        return bytes(data[: self._random.randrange(len(data))] if self._random.random() < 0.1 else data)

    def _often(self) -> bool:
        return self._random.random() < 0.7

    def _id(self) -> str:
        return self._random.choice(self.known) if self.known else "none"

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def _value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """A value that a schema allows, or, now and then, anything."""
        schema = self._resolved(schema)
        if depth > 6 or self._random.random() < 0.08:
            return self._random.choice(JUNK)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self._value(self._random.choice(schema[several]), depth + 1)
        if "enum" in schema or "const" in schema:
            return self._random.choice(schema.get("enum") or [schema["const"]])
        if schema.get("examples") and self._random.random() < 0.4:
            return self._random.choice(schema["examples"])
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                return [self._value(schema.get("items", {}), depth + 1) for _ in range(self._random.randrange(4))]
            case "integer":
                return self._random.choice(
                    (schema.get("minimum", 0), schema.get("maximum", 9), self._random.randrange(20))
                )
            case "number":
                return self._random.choice((schema.get("minimum", 0), schema.get("maximum", 1), self._random.random()))
            case "boolean":
                return self._random.random() < 0.5
            case "string":
                return self._random.choice(("a dog", "image:" + self._id(), self._id(), "red + dog", "red - (", "a"))
        return self._random.choice(JUNK)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        made = {
            name: self._value(value, depth + 1)
            for name, value in schema.get("properties", {}).items()
            if name in required or self._random.random() < 0.5
        }
        if schema.get("additionalProperties") or self._random.random() < 0.05:
            made[_text(self._random.choice(JUNK))] = self._random.choice(JUNK)
        return made


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()[:6000]


def _in_path(value: Any) -> str:
    return (
        "".join(one if one.isalnum() and one.isascii() else f"%{ord(one) % 256:02x}" for one in _text(value)[:300])
        or "x"
    )


def test_every_request_gets_a_proper_answer(space: JointSpace, tmp_path: Path) -> None:
    settings = Settings(library=tmp_path / "library")
    with (
        Service.open(settings, space=space) as service,
        TestClient(create_app(service=service), base_url=ADDRESS, raise_server_exceptions=False) as client,
    ):
        requests = Requests(client.get("/openapi.json").json(), seed=20261129)
        statuses: Counter[int] = Counter()
        end = time.monotonic() + SECONDS
        for number in range(COUNT):
            if number % 50 == 0:
                requests.known = [one["id"] for one in client.get("/v1/images?limit=20").json()["items"]]
                if time.monotonic() > end:
                    break
            method, path, options = requests.next()
            response = client.request(method, path, **options)
            what = f"{method} {path} {str(options)[:1000]}: {response.status_code} {response.text[:1000]}"
            statuses[response.status_code] += 1
            assert response.status_code < 500 or response.status_code in UNAVAILABLE, what
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json", what
                problem = response.json()
                assert problem["status"] == response.status_code, what
                assert client.get(problem["type"]).status_code == 200, what
        assert statuses[200] > sum(statuses.values()) / 10, statuses  # it is not all refused at the door
        assert service.library.check(deep=True) == []
