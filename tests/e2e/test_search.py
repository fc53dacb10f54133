"""Searching: typing, clicking an expression together, dropping a photograph, and the address that holds it all."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import PHOTOS, drag, drop, paste


def query(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query).get("q", [""])[0]


def chip(page: Page, label: str) -> Locator:
    return page.locator(".query .chip", has_text=label)


def first_photograph(page: Page) -> str:
    return page.locator("#hits .tile").first.get_attribute("data-id") or ""


def test_typing_searches_and_the_address_follows(page: Page, ids: dict[str, str]) -> None:
    page.goto("/")
    page.get_by_role("searchbox").press_sequentially("a cat", delay=20)
    expect(chip(page, "a cat")).to_be_visible()
    assert query(page) == "a cat"
    assert first_photograph(page) == ids["cat.jpg"]
    expect(page.locator("#hits .score").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("a cat")
    assert first_photograph(page) == ids["cat.jpg"]


def test_photographs_have_their_shapes_from_the_first_frame(page: Page) -> None:
    page.goto("/")
    page.evaluate(
        """() => new MutationObserver(() => {
            const tile = document.querySelector("#hits .tile .score")?.closest(".tile");
            window.shapes ??= tile && tile.style.getPropertyValue("--ratio") === tile.dataset.ratio;
        }).observe(document.querySelector("main"), { childList: true, subtree: true })"""
    )
    page.get_by_role("searchbox").fill("a cat")
    expect(chip(page, "a cat")).to_be_visible()
    assert page.evaluate("window.shapes") is True


def test_nothing_moves_while_nothing_is_loaded(page: Page) -> None:
    """An animation below the window would keep the browser drawing for as long as the page is open."""
    page.goto("/?q=a+cat")
    page.evaluate(
        """() => document.getElementById("hits").insertAdjacentHTML("beforeend",
            '<div class="further"><span class="reach"></span><span class="spinner"></span></div>')"""
    )
    assert page.evaluate("document.getAnimations().length") == 0
    page.locator(".reach").evaluate("(reach) => reach.classList.add('htmx-request')")
    assert page.evaluate("document.getAnimations().length") == 1


def test_back_and_forward_go_through_searches(page: Page) -> None:
    page.goto("/?q=a+cat")
    page.get_by_role("searchbox").fill("a flower")
    page.get_by_role("searchbox").press("Enter")
    expect(chip(page, "a flower")).to_be_visible()
    page.go_back()
    expect(chip(page, "a cat")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("a cat")
    page.go_forward()
    expect(chip(page, "a flower")).to_be_visible()


def test_an_expression_is_composed_by_clicking(page: Page, ids: dict[str, str]) -> None:
    page.goto("/")
    tile = page.locator(f'.tile[data-id="{ids["flower.jpg"]}"]')
    tile.hover()
    tile.get_by_role("button", name="Add to the search").click()
    expect(chip(page, "flower.jpg")).to_be_visible()
    expect(tile).to_have_count(0)  # what a query names is left out
    page.get_by_role("button", name="subtract", exact=True).click()
    page.keyboard.type("red")
    expect(chip(page, "red")).to_have_class("chip minus")
    assert query(page) == f"image:{ids['flower.jpg']} - red"

    page.get_by_role("button", name="Add red instead").click()
    expect(chip(page, "red")).to_have_class("chip plus")
    expect(page.get_by_role("searchbox")).to_have_value("red")
    page.get_by_label("Weight of red").select_option(label="2×")
    expect(page.get_by_role("searchbox")).to_have_value("2 * red")
    assert query(page) == f"image:{ids['flower.jpg']} + 2 * red"
    page.get_by_role("button", name="Remove flower.jpg").click()
    expect(chip(page, "flower.jpg")).to_have_count(0)
    assert query(page) == "2 * red"
    page.go_back()
    expect(chip(page, "flower.jpg")).to_be_visible()


def test_unknown_words_are_marked_in_the_box(page: Page) -> None:
    page.goto("/")
    page.get_by_role("searchbox").fill("a xqztl cat")
    expect(page.locator(".marks mark")).to_have_text("xqztl")
    expect(page.locator("#message")).to_contain_text("does not know xqztl")


def test_a_half_typed_expression_leaves_the_results(page: Page) -> None:
    page.goto("/?q=a+cat")
    page.get_by_role("searchbox").fill("a cat -")
    expect(page.locator("#message .problem")).to_contain_text("Nothing follows")
    expect(page.locator("#hits .tile").first).to_be_visible()
    page.get_by_role("searchbox").fill("a cat - dog")
    expect(page.locator("#message .problem")).to_have_count(0)
    expect(chip(page, "dog")).to_be_visible()


def test_a_dropped_photograph_finds_itself_also_after_reloading(page: Page, ids: dict[str, str]) -> None:
    page.goto("/")
    drop(page, (PHOTOS / "rocket.jpg").read_bytes(), "mine.jpg")
    expect(chip(page, "your photograph")).to_be_visible()
    assert first_photograph(page) == ids["rocket.jpg"]
    page.reload()
    expect(chip(page, "your photograph")).to_be_visible()
    assert first_photograph(page) == ids["rocket.jpg"]


def test_sentences_stand_in_columns(page: Page) -> None:
    page.goto("/?q=a+white+dog&target=sentences")
    edges = page.evaluate(
        "[...document.querySelectorAll('.lines .score:first-of-type')].map((one) => one.getBoundingClientRect().right)"
    )
    assert len(edges) > 3
    assert len(set(edges)) == 1


def test_a_pasted_photograph_is_searched_with_and_other_files_are_not(page: Page, ids: dict[str, str]) -> None:
    page.goto("/")
    paste(page, b"words", "notes.txt", "text/plain")
    paste(page, (PHOTOS / "rocket.jpg").read_bytes(), "mine.jpg")
    expect(chip(page, "your photograph")).to_have_count(1)
    assert first_photograph(page) == ids["rocket.jpg"]


def test_dragging_a_photograph_over_the_page_says_what_it_is_for(page: Page) -> None:
    page.goto("/")
    drag(page, "dragover")
    expect(page.get_by_text("Drop a photograph to search with it")).to_be_visible()
    drag(page, "dragleave")
    expect(page.get_by_text("Drop a photograph to search with it")).to_be_hidden()


def test_the_slider_leaves_out_what_is_less_sure_and_the_address_holds_it(page: Page, ids: dict[str, str]) -> None:
    page.goto("/?q=a+cat")
    hits = page.locator("#hits .tile")
    expect(hits).not_to_have_count(0)
    everything = hits.count()
    slider = page.get_by_role("slider", name="sure")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#sure output")).to_have_text("10")
    expect(page).to_have_url(re.compile(r"[?&]min_confidence=0\.1$"))
    expect(hits).not_to_have_count(everything)
    sure = hits.count()
    assert 0 < sure < everything
    assert first_photograph(page) == ids["cat.jpg"]
    for score in page.locator("#hits .score").all_inner_texts():
        assert int(score.split()[0]) >= 10

    page.reload()
    expect(slider).to_have_value("0.1")
    expect(hits).to_have_count(sure)

    slider.focus()
    page.keyboard.press("Home")
    expect(hits).to_have_count(everything)
    assert "min_confidence" not in page.url


def test_sentences_are_found_too(page: Page) -> None:
    page.goto("/?q=a+white+dog")
    page.get_by_role("link", name="Sentences", exact=True).click()
    page.locator(".lines li a", has_text="A white dog runs on the beach.").click()
    expect(chip(page, "A white dog runs on the beach.")).to_be_visible()


def test_nothing_moves_sideways_on_a_phone(page: Page, ids: dict[str, str]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/?q=image:" + ids["cat.jpg"] + "+-+blue", "/add", "/map", "/model", f"/photos/{ids['cat.jpg']}"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, path
        expect(page.get_by_role("navigation")).to_be_in_viewport()


def test_days_are_chosen_and_taken_back(page: Page) -> None:
    page.goto("/?q=a+cat")
    taken = page.locator("#when")
    taken.locator("summary").click()
    page.locator("#first").fill("2024-05-01")
    expect(chip(page, "from 1 May 2024")).to_be_visible()
    page.locator("#last").fill("2024-05-03")
    expect(chip(page, "from 1 May 2024 to 3 May 2024")).to_be_visible()
    assert parse_qs(urlsplit(page.url).query) == {
        "q": ["a cat"],
        "taken_after": ["2024-05-01"],
        "taken_before": ["2024-05-04"],
    }
    expect(page.get_by_text("No photograph is known to match this time")).to_be_visible()
    page.locator("#first").press("Escape")
    expect(page.locator("#first")).to_be_hidden()
    page.go_back()
    page.go_back()
    expect(page.locator("#hits .tile").first).to_be_visible()
    expect(page.locator("#first")).to_have_value("")
    page.locator("[data-target=sentences]").click()
    expect(taken).to_be_hidden()
