"""The OpenAPI document: complete, with a description and an example of everything, and true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

DESIGNED = {
    ("post", "/v1/captions"),
    ("post", "/v1/images"),
    ("get", "/v1/images"),
    ("get", "/v1/images/{image_id}"),
    ("patch", "/v1/images/{image_id}"),
    ("delete", "/v1/images/{image_id}"),
    ("get", "/v1/images/{image_id}/content"),
    ("get", "/v1/images/{image_id}/thumbnail"),
    ("get", "/v1/images/{image_id}/captions"),
    ("put", "/v1/images/{image_id}/captions"),
    ("delete", "/v1/images/{image_id}/captions"),
    ("post", "/v1/sentences"),
    ("get", "/v1/sentences"),
    ("get", "/v1/sentences/{sentence_id}"),
    ("delete", "/v1/sentences/{sentence_id}"),
    ("get", "/v1/map"),
    ("get", "/v1/search"),
    ("post", "/v1/search"),
    ("post", "/v1/search/image"),
    ("post", "/v1/embeddings"),
    ("get", "/v1/sources"),
    ("get", "/v1/sources/{source_id}"),
    ("patch", "/v1/sources/{source_id}"),
    ("delete", "/v1/sources/{source_id}"),
    ("post", "/v1/sources/{source_id}/rescan"),
    ("get", "/v1/sources/{source_id}/files"),
    ("get", "/v1/info"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/problems"),
    ("get", "/problems/{code}"),
}


@pytest.fixture
def document(stocked: TestClient) -> dict[str, Any]:
    response = stocked.get("/openapi.json")
    assert response.status_code == 200
    loaded: dict[str, Any] = response.json()
    return loaded


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def object_schemas(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from document["components"]["schemas"].items()
    for method, path, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                yield f"{method} {path} {media_type}", content.get("schema", {})


def test_every_operation_is_there_and_described(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == DESIGNED
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert operation["tags"], (method, path)


def test_every_parameter_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            where = (method, path, parameter["name"])
            assert parameter.get("description"), where
            examples = [
                parameter.get("example"),
                parameter.get("examples"),
                parameter["schema"].get("examples"),
            ]
            assert any(examples), where


def test_every_field_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    fields = 0
    for name, schema in object_schemas(document):
        for field, details in schema.get("properties", {}).items():
            fields += 1
            assert details.get("description"), (name, field)
            assert details.get("examples"), (name, field)
    assert fields > 100


def test_errors_are_documented_as_problems(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status in ("4XX", "5XX"):
            content = operation["responses"][status]["content"]
            schema = {"$ref": "#/components/schemas/ProblemDocument"}  # one class of a generated client for all of them
            assert content == {"application/problem+json": {"schema": schema}}, (method, path)
        assert "422" not in operation["responses"], (method, path)


def test_references_resolve(document: dict[str, Any]) -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    found = set(references(document))
    assert found
    for reference in found:
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in document["components"]["schemas"]


def test_forms_take_files(document: dict[str, Any]) -> None:
    for path, field in {
        "/v1/images": "files",
        "/v1/embeddings": "files",
        "/v1/search/image": "image",
        "/v1/captions": "image",
    }.items():
        schema = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        details = schema["properties"][field]
        assert "binary" in {details.get("format"), details.get("items", {}).get("format")}
        assert field in schema["required"]


def test_there_are_no_pages_which_load_scripts_from_elsewhere(stocked: TestClient) -> None:
    assert stocked.get("/docs").status_code == 404
    assert stocked.get("/redoc").status_code == 404


def test_the_parameters_that_are_accepted_are_those_of_the_document(
    stocked: TestClient, document: dict[str, Any]
) -> None:
    accepted = stocked.app.state.parameters  # type: ignore[attr-defined]
    assert accepted == {
        (method.upper(), path): {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        for method, path, operation in operations(document)
    }
