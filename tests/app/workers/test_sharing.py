"""Whichever worker gets a request, the service is one: pages, undo, wrong keys, figures, captions, sources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from app.http.authentication import COOKIE
from app.keys import KeyFile, session_of
from model.space import JointSpace
from tests.app.helpers import picture
from tests.app.workers.group import Group, Worker, group, until
from tests.words import WORDS

UNDO_SECONDS = 2


@pytest.fixture(scope="module")
def pair(space: JointSpace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Two workers on a library with images and sentences, a source, and a key."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "library").mkdir()
    key = KeyFile(folder / "library").add("tests", "admin")
    photos = folder / "photos"
    photos.mkdir()
    (photos / "first.jpg").write_bytes(picture(100))
    settings = {"CAPTION_IMAGES": "1", "UNDO_SECONDS": str(UNDO_SECONDS), "SOURCES": str(photos)}
    with group(space, folder, **settings) as running:
        running.headers = {"X-API-Key": key, "Cookie": f"{COOKIE}={session_of(key)}"}
        words = WORDS.split()[:40]
        for at, worker in enumerate(running.workers()):
            body = json.dumps(
                {"texts": [f"{colour} {word}" for colour in ("red", "blue") for word in words[at::2]]}
            ).encode()
            assert worker.ask("POST", "/v1/sentences", body, Content_Type="application/json")[0] == 200
        yield running


def test_pages_of_a_search_come_from_any_worker(pair: Group) -> None:
    workers = pair.workers()
    for query in ("a dog and a cat", "red + car - blue"):
        whole = [hit["id"] for hit in workers[0].get("/v1/search", q=query, target="sentences", k=200)["hits"]]
        found: list[str] = []
        cursor: dict[str, str] = {}
        for page in range(100):
            answer = workers[page % 2].get("/v1/search", q=query, target="sentences", k=3, **cursor)
            found += [hit["id"] for hit in answer["hits"]]
            if answer["next_cursor"] is None:
                break
            cursor = {"cursor": answer["next_cursor"]}
        assert found == whole
        assert len(found) > 9


def test_an_image_that_a_search_starts_from_is_there_for_all(pair: Group) -> None:
    one, other = pair.workers()
    status, body = one.send("/pictures", "image", {"a.jpg": picture(7)})
    token = json.loads(body)["picture"]
    assert status == 201
    assert other.ask("GET", f"/pictures/{token}")[0] == 200
    address = f"/results?target=sentences&picture={token}"
    [following] = re.findall(r'hx-get="(/results[^"]+cursor=[^"]+)"', other.ask("GET", address)[1].decode())
    assert one.ask("GET", following.replace("&amp;", "&"))[0] == 200
    assert other.ask("GET", "/pictures/nonsense")[0] == 404


def test_captions_are_written_once(pair: Group) -> None:
    ids: list[str] = []
    for at, worker in enumerate(pair.workers() * 2):
        status, body = worker.send("/v1/images", "files", {f"{at}-{n}.jpg": picture(10 * at + n) for n in range(3)})
        assert status == 200, body
        ids += [result["image"]["id"] for result in json.loads(body)["results"]]
    worker = pair.workers()[0]
    captions = [f"/v1/images/{image_id}/captions" for image_id in ids]
    until(lambda: all(worker.get(path)["captions"] for path in captions), pair)
    assert [len(worker.get(path)["captions"]) for path in captions] == [1] * 12


def test_a_deletion_is_undone_by_any_worker_and_carried_out_once(pair: Group) -> None:
    one, other = pair.workers()
    body = one.send("/v1/images", "files", {f"{n}.jpg": picture(n) for n in (201, 202)})[1]
    kept, deleted = (result["image"]["id"] for result in json.loads(body)["results"])
    for image_id in (kept, deleted):
        assert one.ask("POST", f"/photos/{image_id}/delete")[0] == 303
    assert other.ask("POST", f"/photos/{kept}/restore")[0] == 303
    until(lambda: other.ask("GET", f"/v1/images/{deleted}")[0] == 404, pair, 20)
    assert one.ask("GET", f"/v1/images/{kept}")[0] == 200
    assert "could not be deleted" not in pair.log()


def test_figures_are_those_of_all(pair: Group) -> None:
    one, other = pair.workers()

    def counted(worker: Worker) -> float:
        text = worker.ask("GET", "/metrics")[1].decode()
        assert len(re.findall(r'^visem_library_items{target="sentences"}', text, re.MULTILINE)) == 1
        [value] = re.findall(r'^visem_http_requests_total{.*route="/problems",.*} (.*)$', text, re.MULTILINE) or ["0"]
        assert re.search(r'^visem_requests_admitted{lane="search"} 0.0$', text, re.MULTILINE)
        return float(value)

    before = counted(one)
    for worker, number in ((one, 3), (other, 4)):
        for _ in range(number):
            worker.get("/problems")
    until(lambda: counted(one) == counted(other) == before + 7, pair, 10)  # one is counted once it has been answered


def test_a_source_is_followed_by_one_and_asked_about_by_all(pair: Group) -> None:
    workers = pair.workers()
    leader = pair.leader()
    assert leader in {worker.pid for worker in workers}
    [asked] = [worker for worker in workers if worker.pid != leader]

    def source() -> dict[str, object]:
        [found] = asked.get("/v1/sources")["items"]
        return dict(found)

    def phase_of(number: int) -> bool:
        progress = source()["progress"]
        return isinstance(progress, dict) and (progress["phase"], progress["seen"]) == ("done", number)

    until(lambda: phase_of(1), pair)
    path = f"/v1/sources/{source()['id']}"
    assert asked.ask("PATCH", path, body=b'{"paused": true}', Content_Type="application/json")[0] == 200
    (pair.folder / "photos" / "second.jpg").write_bytes(picture(101))
    assert asked.ask("POST", f"{path}/rescan")[0] == 202
    assert source()["paused"]
    assert not phase_of(2)
    status, body = asked.ask("PATCH", path, b'{"paused": false}', Content_Type="application/json")
    assert (status, json.loads(body)["paused"]) == (200, False)
    until(lambda: phase_of(2), pair)
    (pair.folder / "photos" / "second.jpg").unlink()
    assert asked.ask("POST", f"{path}/rescan")[0] == 202
    until(lambda: phase_of(1), pair)
    status, body = asked.ask("DELETE", path)
    assert (status, json.loads(body)) == (200, {"removed": 1})  # the other one is missing
    for worker in workers:
        assert worker.get("/v1/sources")["items"] == []
        assert worker.ask("PATCH", path, b'{"paused": true}', Content_Type="application/json")[0] == 404
        assert worker.ask("POST", f"{path}/rescan")[0] == 404


def test_wrong_keys_count_for_all(pair: Group) -> None:
    """The last test of this file: from here, no other wrong key is looked at for a minute."""
    workers = pair.workers()
    for at in range(10):
        assert workers[at % 2].ask("GET", "/v1/info", X_API_Key="wrong", Cookie="")[0] == 401
    for worker in workers:
        assert worker.ask("GET", "/v1/info", X_API_Key="wrong", Cookie="")[0] == 429
        assert worker.ask("GET", "/v1/info")[0] == 200


def test_nothing_failed_meanwhile(pair: Group) -> None:
    entries = [json.loads(line) for line in pair.log().splitlines()]
    assert [entry for entry in entries if entry["level"] not in ("debug", "info")] == []
    assert len([entry for entry in entries if "running on" in entry["message"]]) == 1
