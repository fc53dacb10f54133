"""The operands of a search as chips: each links to the search without it, reversed, or reweighed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.search.expression import Expression, Operand, Reference, Text
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
    operands = _operands(expression)
    found += [_chip(view, operands, index, unknown, service) for index in range(len(operands))]
    return found


def references(expression: Expression | None) -> str:
    """The stored photographs and sentences of an expression, as an expression; empty when there are none."""
    return _joined(one for one in _operands(expression) if isinstance(one.value, Reference))


def text(expression: Expression | None) -> str:
    """The rest, which is what stands in the box."""
    return _joined(one for one in _operands(expression) if isinstance(one.value, Text))


def _chip(view: View, operands: tuple[Operand, ...], index: int, unknown: Sequence[str], service: Service) -> Chip:
    operand = operands[index]

    def url(changed: Operand | None) -> str:
        rest = (*operands[:index], *([changed] if changed else []), *operands[index + 1 :])
        return replace(view, q=_joined(rest)).url()

    def reweighed(weight: float) -> Operand:
        return replace(operand, weight=-weight if operand.weight < 0 else weight)

    magnitudes = sorted({*WEIGHTS, abs(operand.weight)})
    kind: Literal["text", "image", "sentence"]
    thumbnail = page = None
    is_unknown = False
    match operand.value:
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
        negative=operand.weight < 0,
        unknown=is_unknown,
        remove=url(None),
        flip=url(replace(operand, weight=-operand.weight)),
        weights=tuple(
            Choice(f"{magnitude:g}×", url(reweighed(magnitude)), magnitude == abs(operand.weight))
            for magnitude in magnitudes
        ),
        thumbnail=thumbnail,
        page=page,
    )


def _operands(expression: Expression | None) -> tuple[Operand, ...]:
    return expression.operands if expression is not None else ()


def _joined(operands: Iterable[Operand]) -> str:
    remaining = tuple(operands)
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
