"""The operands of a query made ready: what they name is looked up, and which of their words are unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.embedding.cache import Vector
from app.search.expression import Expression, Operand, Reference, Text
from index import Library
from model.compose.arithmetic import Kind
from model.errors import NoKnownWordsError
from model.space import JointSpace

UPLOADED = "image"
"""What an uploaded image is called where its share of a score is explained."""


@dataclass(frozen=True)
class ResolvedOperand:
    """One summand: what it is called, its signed weight, and its words or its vector (D,), or both.

    `vector` is None for a text that was typed: how that is embedded depends on what it stands among. `text` is None for
    an image. `unknown` are the words of the text that the model does not know.
    """

    name: str
    weight: float
    kind: Kind
    vector: Vector | None = None
    text: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def typed(self) -> str | None:
        """The words that the query itself puts in or takes away; None for what it names."""
        return self.text if self.vector is None else None


def uploaded(vector: Vector) -> ResolvedOperand:
    """An uploaded image, by its vector (D,)."""
    return ResolvedOperand(UPLOADED, 1.0, "image", vector)


def resolve(space: JointSpace, library: Library, expression: Expression, *, alone: bool) -> list[ResolvedOperand]:
    """The operands of an expression, in order; `alone`: no image is added to it.

    RecordNotFound; UnknownOperandError for an operand of arithmetic (a sentence alone is the encoder's to refuse).
    """
    sentence = alone and expression.sentence is not None
    return [_resolve(space, library, operand, refuse=not sentence) for operand in expression.operands]


def unknown_words(operands: Iterable[ResolvedOperand]) -> tuple[str, ...]:
    """The words of the query that the model does not know, in order, without repeats."""
    return tuple(dict.fromkeys(word for one in operands if one.typed is not None for word in one.unknown))


def _resolve(space: JointSpace, library: Library, operand: Operand, *, refuse: bool) -> ResolvedOperand:
    match operand.value:
        case Text(text):
            unknown = space.unknown_words(text)
            if refuse and unknown and not space.knows(text):
                raise UnknownOperandError(text, unknown, operand.column)
            return ResolvedOperand(str(operand.value), operand.weight, "text", text=text, unknown=tuple(unknown))
        case Reference("image", image_id) as image:
            (vector,) = library.image_vectors([image_id])
            return ResolvedOperand(str(image), operand.weight, "image", vector)
        case Reference(_, sentence_id) as sentence:
            (vector,) = library.sentence_vectors([sentence_id])
            text = library.get_sentence(sentence_id).text
            unknown = space.unknown_words(text)
            return ResolvedOperand(str(sentence), operand.weight, "text", vector, text, tuple(unknown))


class UnknownOperandError(NoKnownWordsError):
    """An operand of an expression of which the model knows no word; `column` (1-based) points at it."""

    def __init__(self, text: str, unknown: Sequence[str], column: int) -> None:
        super().__init__(text, unknown)
        self.column = column
        self.args = (f"{self.args[0]} (column {column})",)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text, self.unknown, self.column)
