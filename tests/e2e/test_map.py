"""The map: photographs and words in a plane, by mouse and by keys."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect


def test_photographs_and_words_are_placed_and_open(page: Page) -> None:
    page.goto("/map")
    expect(page.locator("#map-status")).to_contain_text("photographs")
    page.get_by_label("Words to place").fill("dog, flower")
    page.get_by_role("button", name="Place").click()
    expect(page.locator("#map-status")).to_contain_text("2 words")
    assert "words=dog" in page.url
    before = page.locator("#canvas").screenshot()
    page.get_by_role("button", name="Zoom in").click()
    page.mouse.move(600, 500)
    page.mouse.down()
    page.mouse.move(700, 560, steps=4)
    page.mouse.up()
    assert page.locator("#canvas").screenshot() != before
    page.get_by_role("button", name="Fit").click()
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#map-status")).to_contain_text(".jpg")
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/photos/"))


def test_a_frame_does_not_ask_for_the_size_of_the_canvas_for_every_point(page: Page) -> None:
    page.goto("/map")
    expect(page.locator("#map-status")).to_contain_text("photographs")
    page.evaluate(
        """() => {
            window.asked = 0;
            const canvas = document.getElementById("canvas");
            for (const [name, length] of [["clientWidth", canvas.clientWidth], ["clientHeight", canvas.clientHeight]]) {
                Object.defineProperty(canvas, name, { configurable: true, get: () => (window.asked++, length) });
            }
        }"""
    )
    before = page.locator("#canvas").screenshot()
    page.get_by_role("button", name="Zoom in").click()
    page.mouse.move(600, 500)
    page.wait_for_timeout(200)
    assert page.locator("#canvas").screenshot() != before
    assert page.evaluate("window.asked") < 5
    page.evaluate("(() => { const { canvas } = window; delete canvas.clientWidth; delete canvas.clientHeight; })()")
    page.set_viewport_size({"width": 700, "height": 900})
    expect(page.locator("#canvas")).to_have_attribute("width", re.compile(r"^6\d\d$"))
