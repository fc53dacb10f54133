"""The operands of a search as chips: each links to the search without it, reversed, or reweighed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.search.expression import Expression, Reference, Term, Text
from app.service import Service
from app.web.thumbnails import thumbnail_url
from app.web.view import View
from index import ImageRecord, RecordNotFound

WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
"""What a chip offers. Other weights can be typed."""

_MAX_LABEL = 60


@dataclass(frozen=True)
class Choice:
    """A weight on offer: what it is called, and the search with it."""

    label: str
    url: str
    chosen: bool


@dataclass(frozen=True)
class Chip:
    """One operand. `flip` and `weights` are missing where there is nothing to change."""

    kind: Literal["text", "image", "sentence", "picture"]
    label: str
    negative: bool
    unknown: bool
    remove: str
    flip: str | None = None
    weights: tuple[Choice, ...] = ()
    thumbnail: str | None = None
    page: str | None = None


def chips(
    view: View, expression: Expression | None, unknown: Sequence[str], service: Service, *, held: bool = True
) -> list[Chip]:
    """All operands of a search in order, the photograph that was dropped first: is it still `held` to be shown?"""
    found: list[Chip] = []
    if view.picture is not None:
        found.append(
            Chip(
                kind="picture",
                label="your photograph",
                negative=False,
                unknown=False,
                remove=replace(view, picture=None).url(),
                thumbnail=f"/pictures/{view.picture}" if held else None,
            )
        )
    terms = expression.terms if expression is not None else ()
    found += [_chip(view, terms, index, unknown, service) for index in range(len(terms))]
    return found


def references(expression: Expression | None) -> str:
    """The stored photographs and sentences of an expression, as an expression; empty when there are none."""
    return _joined(term for term in _terms(expression) if isinstance(term.operand, Reference))


def text(expression: Expression | None) -> str:
    """The rest, which is what stands in the box."""
    return _joined(term for term in _terms(expression) if isinstance(term.operand, Text))


def _chip(view: View, terms: tuple[Term, ...], index: int, unknown: Sequence[str], service: Service) -> Chip:
    term = terms[index]

    def url(changed: Term | None) -> str:
        rest = (*terms[:index], *([changed] if changed else []), *terms[index + 1 :])
        return replace(view, q=_joined(rest)).url()

    def reweighed(weight: float) -> Term:
        return replace(term, weight=-weight if term.weight < 0 else weight)

    magnitudes = sorted({*WEIGHTS, abs(term.weight)})
    operand = term.operand
    kind: Literal["text", "image", "sentence"]
    thumbnail = page = None
    is_unknown = False
    match operand:
        case Text(words):
            kind, label = "text", words
            is_unknown = any(word in unknown for word in words.lower().split())
        case Reference("image", image_id):
            kind, label, page = "image", "deleted photograph", f"/photos/{image_id}"
            if (record := _image(service, image_id)) is not None:
                label, thumbnail = record.filename or "photograph", thumbnail_url(record.sha256)
        case Reference(_, sentence_id):
            kind, label = "sentence", _sentence_label(service, sentence_id)
    return Chip(
        kind=kind,
        label=label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 1] + "…",
        negative=term.weight < 0,
        unknown=is_unknown,
        remove=url(None),
        flip=url(replace(term, weight=-term.weight)),
        weights=tuple(
            Choice(f"{magnitude:g}×", url(reweighed(magnitude)), magnitude == abs(term.weight))
            for magnitude in magnitudes
        ),
        thumbnail=thumbnail,
        page=page,
    )


def _terms(expression: Expression | None) -> tuple[Term, ...]:
    return expression.terms if expression is not None else ()


def _joined(terms: Iterable[Term]) -> str:
    remaining = tuple(terms)
    return str(Expression(remaining)) if remaining else ""


def _image(service: Service, image_id: str) -> ImageRecord | None:
    try:
        return service.get_image(image_id)
    except RecordNotFound:
        return None


def _sentence_label(service: Service, sentence_id: str) -> str:
    try:
        return f"“{service.get_sentence(sentence_id).text}”"
    except RecordNotFound:
        return "deleted sentence"
