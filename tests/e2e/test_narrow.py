"""Pages on a small telephone: nothing is wider than the window, and the navigation has room for all its entries."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

LIMITS = "/?q=cat&taken_after=2023-03-01&taken_before=2024-09-01&camera=canon&near=52.52,13.405,5"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_small_telephone(open_context: Callable[..., BrowserContext], scheme: str) -> None:
    page = open_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True).new_page()
    for path in ("/", LIMITS, "/timeline", "/sources", "/add", "/model"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        boxes = [one.bounding_box() for one in page.locator(".top nav a").all()]
        places = [(box["x"], box["x"] + box["width"]) for box in boxes if box is not None]
        assert len(places) == 6, path
        assert all(left >= 0 and right <= 360 for left, right in places), path
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(places)), path
    page.goto(LIMITS)
    label = page.get_by_text("from 1 March 2023 to 31 August 2024")
    expect(label).to_be_visible()
    assert label.evaluate("(one) => one.parentElement.scrollWidth <= one.parentElement.clientWidth"), "it is cut off"
