"""Taking photographs in: a folder, single files, what is refused, and leaving in the middle."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from tests.app.helpers import picture
from tests.e2e.conftest import PHOTOS, TIMEOUT, Added, Watched, drag, drop, drop_many, paste, paste_text_and_picture

FIXTURES = {path.name for path in PHOTOS.glob("*.jpg")}

REFUSED = "status of 422"
"""What Chromium's console says of a file that the service refuses."""


@pytest.fixture(autouse=True)
def _what_is_added_goes_again(server: str) -> Iterator[None]:
    """The other tests' pages show the fixture photographs, and not forty more before them."""
    yield
    page = httpx2.get(f"{server}/v1/images", params={"limit": 200}).json()
    for image in page["items"]:
        if image["filename"] not in FIXTURES:
            assert httpx2.delete(f"{server}/v1/images/{image['id']}").status_code == 204


def test_a_fresh_library_begins_with_adding_a_folder(added: tuple[str, Added]) -> None:
    seen = added[1]
    assert (seen.first_path, seen.first_heading) == ("/add", "Welcome")
    photographs = len(list(PHOTOS.glob("*.jpg")))
    assert f"{photographs} new" in seen.summary
    assert "1 refused" in seen.summary  # SOURCES.md
    seen.watched.expect(REFUSED)
    seen.watched.check()


def test_duplicates_and_refused_files_are_listed_with_the_reason(page: Page, watched: Watched) -> None:
    watched.expect(REFUSED)
    page.goto("/add")
    files = [
        {"name": "again.jpg", "mimeType": "image/jpeg", "buffer": (PHOTOS / "cat.jpg").read_bytes()},
        {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"no image at all"},
        {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"never sent"},
    ]
    page.set_input_files("#pick-files", files)
    expect(page.locator("#summary")).to_contain_text("Done: 1 there already, 2 refused.")
    expect(page.locator("#problems li", has_text="broken.jpg").locator(".reason")).not_to_be_empty()
    expect(page.locator("#problems li", has_text="film.mp4").locator(".reason")).to_have_text("It is no photograph.")
    page.locator("#duplicates summary").click()
    expect(page.locator("#duplicates li a", has_text="again.jpg")).to_be_visible()
    page.reload()  # what became of them is remembered until the list is cleared
    expect(page.locator("#problems li")).to_have_count(2)
    page.get_by_role("button", name="Clear the list").click()
    expect(page.locator("#progress")).to_be_hidden()


def test_a_picture_can_be_pasted(page: Page) -> None:
    page.goto("/add")
    paste(page, picture(seed=81), "pasted.jpg")
    expect(page.locator("#summary")).to_contain_text("1 new")


def test_a_picture_can_be_dropped(page: Page) -> None:
    page.goto("/add")
    drag(page, "dragover")
    expect(page.locator("#drop")).to_have_class("drop over")
    drop(page, picture(seed=82), "dropped.jpg")
    expect(page.locator("#drop")).to_have_class("drop")
    expect(page.locator("#summary")).to_contain_text("1 new")


def test_leaving_in_the_middle_and_coming_back_goes_on(page: Page, watched: Watched) -> None:
    watched.expect("ERR_INTERNET_DISCONNECTED")
    page.goto("/add")
    page.context.set_offline(True)
    page.set_input_files(
        "#pick-files",
        [{"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": picture(seed=900 + n)} for n in range(6)],
    )
    expect(page.locator("#summary")).to_contain_text("You may leave")
    page.wait_for_function(
        """async () => new Promise((done) => {
            const open = indexedDB.open("visem-uploads", 1);
            open.onsuccess = () => {
                const count = open.result.transaction("queue").objectStore("queue").count();
                count.onsuccess = () => { open.result.close(); done(count.result === 6); };
            };
        })"""
    )
    page.context.set_offline(False)
    page.goto("/model")
    page.goto("/add")
    expect(page.locator("#summary")).to_contain_text("Done: 6")


@pytest.mark.parametrize(("path", "selector"), [("/add", "#texts"), ("/", "#box")])
def test_text_that_comes_with_a_picture_is_pasted_as_text(page: Page, path: str, selector: str) -> None:
    page.goto(path)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    assert paste_text_and_picture(page, selector, "A1\tB1", picture(seed=83)), "the browser inserts the text"
    page.wait_for_timeout(300)
    assert "POST" not in asked
    assert not paste_text_and_picture(page, "h1", "A1\tB1", picture(seed=83)), "nowhere to type: it is the picture"
    if path == "/add":
        expect(page.locator("#summary")).to_contain_text("1 new")
    else:
        expect(page).to_have_url(re.compile("picture="))


def test_forty_files_at_once_are_all_added_though_the_service_is_busy(page: Page, watched: Watched) -> None:
    watched.expect("status of 503")
    refusals = 6
    attempts: list[float] = []

    def busy(route: Route) -> None:
        attempts.append(time.monotonic())
        if len(attempts) <= refusals:
            problem = {"code": "overloaded", "detail": "Busy.", "status": 503}
            route.fulfill(status=503, headers={"Retry-After": "1"}, json=problem)
        else:
            route.continue_()

    page.route("**/v1/images", busy)
    page.goto("/add")
    drop_many(page, 40, seed=2000)
    expect(page.locator("#summary")).to_contain_text("of 40")
    expect(page.locator("#total")).to_have_attribute("max", "40")
    expect(page.locator(".toast")).to_have_text("The service is busy. Trying again until everything is sent.")
    expect(page.locator("#summary")).to_contain_text("Done: 40 new.", timeout=4 * TIMEOUT)
    assert len(attempts) == 40 + refusals
    assert max(after - before for before, after in pairwise(attempts)) > 0.9, "Retry-After was not heeded"


def test_files_that_were_deleted_or_changed_since_they_were_chosen_are_refused_alone(
    page: Page, watched: Watched, tmp_path: Path
) -> None:
    for part in ("ERR_INTERNET_DISCONNECTED", "ERR_UPLOAD_FILE_CHANGED", "ERR_FILE_NOT_FOUND", "ERR_ACCESS_DENIED"):
        watched.expect(part)
    paths = [tmp_path / f"{number}.jpg" for number in range(40)]
    for number, path in enumerate(paths):
        path.write_bytes(picture(seed=3000 + number))
    page.goto("/add")
    page.context.set_offline(True)
    page.set_input_files("#pick-files", paths)
    expect(page.locator("#summary")).to_contain_text("of 40")
    paths[7].unlink()
    paths[30].write_bytes(picture(seed=4000) + b"changed")
    os.utime(paths[30], (time.time() + 10,) * 2)  # Chromium looks at the seconds
    page.context.set_offline(False)
    expect(page.locator("#summary")).to_contain_text("Done: 38 new, 2 refused.", timeout=4 * TIMEOUT)
    for number in (7, 30):
        reason = page.locator("#problems li", has_text=f"{number}.jpg").locator(".reason")
        expect(reason).to_have_text("It was changed or deleted after it was chosen. Choose it again.")


def test_a_file_that_is_too_large_is_refused_with_the_limit_and_its_setting(page: Page, watched: Watched) -> None:
    page.goto("/add")
    page.evaluate("document.getElementById('drop').dataset.maxBytes = 1000000")
    files = [{"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"x" * 2_000_000}]
    page.set_input_files("#pick-files", files)
    reason = page.locator("#problems li", has_text="large.jpg").locator(".reason")
    expect(reason).to_have_text("It has 2 MB; the limit is 1 MB (VISEM_MAX_IMAGE_BYTES).")


@pytest.mark.parametrize("from_the_service", [True, False])
def test_a_413_is_shown(page: Page, watched: Watched, from_the_service: bool) -> None:
    watched.expect("status of 413")
    detail = "The body is larger than 1,000 bytes. Send less at once, or raise VISEM_MAX_UPLOAD_BYTES."

    def refuse(route: Route) -> None:
        if from_the_service:
            route.fulfill(status=413, json={"code": "request_too_large", "detail": detail})
        else:
            route.fulfill(status=413, body="<h1>Request Entity Too Large</h1>")

    page.route("**/v1/images", refuse)
    page.goto("/add")
    page.set_input_files("#pick-files", [{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture(seed=84)}])
    shown = detail if from_the_service else "It is larger than a proxy before the service allows."
    expect(page.locator("#problems li .reason")).to_have_text(shown)
