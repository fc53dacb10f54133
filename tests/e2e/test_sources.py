"""The page of sources: what is under way, what was refused, and the pause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.app.helpers import picture
from tests.e2e.conftest import Watched
from tests.e2e.test_accessibility import WIDTHS, findings


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def server(start: Callable[..., str], photos: Path) -> str:
    return start(sources=str(photos))


def test_a_source_from_its_first_pass_to_a_pause(open_context: Callable[..., BrowserContext], photos: Path) -> None:
    page: Page = open_context().new_page()
    page.goto("/")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Sources").click()
    source = page.get_by_role("region", name=str(photos))
    expect(source).to_contain_text("Up to date", timeout=120_000)
    expect(source.locator(".figures")).to_contain_text("4")
    source.get_by_text("What was refused, and why").click()
    expect(source).to_contain_text("broken.jpg")
    page.wait_for_timeout(3000)  # the page asks again meanwhile, and what is open stays open
    expect(source.get_by_text("broken.jpg")).to_be_visible()
    source.get_by_role("button", name="Pause").click()
    expect(source).to_contain_text("Paused")
    source.get_by_role("button", name="Go on").click()
    expect(source).not_to_contain_text("Paused")
    (photos / "new.jpg").write_bytes(picture(9))
    expect(source.locator(".figures")).to_contain_text("5", timeout=60_000)


def test_everybody_can_use_it(open_context: Callable[..., BrowserContext]) -> None:
    page = open_context().new_page()
    page.goto("/sources")
    assert findings(page) == {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_photographs_whose_folder_is_away_are_shown_by_their_descriptions(
    open_context: Callable[..., BrowserContext], photos: Path, watched: Watched
) -> None:
    watched.expect("503 (Service Unavailable)")
    away = photos.rename(photos.with_name("away"))
    try:
        page = open_context().new_page()
        page.goto("/timeline")
        tiles = page.locator(".tile .photo")
        expect(tiles.locator("img")).to_have_count(0)
        expect(tiles.first).to_be_visible()
        assert all(tiles.all_inner_texts())
        assert findings(page) == {}
        description = tiles.first.inner_text()
        tiles.first.click()
        shown = page.locator(".photograph .stage")
        expect(shown.locator("img")).to_have_count(0)
        expect(shown).not_to_be_empty()
        assert shown.inner_text() in (description, "0.jpg")
        expect(page.locator(".composer img")).to_have_count(0)
        assert findings(page) == {}
    finally:
        away.rename(photos)
