"""axe-core on every page, light and dark, wide and narrow: nothing serious, nothing critical."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import Watched

AXE = gzip.decompress((Path(__file__).parent / "vendor" / "axe-4.14.1.min.js.gz").read_bytes()).decode()


def findings(page: Page) -> list[str]:
    """What axe finds that is serious or critical, one line each."""
    page.evaluate(AXE)
    result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']} ({violation['impact']}): {node['html']} {node['failureSummary']}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_page(
    open_context: Callable[..., BrowserContext],
    ids: dict[str, str],
    watched: Watched,
    scheme: Literal["light", "dark"],
    width: int,
) -> None:
    watched.expect("status of 404")  # the page about what is not there
    watched.expect("status of 422")
    page = open_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    paths = [
        "/",
        f"/?q=image:{ids['cat.jpg']}+-+xqztl+%2B+2+*+dog",
        "/?q=a+dog&target=sentences&min_confidence=0.1",
        "/?q=xqztl",
        "/add",
        "/sources",
        "/map",
        "/model",
        f"/photos/{ids['cat.jpg']}",
        "/photos/none",
    ]
    found: dict[str, list[str]] = {}
    for path in paths:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        if problems := findings(page):
            found[path] = problems
    assert found == {}
