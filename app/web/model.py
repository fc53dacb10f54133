"""The model page: what the bundle is, how good it was when measured, and what the library holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from app.http.dependencies import ServiceDep
from app.version import VERSION
from app.web.rendering import render

_DIRECTIONS = {"image_to_sentence": "photograph to sentence", "sentence_to_image": "sentence to photograph"}
_ENCODERS = {"bag": "linear", "lstm": "LSTM", "mean": "mean of both"}
_RANKS = (1, 5, 10)

router = APIRouter()


@dataclass(frozen=True)
class Retrieval:
    """Recall of one sentence encoder on one split in one direction: in percent at 1, 5, 10; and the median rank."""

    split: str
    encoder: str
    used: bool
    direction: str
    recalls: tuple[float, ...]
    median_rank: float


@router.get("/model")
def model_page(request: Request, service: ServiceDep) -> Response:
    """The model card with its tables and plots."""
    model = service.model()
    config = model.config
    figures = retrieval(config.quality, model.sentence_encoder)
    plots: dict[str, dict[str, list[Retrieval]]] = {}
    for row in figures:
        plots.setdefault(row.split, {}).setdefault(row.direction, []).append(row)
    return render(
        request,
        "model.html",
        space=model,
        config=config,
        retrieval=figures,
        plots=plots,
        regularities=regularities(config.quality),
        ranks=_RANKS,
        stats=service.stats(),
        version=VERSION,
        card=card_html(service.model_card()),
    )


def retrieval(quality: Mapping[str, Any], used: str) -> list[Retrieval]:
    """The retrieval figures among the measured ones, in their order; those that are there."""
    found: list[Retrieval] = []
    for split, figures in quality.items():
        for encoder, directions in _mapping(_mapping(figures).get("retrieval")).items():
            for direction, name in _DIRECTIONS.items():
                numbers = _mapping(_mapping(directions).get(direction))
                if all(f"r{rank}" in numbers for rank in _RANKS):
                    found.append(
                        Retrieval(
                            split=split,
                            encoder=_ENCODERS.get(encoder, encoder),
                            used=encoder == used,
                            direction=name,
                            recalls=tuple(float(numbers[f"r{rank}"]) for rank in _RANKS),
                            median_rank=float(numbers.get("median_rank", 0)),
                        )
                    )
    return found


def regularities(quality: Mapping[str, Any]) -> list[tuple[str, str, float, float]]:
    """Success of arithmetic: split, what was tried, percent at 1 and at 10."""
    names = {"arithmetic": "arithmetic", "image_only": "the image alone", "text_only": "the text alone"}
    found: list[tuple[str, str, float, float]] = []
    for split, figures in quality.items():
        measured = _mapping(_mapping(figures).get("regularities"))
        for kind, name in names.items():
            numbers = _mapping(measured.get(kind))
            if "success_at_1" in numbers and "success_at_10" in numbers:
                found.append((split, name, float(numbers["success_at_1"]), float(numbers["success_at_10"])))
    return found


def card_html(markdown: str) -> Markup:
    """A model card as HTML. HTML within it is shown, not obeyed: a bundle may come from anywhere."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer.add_render_rule("table_open", _table_open)
    renderer.add_render_rule("table_close", _table_close)
    tokens = renderer.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):  # below the headings of the page
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        if token.type in ("th_open", "td_open"):
            token.attrs.pop("style", None)  # alignment, which the content security policy forbids
    return Markup(renderer.renderer.render(tokens, renderer.options, {}))  # noqa: S704  # escaped by the renderer


def _table_open(*_: object) -> str:
    """A table that is wider than the screen scrolls by itself, also by keys."""
    return '<div class="scroll" tabindex="0" role="region" aria-label="Table of the model card">\n<table>\n'


def _table_close(*_: object) -> str:
    return "</table>\n</div>\n"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
