"""Taking photographs in: a folder, single files, what is refused, and leaving in the middle."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.app.helpers import picture
from tests.e2e.conftest import PHOTOS, Added, Watched, drag, drop, paste

REFUSED = "status of 422"
"""What Chromium's console says of a file that the service refuses."""


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
