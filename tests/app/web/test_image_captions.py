"""The stored captions of a photograph on its page."""

from __future__ import annotations

import html
import re

import pytest
from fastapi.testclient import TestClient

from app.service import Service
from app.web.image_captions import merge_rows
from index import NewCaption
from tests.app.helpers import assert_problem, picture, store

HTMX = {"HX-Request": "true"}


def form(text: str) -> dict[str, list[str]]:
    """The fields of the form, as a browser would send them."""
    part = text.partition('<div id="captions">')[2].partition('id="metadata"')[0]
    was = re.findall(r'name="was" value="([^"]*)"', part)
    texts = re.findall(r'<textarea [^>]*name="text"[^>]*>([^<]*)</textarea>', part)
    return {"was": [html.unescape(one) for one in was], "text": [html.unescape(one) for one in texts]}


def own(client: TestClient, image_id: str) -> list[str]:
    stored = client.get(f"/v1/images/{image_id}/captions").json()["captions"]
    return [one["text"] for one in stored if one["origin"] == "user"]


def generate(client: TestClient, image_id: str, text: str) -> None:
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    [vector] = service.space.embed_texts([text])
    service.library.captions.add(image_id, [NewCaption(text, vector, 0.5)])


@pytest.mark.parametrize(
    ("current", "rows", "after"),
    [
        ([], [("", " a\r\nb ")], ["a b"]),
        (["a", "b"], [("a", "a"), ("b", "c"), ("", "")], ["a", "c"]),
        (["a", "b"], [("a", ""), ("b", "b"), ("", "c")], ["b", "c"]),
        (["a", "new"], [("a", "a"), ("b", "b"), ("", "")], ["a", "new"]),  # others removed b and added one
        (["a"], [("a", "a"), ("b", "B"), ("", "")], ["a", "B"]),  # others removed what was rewritten here
    ],
)
def test_an_edit_changes_only_what_was_touched(
    current: list[str], rows: list[tuple[str, str]], after: list[str]
) -> None:
    assert merge_rows(current, rows) == after


def test_own_captions_are_added_changed_and_removed(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    path = f"/photos/{image_id}/captions"
    fields = form(client.get(f"/photos/{image_id}").text)
    assert fields == {"was": [""], "text": [""]}
    for typed, stored in [("a dog runs", ["a dog runs"]), ("a <b>cat</b>", ["a dog runs", "a <b>cat</b>"])]:
        fields["text"][-1] = typed
        saved = client.post(path, data=fields, headers=HTMX).text
        assert "Saved." in saved
        assert own(client, image_id) == stored
        fields = form(saved)
        assert fields == {"was": [*stored, ""], "text": [*stored, ""]}
    fields["text"][:2] = ["a black dog", ""]
    client.post(path, data=fields, headers=HTMX)
    assert own(client, image_id) == ["a black dog"]


def test_without_scripts_the_page_comes_back(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    answer = client.post(f"/photos/{image_id}/captions", data={"was": "", "text": "a dog"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/photos/{image_id}")
    assert own(client, image_id) == ["a dog"]


def test_what_cannot_be_saved_stays_in_the_form(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    path = f"/photos/{image_id}/captions"
    client.post(path, data={"was": "", "text": "a dog"}, headers=HTMX)
    for text in ("xqztl", "a cat " * 200, "a \x00 cat"):
        sent = {"was": ["a dog", ""], "text": ["a dog", text]}
        answer = client.post(path, data=sent, headers=HTMX)
        assert answer.status_code == 200
        assert 'role="alert"' in answer.text
        assert "Saved." not in answer.text
        assert form(answer.text)["text"][1].split() == text.split()
    assert own(client, image_id) == ["a dog"]


def test_those_of_the_captioner_are_marked_and_can_be_removed(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    client.post(f"/photos/{image_id}/captions", data={"was": "", "text": "a dog"}, headers=HTMX)
    generate(client, image_id, "a white cat")
    text = client.get(f"/photos/{image_id}").text
    assert "Written by the captioner" in text
    assert form(text)["text"] == ["a dog", ""]
    assert "<bdi>A white cat.</bdi>" in text
    answer = client.post(f"/photos/{image_id}/captions/remove", headers=HTMX)
    assert "Written by the captioner" not in answer.text
    assert [one["text"] for one in client.get(f"/v1/images/{image_id}/captions").json()["captions"]] == ["a dog"]


@pytest.mark.parametrize("path", ["captions", "captions/remove"])
def test_an_unknown_photograph_is_not_found(client: TestClient, path: str) -> None:
    answer = client.post(
        f"/photos/nowhere/{path}", data={"was": "", "text": "a"}, headers={"Accept": "application/json"}
    )
    assert_problem(answer, 404, "record_not_found")
