"""Every page over HTTP: it answers, is safe to show, small, cached and compressed, and errors are pages as well."""

from __future__ import annotations

import gzip
import html
import importlib.util
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.web import assets
from index import Library
from tests.app.helpers import assert_problem, picture, store

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BUDGET = 100_000
"""Bytes of a page's HTML, CSS and JavaScript, compressed."""


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def an_id(client: TestClient) -> str:
    image_id: str = client.get("/v1/images", params={"limit": 1}).json()["items"][0]["id"]
    return image_id


@pytest.fixture(params=["/", "/?q=a+cat+-+dog", "/?q=cat&target=sentences", "/add", "/map", "/model", "/photos/ID"])
def path(request: pytest.FixtureRequest, stocked: TestClient) -> str:
    return str(request.param).replace("ID", an_id(stocked))


def test_pages_obey_their_own_strict_policy(stocked: TestClient, path: str) -> None:
    response = stocked.get(path, headers=BROWSER)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for tag, attributes in Elements(response.text).found:
        assert "style" not in attributes, tag
        assert tag != "style"
        assert not [name for name in attributes if name.startswith(("on", "hx-on"))], tag
        if tag == "script":
            assert (attributes["src"] or "").startswith("/assets/")
        for name in ("src", "href", "action"):
            address = attributes.get(name) or "/"
            assert address.startswith(("/", "#")) or "prose" in response.text, address
            assert not address.startswith("//")


def test_images_and_controls_have_names(stocked: TestClient, path: str) -> None:
    text = stocked.get(path, headers=BROWSER).text
    elements = Elements(text).found
    labelled = {attributes.get("for") for tag, attributes in elements if tag == "label"}
    for tag, attributes in elements:
        if tag == "img":
            assert "alt" in attributes
        if tag in ("input", "textarea", "select") and attributes.get("type") != "hidden":
            named = "aria-label" in attributes or attributes.get("id") in labelled
            assert named or attributes.get("id", "").startswith("pick-"), attributes


def test_a_page_with_all_it_loads_fits_the_budget(stocked: TestClient, path: str) -> None:
    headers = {**BROWSER, "Accept-Encoding": "gzip"}
    response = stocked.get(path, headers=headers)
    assert response.headers["content-encoding"] == "gzip"
    size = int(response.headers["content-length"])
    loaded = assets.load()
    size += sum(len(one.compressed) for name, one in loaded.files.items() if name.endswith((".css", ".js")))
    assert size < BUDGET


def test_a_page_that_has_not_changed_is_not_sent_again(stocked: TestClient, path: str) -> None:
    first = stocked.get(path, headers=BROWSER)
    assert first.headers["cache-control"] == "private, no-cache"
    again = stocked.get(path, headers={**BROWSER, "If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_what_pages_load_is_cached_for_good_and_compressed(stocked: TestClient) -> None:
    text = stocked.get("/", headers=BROWSER).text
    addresses = set(re.findall(r'"(/assets/[^"]+)"', text))
    assert len(addresses) >= 5
    for address in addresses:
        response = stocked.get(address, headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["content-encoding"] == "gzip"
        plain = stocked.get(address, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == response.content
    assert_problem(stocked.get(re.sub(r"/assets/\w+/", "/assets/0/", addresses.pop())), 404, "not_found")


def test_compressed_assets_are_what_they_compress() -> None:
    for asset in assets.load().files.values():
        assert gzip.decompress(asset.compressed) == asset.content


def test_thumbnails_of_pages_are_immutable(stocked: TestClient) -> None:
    sources = re.findall(r'src="(/thumbnails/[^"]+)"', stocked.get("/", headers=BROWSER).text)
    assert len(sources) == 10
    response = stocked.get(sources[0])
    assert response.headers["content-type"] == "image/jpeg"
    assert "immutable" in response.headers["cache-control"]
    again = stocked.get(sources[0], headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_stored_thumbnail_costs_no_look_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid asks for dozens at once: they were most of what a search took."""
    image_id = store(client, "a.jpg", picture(1, 400, 300))
    (source,) = re.findall(r'src="(/thumbnails/[^"]+)"', client.get("/", headers=BROWSER).text)
    expected = client.get(f"/v1/images/{image_id}/thumbnail").content
    for method in ("get_image", "open_file", "find_images"):
        monkeypatch.delattr(Library, method)
    assert client.get(source).content == expected


@pytest.mark.parametrize("digest", ["0" * 64, "none", "..%2f..%2fcatalog"])
def test_a_thumbnail_that_is_not_there(stocked: TestClient, digest: str) -> None:
    assert stocked.get(f"/thumbnails/{digest}.jpg").status_code == 404


@pytest.mark.parametrize("address", ["/photos/none", "/nowhere", "/pictures/none", "/thumbnails/none.jpg"])
def test_errors_are_pages_for_browsers_and_problems_for_programs(stocked: TestClient, address: str) -> None:
    shown = stocked.get(address, headers=BROWSER)
    assert shown.status_code == 404
    assert shown.headers["content-type"].startswith("text/html")
    assert "To the photographs" in shown.text
    assert shown.headers["x-request-id"] not in shown.text  # nobody looks up what is only missing
    assert stocked.get(address).headers["content-type"] == "application/problem+json"


def test_the_api_answers_browsers_with_problems_as_well(stocked: TestClient) -> None:
    assert_problem(stocked.get("/v1/images/none", headers=BROWSER), 404, "record_not_found")
    assert_problem(stocked.get("/v1/nowhere", headers=BROWSER), 404, "not_found")


def test_a_method_that_a_page_does_not_have(stocked: TestClient) -> None:
    response = stocked.get(f"/photos/{an_id(stocked)}/delete")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_parameters_that_a_page_does_not_know_do_no_harm(stocked: TestClient) -> None:
    assert stocked.get("/?utm_source=x&q=cat&q=dog&min_confidence=nonsense", headers=BROWSER).status_code == 200


def test_pages_are_no_part_of_the_document(stocked: TestClient) -> None:
    paths = stocked.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path in ("/", "/add", "/map", "/model") or path.startswith("/photos")]


def test_names_and_metadata_render_as_text(client: TestClient) -> None:
    hostile = "<script>alert(1)</script>\"'"
    metadata: dict[str, Any] = {hostile: hostile, "long": "y" * 10_000, "rtl": "\u202eשלום"}
    image_id = store(client, f"{hostile}.jpg", picture(1))
    assert client.patch(f"/v1/images/{image_id}", json={"metadata": metadata}).status_code == 200
    for address in ("/", f"/photos/{image_id}", f"/?q=image:{image_id}", f"/?q={hostile}", "/?metadata.a=<script>"):
        text = client.get(address, headers=BROWSER).text
        assert "<script>alert" not in text, address
        assert [
            attributes for tag, attributes in Elements(text).found if tag == "script" and "src" not in attributes
        ] == []


def test_of_an_empty_library_the_first_page_fills_it(client: TestClient) -> None:
    response = client.get("/", headers=BROWSER)
    assert response.url.path == "/add"
    assert "Drop your photographs here, then find them by typing what is in them." in response.text
    assert client.get("/?q=cat", headers=BROWSER).url.path == "/"


def test_scrolling_goes_through_everything(connect: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.search.PAGE_SIZE", 3)
    client = connect()
    ids = {store(client, f"{seed}.jpg", picture(seed)) for seed in range(8)}
    for address in ("/", "/?q=cat"):
        following: str | None = address
        seen: list[str] = []
        while following is not None:
            text = client.get(following, headers=BROWSER).text
            seen += re.findall(r'data-id="(\w+)"', text)
            further = re.search(r'class="further">.*?hx-get="(/results[^"]+)"', text, re.DOTALL)
            following = None if further is None else html.unescape(further[1])
        assert len(seen) == 8
        assert set(seen) == ids


@pytest.mark.parametrize("path", ["/", "/add"])
def test_the_file_picker_offers_every_kind_of_file_that_is_read(stocked: TestClient, path: str) -> None:
    found = re.search(r'type="file"[^>]* accept="([^"]+)"', stocked.get(path).text)
    assert found is not None
    accepted = found[1].split(",")
    assert {"image/*", ".jpg", ".heic", ".heif", ".hif", ".avif", ".mpo", ".tif"} <= set(accepted)
    assert (".jxl" in accepted) == (importlib.util.find_spec("pillow_jxl") is not None)
    assert (".dng" in accepted) == (".cr3" in accepted) == (importlib.util.find_spec("rawpy") is not None)
