"""The model page: figures that are there, a card that is text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.web.model import card_html, regularities, retrieval
from model.bundle import Bundle, shipped_bundle
from model.space import JointSpace

QUALITY: dict[str, Any] = {
    "flickr8k-dev": {
        "retrieval": {
            "bag": {"image_to_sentence": {"r1": 29.0, "r5": 57.0, "r10": 69.9, "median_rank": 4.0}},
            "mean": {"sentence_to_image": {"r1": 21.8, "r5": 49.0}, "image_to_sentence": "nonsense"},
        },
        "regularities": {"arithmetic": {"success_at_1": 9.8, "success_at_10": 31.0}, "queries": 12},
    },
    "odd": 3,
}


def test_figures_are_read_as_far_as_they_are_there() -> None:
    (row,) = retrieval(QUALITY, "bag")
    assert (row.split, row.encoder, row.used) == ("flickr8k-dev", "linear", True)
    assert (row.direction, row.recalls, row.median_rank) == ("photograph to sentence", (29.0, 57.0, 69.9), 4.0)
    assert regularities(QUALITY) == [("flickr8k-dev", "arithmetic", 9.8, 31.0)]
    assert retrieval({}, "bag") == []


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "[x](javascript:alert(1))", "<img src=x onerror=y>"])
def test_a_card_from_anywhere_is_only_text(hostile: str) -> None:
    html = card_html(f"# Title\n\n{hostile}\n\n| a | b |\n|--:|---|\n| 1 | {hostile} |")
    for part in ("<script", "<img", 'href="javascript', "style="):
        assert part not in html
    assert "<h2>Title</h2>" in html
    assert "<td>1</td>" in html


def test_the_page_has_the_bundles_figures(connect: Callable[..., TestClient], space: JointSpace) -> None:
    quality = Bundle.load_config(shipped_bundle()).quality
    client = connect(space=space.with_config(space.config.model_copy(update={"quality": quality})))
    text = client.get("/model").text
    info = client.get("/v1/info").json()
    assert info["space"]["name"] in text
    for directions in info["space"]["config"]["quality"]["flickr8k-dev"]["retrieval"].values():
        for figures in directions.values():
            assert f"{figures['r1']:.1f}" in text
