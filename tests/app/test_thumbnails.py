"""Thumbnails of small pictures: none is stored, and each is made of the content for whoever asks."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.embedding.embedder import Embedder
from app.http.content_response import CACHE_CONTROL
from app.main import create_app
from app.reindex import reindex
from app.service import Service
from app.settings import Settings
from index import ContentMissing, LibraryConfig, open_library
from index.backup import back_up, restore
from index.moving.files import export_library, import_library
from model.space import JointSpace
from tests.app.helpers import ADDRESS, add_picture, assert_problem, connect_to_source, encode, picture, store

SIZES = {"small.jpg": (320, 240), "large.jpg": (321, 240)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (name, size) in enumerate(SIZES.items()):
        (folder / name).write_bytes(picture(number, *size))
    return folder


@pytest.fixture
def client(connect: Callable[..., TestClient], photos: Path) -> TestClient:
    return connect_to_source(connect, photos)


def stored(library: Path) -> list[str]:
    return sorted(path.stem for path in library.rglob("thumbnails/*/*.jpg"))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def thumbnails_of(client: TestClient) -> dict[str, tuple[str, str]]:
    """The addresses of the thumbnails of all images: of the API and of the pages."""
    items = client.get("/v1/images").json()["items"]
    return {one["filename"]: (one["thumbnail_url"], f"/thumbnails/{one['sha256']}.jpg") for one in items}


def test_only_those_of_larger_pictures_are_stored(service: Service) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    many_bytes = encode(Image.fromarray(noise), "PNG")
    assert len(many_bytes) > 256 * 1024
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        for name, data in {"a.jpg": picture(1, 321, 8), "b.jpg": picture(2, 320, 320), "c.png": many_bytes}.items():
            store(client, name, data)
    assert stored(service.settings.library) == sorted([digest(picture(1, 321, 8)), digest(many_bytes)])
    assert service.library.check(deep=True) == []


def test_one_in_place_takes_no_file_and_is_served(client: TestClient, photos: Path, tmp_path: Path) -> None:
    assert stored(tmp_path / "library") == [digest((photos / "large.jpg").read_bytes())]
    for name, addresses in thumbnails_of(client).items():
        of_api, of_page = map(client.get, addresses)
        assert of_api.content == of_page.content
        with Image.open(io.BytesIO(of_api.content)) as image:
            assert (image.format, image.size) == ("JPEG", {"small.jpg": (320, 240), "large.jpg": (320, 239)}[name])
        assert of_page.headers["cache-control"] == CACHE_CONTROL
        assert of_api.headers["cache-control"] == "private, no-cache", "the file may change"
        part = client.get(addresses[0], headers={"Range": "bytes=2-9"})
        assert (part.status_code, part.content) == (206, of_api.content[2:10])
        assert client.head(addresses[0]).headers["content-length"] == str(len(of_api.content))


def test_nothing_is_decoded_for_who_has_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    url = thumbnails_of(client)["small.jpg"][0]
    etag = client.get(url).headers["etag"]
    monkeypatch.delattr(Embedder, "thumbnail")
    answer = client.get(url, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_it_says_nothing_of_what_the_file_knows_and_is_upright(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    exif[0x0112] = 6  # to be turned
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    image_id = store(client, "phone.jpg", encode(Image.new("RGB", (64, 48), "red"), exif=exif, comment=b"mine"))
    content = client.get(f"/v1/images/{image_id}/thumbnail").content
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (48, 64)
        assert not image.getexif()
        assert not {"exif", "comment", "icc_profile", "xmp"} & image.info.keys()
    assert b"secret" not in content


def test_what_became_of_its_file_decides_what_is_answered(client: TestClient, photos: Path) -> None:
    (source,) = client.get("/v1/sources").json()["items"]
    client.patch(f"/v1/sources/{source['id']}", json={"paused": True})
    urls = thumbnails_of(client)["small.jpg"]
    before = (photos / "small.jpg").read_bytes()
    aside = photos.rename(photos.with_name("not mounted"))
    for url in urls:
        assert_problem(client.get(url), 503, "source_away")
    assert client.get(thumbnails_of(client)["large.jpg"][0]).status_code == 200
    aside.rename(photos)
    (photos / "small.jpg").write_bytes(picture(7))
    for url in urls:
        assert_problem(client.get(url), 500, "content_missing")
    (photos / "small.jpg").write_bytes(before)  # with another time, but the same content
    assert [client.get(url).status_code for url in urls] == [200, 200]
    (photos / "small.jpg").unlink()
    for url in urls:
        assert_problem(client.get(url), 500, "content_missing")


def test_none_of_an_image_that_was_deleted(client: TestClient) -> None:
    (item,) = (one for one in client.get("/v1/images").json()["items"] if one["filename"] == "small.jpg")
    urls = thumbnails_of(client)["small.jpg"]
    assert [client.get(url).status_code for url in urls] == [200, 200]
    assert client.delete(f"/v1/images/{item['id']}").status_code == 204
    assert [client.get(url).status_code for url in urls] == [404, 404]


def test_a_link_in_place_of_the_file_is_not_followed(client: TestClient, photos: Path, tmp_path: Path) -> None:
    (photos / "small.jpg").rename(tmp_path / "moved.jpg")
    (photos / "small.jpg").symlink_to(tmp_path / "moved.jpg")
    for url in thumbnails_of(client).get("small.jpg", ()):
        assert client.get(url).status_code != 200


def test_a_grid_of_them_is_served_and_the_number_of_those_who_wait_is_bounded(
    connect: Callable[..., TestClient], open_service: Callable[..., Service]
) -> None:
    service = open_service(max_searches=4)
    images = [add_picture(service, seed) for seed in range(8)]
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        urls = [f"/v1/images/{one}/thumbnail" for one in images]
        with service.admit("search", "a"), service.admit("search", "a"), service.admit("search", "a"):
            assert [client.get(url).status_code for url in urls] == [200] * 8
            with service.admit("search", "a"), service.admit("search", "testclient"):
                problem = client.get(urls[0])
                assert_problem(problem, 503, "overloaded")
                assert int(problem.headers["retry-after"]) >= 1
        with ThreadPoolExecutor(4) as pool:
            assert {one.status_code for one in pool.map(client.get, urls * 4)} == {200}


def test_nothing_stays_open_when_one_cannot_be_made(client: TestClient, tmp_path: Path) -> None:
    data = picture(3)
    image_id = store(client, "a.jpg", data)
    (path,) = (tmp_path / "library").glob(f"content/*/{digest(data)}")
    path.write_bytes(b"x" * len(data))
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(20):
        assert_problem(client.get(f"/v1/images/{image_id}/thumbnail"), 422, "image_unreadable")
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) < before + 10


def test_one_that_an_earlier_version_stored_is_served_as_it_is(service: Service) -> None:
    image_id = add_picture(service, 1)
    with service.image_thumbnail(image_id) as file:
        assert file.content.read() != picture(2)
    sha256 = service.get_image(image_id).sha256
    path = service.settings.library / "thumbnails" / sha256[:2] / f"{sha256}.jpg"
    path.parent.mkdir()
    path.write_bytes(picture(2))
    with service.image_thumbnail(image_id) as file:
        assert file.content.read() == picture(2)
    assert service.library.check(deep=True) == []
    path.write_bytes(b"damaged")
    assert len(service.library.check(deep=True)) == 1
    assert len(service.library.repair(lambda content: pytest.fail("it needs none"))) == 1
    assert service.library.check(deep=True) == []
    assert not path.exists()


def test_it_travels_without(client: TestClient, photos: Path, tmp_path: Path) -> None:
    config = LibraryConfig(tmp_path / "library")
    store(client, "copied.jpg", picture(9))
    saved = back_up(config, tmp_path / "backup.tar")
    assert (saved.images, saved.files, saved.problems) == (3, 3, ())  # catalog, copied.jpg, thumbnail of large.jpg
    restore(tmp_path / "backup.tar", tmp_path / "restored")
    exported = export_library(config, tmp_path / "export.tar")
    assert (exported.counts.images, exported.problems) == (3, [])
    new = LibraryConfig(tmp_path / "new")
    imported = import_library(new, tmp_path / "export.tar", render=lambda content: pytest.fail("it needs none"))
    assert (imported.taken.images.new, imported.problems) == (3, [])
    for library in ("restored", "new"):
        assert stored(tmp_path / library) == [digest((photos / "large.jpg").read_bytes())]


def test_embedding_anew_says_what_to_do_about_one_that_is_gone(
    client: TestClient, silent_space: JointSpace, photos: Path, tmp_path: Path
) -> None:
    (source,) = client.get("/v1/sources").json()["items"]
    client.patch(f"/v1/sources/{source['id']}", json={"paused": True})
    settings = Settings(library=tmp_path / "library")
    with open_library(LibraryConfig(settings.library)) as library:
        for name in SIZES:
            (photos / name).unlink()
        assert library.sources.settle(source["id"], list(SIZES)) == 2
        with pytest.raises(ContentMissing, match=r"small\.jpg.* --prune"):
            reindex(settings, space=silent_space)
        library.sources.prune(source["id"], datetime.now(UTC))
    reindex(settings, space=silent_space)
