"""The page of a photograph, its fragments and its forms."""

from __future__ import annotations

import html
import io
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.ingest.pipeline import IncomingFile
from app.main import create_app
from app.service import Service
from model.images.processes import Decoders
from model.images.types import DecodedImage
from tests.app.helpers import ADDRESS, assert_problem, encode, picture, store

HTMX = {"HX-Request": "true"}


def shown_form(text: str) -> dict[str, list[str]]:
    """The fields of the metadata form of a page, as they are shown."""
    inputs = re.findall(r'<input [^>]*name="(was|key)" value="([^"]*)"', text)
    texts = re.findall(r'<textarea [^>]*name="value"[^>]*>([^<]*)</textarea>', text)
    fields: dict[str, list[str]] = {"was": [], "key": [], "value": [html.unescape(one) for one in texts]}
    for name, value in inputs:
        fields[name].append(html.unescape(value))
    return fields


def by_name(client: TestClient, name: str) -> str:
    records = client.get("/v1/images").json()["items"]
    return next(record["id"] for record in records if record["filename"] == name)


def test_it_shows_concepts_that_search(stocked: TestClient) -> None:
    image_id = by_name(stocked, "cat.jpg")
    text = stocked.get(f"/photos/{image_id}").text
    for concept in stocked.get(f"/v1/images/{image_id}").json()["concepts"]:
        assert f'href="/?q={concept["word"]}"' in text


def test_its_captions_are_those_of_the_api(stocked: TestClient) -> None:
    image_id = by_name(stocked, "cat.jpg")
    text = stocked.get(f"/photos/{image_id}/captions").text
    answer = stocked.post("/v1/captions", json={"image_id": image_id, "mode": "retrieve"}).json()
    for caption in answer["captions"]:
        assert caption["text"] in text


def test_without_sentences_it_says_what_to_do(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    assert "There are no sentences in the library yet." in client.get(f"/photos/{image_id}/captions").text
    assert "There is no other photograph yet." in client.get(f"/photos/{image_id}/near").text


def test_neighbours_are_those_of_the_expression(stocked: TestClient) -> None:
    image_id = by_name(stocked, "flower.jpg")
    text = stocked.get(f"/photos/{image_id}/near", params={"minus": "red", "plus": "a cat"}).text
    hits = stocked.get("/v1/search", params={"q": f"image:{image_id} - red + a cat", "k": 24}).json()["hits"]
    positions = [text.index(f'data-id="{hit["id"]}"') for hit in hits]
    assert positions == sorted(positions)
    assert image_id not in [hit["id"] for hit in hits]
    assert "xqztl" in stocked.get(f"/photos/{image_id}/near", params={"plus": "xqztl"}).text
    assert stocked.get(f"/photos/{image_id}/near", params={"plus": '"'}).status_code == 200


def test_formats_which_browsers_do_not_show_are_converted(client: TestClient) -> None:
    image = Image.new("RGB", (80, 40), "teal")
    image_id = store(client, "scan.tif", encode(image, "TIFF"))
    assert f'src="/photos/{image_id}/view"' in client.get(f"/photos/{image_id}").text
    response = client.get(f"/photos/{image_id}/view")
    assert response.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(response.content)).size == (80, 40)
    jpeg = store(client, "a.jpg", picture(2))
    assert f'src="/photos/{jpeg}/content"' in client.get(f"/photos/{jpeg}").text
    assert client.get(f"/photos/{jpeg}/content").content == picture(2)


@pytest.mark.parametrize(("size", "shown"), [((4032, 3024), (2048, 1536)), ((1500, 3000), (1024, 2048))])
def test_a_large_view_has_2048_pixels_on_its_longer_side(
    client: TestClient, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    image_id = store(client, "scan.tif", encode(Image.new("RGB", size, "teal"), "TIFF", compression="tiff_deflate"))
    response = client.get(f"/photos/{image_id}/view")
    assert Image.open(io.BytesIO(response.content)).size == shown


def test_pages_decode_on_the_pool_that_bounds_the_memory(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    decode = Decoders.decode

    def watched(*arguments: Any) -> DecodedImage:
        threads.append(threading.current_thread().name)
        return decode(*arguments)

    image_id = store(client, "scan.tif", encode(Image.new("RGB", (80, 40), "teal"), "TIFF"))
    monkeypatch.setattr(Decoders, "decode", watched)
    assert client.get(f"/photos/{image_id}/view").status_code == 200
    assert client.post("/pictures", files={"image": ("x.jpg", picture(1))}).status_code == 201
    assert [name.rpartition("-")[0] for name in threads] == ["visem-decode-search"] * 2


def test_metadata_is_saved_in_place_and_without_scripts(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1), metadata='{"year": 2024, "gone": "x"}')
    form = {"was": '{"year": 2024, "gone": "x"}', "key": ["year", "", "album"], "value": ["2025", "", "sea"]}
    saved = client.post(f"/photos/{image_id}/metadata", data=form, headers=HTMX)
    assert "Saved." in saved.text
    assert client.get(f"/v1/images/{image_id}").json()["metadata"] == {"year": 2025, "album": "sea"}
    plain = client.post(f"/photos/{image_id}/metadata", data=form, follow_redirects=False)
    assert (plain.status_code, plain.headers["location"]) == (303, f"/photos/{image_id}")


def test_what_others_changed_meanwhile_and_what_nobody_touched_stays(client: TestClient) -> None:
    metadata = {" odd name ": "line\r\nline", "year": 2024, "album": "winter"}
    image_id = store(client, "a.jpg", picture(1), metadata=json.dumps(metadata))
    form = shown_form(client.get(f"/photos/{image_id}").text)
    patch = {"place": "Ulm", "year": 2025}
    assert client.patch(f"/v1/images/{image_id}", json={"metadata": patch}).status_code == 200
    form["value"] = [value.replace("winter", "spring").replace("\n", "\r\n") for value in form["value"]]
    saved = client.post(f"/photos/{image_id}/metadata", data=form, headers=HTMX)
    stored = client.get(f"/v1/images/{image_id}").json()["metadata"]
    assert stored == {**metadata, **patch, "album": "spring"}
    assert json.loads(shown_form(saved.text)["was"][0]) == stored


def test_metadata_that_cannot_be_saved_stays_in_the_form(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1), metadata='{"year": 2024}')
    form = {"was": '{"year": 2024}', "key": ["year"], "value": ["next"]}
    answer = client.post(f"/photos/{image_id}/metadata", data=form, headers=HTMX)
    assert 'role="alert"' in answer.text
    assert ">next</textarea>" in answer.text
    assert shown_form(answer.text)["was"] == ['{"year": 2024}']
    assert client.get(f"/v1/images/{image_id}").json()["metadata"] == {"year": 2024}


def test_a_deletion_hides_at_once_and_can_be_undone(client: TestClient) -> None:
    image_id, other = store(client, "a.jpg", picture(1)), store(client, "b.jpg", picture(2))
    shown = client.post(f"/photos/{image_id}/delete")
    assert shown.url.path == "/"
    assert f'data-id="{image_id}"' not in shown.text
    assert f'data-id="{other}"' in shown.text
    assert f'action="/photos/{image_id}/restore"' in shown.text
    assert f'data-id="{image_id}"' not in client.get(f"/photos/{other}/near").text
    assert client.get(f"/v1/images/{image_id}").status_code == 200
    assert client.post(f"/photos/{image_id}/restore").url.path == f"/photos/{image_id}"
    assert f'data-id="{image_id}"' in client.get("/").text
    assert_problem(client.post(f"/photos/{image_id}/restore"), 404, "record_not_found")


def test_a_deletion_is_carried_out_when_the_service_stops(service: Service) -> None:
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        image_id = store(client, "a.jpg", picture(1))
        client.post(f"/photos/{image_id}/delete")
        assert service.list_images().total == 1
    assert service.list_images().total == 0


def test_a_photograph_that_is_stored_again_is_kept(service: Service) -> None:
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        image_id = store(client, "a.jpg", picture(1))
        client.post(f"/photos/{image_id}/delete")
        assert store(client, "again.jpg", picture(1)) == image_id
    assert service.list_images().total == 1


def test_a_photograph_that_another_process_stores_again_is_kept(open_service: Callable[..., Service]) -> None:
    service, other = open_service(), open_service()  # the service, and `visem add` at the same library
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        image_id = store(client, "a.jpg", picture(1))
        client.post(f"/photos/{image_id}/delete")
        [result] = other.ingest([IncomingFile("again.jpg", picture(1))])
        assert result.status == "duplicate"
        assert f'data-id="{image_id}"' in client.get("/").text, "it is there again, before the time is up"
    assert service.get_image(image_id) == result.record


def test_an_impossible_id_has_no_neighbours(client: TestClient) -> None:
    assert_problem(client.get("/photos/a.b/near", headers={"Accept": "application/json"}), 404, "record_not_found")
