"""Everything without a mouse, with a focus that can be seen."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.closest('.tile')?.dataset.id ?? document.activeElement.id")
    return found


def test_from_the_box_through_the_grid_to_a_photograph_and_back(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("a cat")
    expect(page.locator(".query .chip")).to_have_count(1)
    order: list[str] = page.eval_on_selector_all("#hits .tile", "tiles => tiles.map(tile => tile.dataset.id)")
    page.keyboard.press("ArrowDown")
    assert focused(page) == order[0]
    page.keyboard.press("ArrowRight")
    assert focused(page) == order[1]
    page.keyboard.press("ArrowDown")
    assert order.index(focused(page)) > 1
    page.keyboard.press("ArrowUp")
    assert order.index(focused(page)) < order.index(order[-1])
    page.keyboard.press("Home")
    assert focused(page) == order[0]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#photo")).to_be_visible()
    page.wait_for_load_state("networkidle")  # before that, Escape only stops the page from loading
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value("a cat")


def test_a_photograph_is_added_and_subtracted_by_keys(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("ArrowDown")
    first = focused(page)
    page.keyboard.press("-")
    expect(page.locator(".query .chip.minus")).to_have_count(1)
    assert first in page.url
    flip = page.locator("#chip-1-sign")
    flip.focus()
    page.keyboard.press("Space")
    expect(page.locator(".query .chip.plus")).to_have_count(1)
    expect(flip).to_be_focused()


def test_the_keys_are_told(page: Page) -> None:
    page.goto("/model")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_the_content_can_be_skipped_to(page: Page) -> None:
    page.goto("/add")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
