"""Forms that break off, and the file names of clients."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from app.http.multipart import extended_name, plain_name
from tests.app.helpers import assert_problem, picture

HEADERS = {"Content-Type": "multipart/form-data; boundary=X"}


def part(disposition: str, data: bytes) -> bytes:
    return f"--X\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"


def post(client: TestClient, body: bytes, path: str = "/v1/images") -> Response:
    return client.post(path, content=body, headers=HEADERS)


FILES = part('name="files"; filename="first.jpg"', picture(1)) + part('name="files"; filename="b.jpg"', picture(2))
WHOLE = FILES + part('name="metadata"', b'{"album": "holiday"}') + b"--X--\r\n"


@pytest.mark.parametrize(
    "length",
    [
        10,
        len(FILES) // 4,
        len(FILES) // 2 + 300,
        len(FILES) - 100,
        len(FILES),
        len(FILES) + 40,
        len(WHOLE) - 20,
        len(WHOLE) - len("--X--\r\n"),
        len(WHOLE) - len("X--\r\n"),
        len(WHOLE) - len("-\r\n"),
    ],
)
def test_a_form_that_lacks_its_end_is_malformed_and_nothing_is_stored(client: TestClient, length: int) -> None:
    problem = assert_problem(post(client, WHOLE[:length]), 400, "malformed_body")
    assert "form" in problem["detail"]
    assert client.get("/v1/images").json()["total"] == 0


def test_a_whole_form_is_stored_with_or_without_the_last_line_break(client: TestClient) -> None:
    for body in (WHOLE, WHOLE.removesuffix(b"\r\n"), WHOLE + b"an epilogue"):
        answer = post(client, body)
        assert answer.status_code == 200, answer.text
        assert [one["image"]["metadata"] for one in answer.json()["results"]] == [{"album": "holiday"}] * 2


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/captions", "/v1/search/image"])
def test_every_form_has_to_be_whole(client: TestClient, path: str) -> None:
    name = "files" if path.endswith("embeddings") else "image"
    body = part(f'name="{name}"; filename="a.jpg"', picture(1)) + part('name="n"', b"1")
    assert_problem(post(client, body, path), 400, "malformed_body")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("name=\"files\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.jpg", "naïve €.jpg"),
        ("name=\"files\"; filename*=utf-8'de'na%C3%AFve.jpg", "naïve.jpg"),
        ("name=\"files\"; FILENAME*=iso-8859-1''caf%E9.jpg", "café.jpg"),
        ("filename*=UTF-8''%E2%82%AC.jpg; name=\"files\"", "€.jpg"),
        (
            "name=files; filename=\"=?utf-8?B?w5xidW5nIMOkLmpwZw==?=\"; filename*=utf-8''%C3%9Cbung%20%C3%A4.jpg",
            "Übung ä.jpg",
        ),
        ('name=files; filename="=?utf-8?B?w5xidW5nIMOkLmpwZw==?="', "Übung ä.jpg"),
        ('name=files; filename="=?iso-8859-1?Q?caf=E9.jpg?="', "café.jpg"),
        ('name="files"; filename="plain.jpg"; filename*=UTF-8\'\'%FF%FE', "plain.jpg"),
        ("name=\"files\"; filename*=UTF-8''%FF%FE", None),
        ("name=\"files\"; filename*=no-charset''a.jpg", None),
        ('name="files"; filename*=nonsense', None),
        ('name="files"; filename="=?utf-8?B?!!!?="', None),
        ('name="files"; filename=""', None),
        ('name="files"; filename="größe =? 5.jpg"', "größe =? 5.jpg"),
    ],
)
def test_file_names_are_decoded_or_left_out(client: TestClient, disposition: str, name: str | None) -> None:
    answer = post(client, part(disposition, picture(1)) + b"--X--\r\n")
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["image"]["filename"] == name


def test_names_outside_of_a_form() -> None:
    assert extended_name(b'form-data; name="a"') is None
    assert plain_name("=?x?=") in ("", "=?x?=")


def test_a_full_disk_under_a_form_is_said_and_can_be_tried_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    write: Callable[..., int] = tempfile.SpooledTemporaryFile.write
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    assert_problem(post(client, WHOLE), 507, "storage_failed")
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", write)
    assert post(client, WHOLE).status_code == 200
