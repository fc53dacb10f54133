"""axe-core on every page, light and dark, wide and narrow: nothing serious, nothing critical."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import Watched

AXE = gzip.decompress((Path(__file__).parent / "vendor" / "axe-4.14.1.min.js.gz").read_bytes()).decode()

WIDTHS = (1440, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def findings(page: Page) -> dict[str, list[str]]:
    """What axe finds on a page that is serious or critical, one line each, by width and colours."""
    page.evaluate(AXE)
    found: dict[str, list[str]] = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            problems = [
                f"{violation['id']} ({violation['impact']}): {node['html']} {node['failureSummary']}"
                for violation in result["violations"]
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]
            if problems:
                found[f"{page.url} {width} {scheme}"] = problems
    return found


def test_every_page(open_context: Callable[..., BrowserContext], ids: dict[str, str], watched: Watched) -> None:
    watched.expect("status of 404")  # the page about what is not there
    watched.expect("status of 422")
    page = open_context().new_page()
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
        found |= findings(page)
    assert found == {}
