"""What a search asks for: its operands as vectors, the sum of them, and what kind of query it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.cache import Vector
from app.problems import Problem
from app.results import Contribution, SearchOptions
from app.search.expression import Expression, Reference, Term, Text
from index import Target
from model.bundle import CalibrationCurve
from model.chances import QueryKind, chances, find_curve, known_share, lowest_cosine, sentence_traits, sum_traits
from model.composition import Term as ComposedTerm
from model.errors import NoKnownWordsError
from model.space import JointSpace

Kind = Literal["image", "text"]

UPLOADED = "image"
"""What an uploaded image is called where its share of a score is explained."""


@dataclass(frozen=True)
class Operand:
    """One term of a sum: what it is called, its words or its vector (D,), and its signed weight.

    `text`: the words of a stored sentence, whose value is its vector.
    """

    name: str
    value: Vector | str
    weight: float
    kind: Kind
    text: str | None = None


@dataclass(frozen=True)
class Question:
    """A query made ready: `parts` (n, D) add up to the unit vector that is searched by, one row an operand.

    `traits` are what its chances depend on besides a score (`model.chances`), empty where they are not known.
    `known` is the share of the content words put in that the model knows: a hit is right for as much of the query at
    best. `kind` is None for what has no chance: a sum of texts that puts nothing in.
    """

    kind: QueryKind | None
    operands: tuple[Operand, ...]
    parts: Vector
    traits: tuple[float, ...] = ()
    known: float = 1.0

    @property
    def vector(self) -> Vector:
        """The unit vector (D,) of the sum."""
        total: Vector = self.parts.sum(axis=0, dtype=np.float64).astype(np.float32)
        return total

    @property
    def weight(self) -> float:
        """The weight of the first operand: that of a question with one."""
        return self.operands[0].weight

    def contributions(self, vector: Vector) -> tuple[Contribution, ...]:
        """What each operand adds to the score of a record with this vector (D,), in the order of the query."""
        shares = self.parts.astype(np.float64) @ vector.astype(np.float64)
        return tuple(
            Contribution(operand.name, operand.weight, float(share))
            for operand, share in zip(self.operands, shares, strict=True)
        )


class Asking:
    """Turns expressions into questions, by a space and by whatever looks up what they name."""

    def __init__(
        self,
        space: JointSpace,
        sentence: Callable[[str], Vector],
        stored: Callable[[Reference], tuple[Vector, str | None]],
    ) -> None:
        """`sentence` embeds a whole one; `stored` gives vector and, of a sentence, text of a record: RecordNotFound."""
        self._space = space
        self._sentence = sentence
        self._stored = stored

    def question(self, expression: Expression | None, image: Vector | None) -> Question:
        """The question that an expression, an uploaded image's vector, or both ask.

        One text alone is a sentence, for the sentence encoder; the operands of arithmetic are for the linear one.
        Problem invalid_request without either; TextError, DegenerateQueryError, RecordNotFound.
        """
        if expression is None:
            if image is None:
                raise Problem("invalid_request", "A search needs a query or an image. Give at least one.")
            return Question("image", (Operand(UPLOADED, image, 1.0, "image"),), image[np.newaxis, :])
        if image is None and len(expression.terms) == 1 and expression.terms[0].weight > 0:
            return self._alone(expression.terms[0])
        operands = [] if image is None else [Operand(UPLOADED, image, 1.0, "image")]
        for term in expression.terms:
            self._check_known(term)
            match term.operand:
                case Text(text):
                    operands.append(Operand(str(term.operand), text, term.weight, "text"))
                case Reference(kind) as reference:
                    vector, stored = self._stored(reference)
                    operands.append(
                        Operand(str(reference), vector, term.weight, "image" if kind == "image" else "text", stored)
                    )
        # Only the ratios of the weights matter; at their natural scale a sum near zero can be told.
        scale = max(abs(operand.weight) for operand in operands)
        terms: list[ComposedTerm] = [(one.value, one.weight / scale, one.kind) for one in operands]
        composition = self._space.composition(terms)
        texts = [one.value if isinstance(one.value, str) else one.text for one in operands]
        asked, traits = sum_traits(self._space, terms, composition, texts)
        put = [one.value for one in operands if isinstance(one.value, str) and one.weight > 0]
        return Question(asked, tuple(operands), composition.parts, traits, known_share(self._space, " ".join(put)))

    def apart(self, question: Question) -> list[Question]:
        """Each operand as a question of its own, for an intersection; a negative weight asks for what is not so."""
        alone: list[Question] = []
        for operand in question.operands:
            if isinstance(operand.value, str):
                alone.append(self._of_sentence(operand, operand.value))
            else:
                alone.append(self._of_record(operand, operand.value))
        return alone

    def chance(self, question: Question, target: Target, score: float | Vector) -> NDArray[np.float64] | None:
        """The chances that hits with these scores are right; None where the bundle does not say."""
        curve = self._curve(question.kind, target)
        return None if curve is None else question.known * chances(curve, score, question.traits)

    def lowest_score(self, question: Question, options: SearchOptions) -> float | None:
        """The lowest score that the options allow.

        Problem calibration_missing where a chance cannot be told, invalid_request where nothing is looked for.
        """
        if options.min_confidence is None:
            return options.min_score
        if question.kind is None:
            raise Problem(
                "invalid_request",
                "min_confidence needs something to look for, and this query only takes away. Add a term without a "
                "minus, or do without min_confidence.",
            )
        curve = self._curve(question.kind, options.target)
        if curve is None:
            raise self.no_calibration("min_confidence")
        wanted = lowest_cosine(curve, options.min_confidence / question.known, question.traits)
        bounds = [bound for bound in (options.min_score, wanted) if bound is not None and bound > -math.inf]
        return min(max(bounds), 2.0) if bounds else None

    def no_calibration(self, wanted: str) -> Problem:
        """What to do about a bundle that has no curve for a query of which `wanted` needs one."""
        return Problem(
            "calibration_missing",
            f"{wanted} needs chances, and the bundle {self._space.name} tells none for such a query. Do without it, or "
            "fit them: visem train calibration --data DIR --model BUNDLE",
        )

    def _curve(self, kind: QueryKind | None, target: Target) -> CalibrationCurve | None:
        calibration = self._space.config.calibration
        return None if calibration is None or kind is None else find_curve(calibration, kind, target)

    def _alone(self, term: Term) -> Question:
        """A single operand: a sentence for the sentence encoder, or a stored record."""
        match term.operand:
            case Text(text):
                return self._of_sentence(Operand(str(term.operand), text, 1.0, "text"), text)
            case Reference(kind) as reference:
                vector, stored = self._stored(reference)
                named = Operand(str(reference), vector, 1.0, "image" if kind == "image" else "text", stored)
                return self._of_record(named, vector)

    def _of_sentence(self, operand: Operand, text: str) -> Question:
        vector, traits = self._sentence(text), sentence_traits(self._space, text)
        return Question("sentence", (operand,), vector[np.newaxis, :], traits, known_share(self._space, text))

    def _of_record(self, operand: Operand, vector: Vector) -> Question:
        traits = () if operand.text is None else sentence_traits(self._space, operand.text)
        return Question("image" if operand.kind == "image" else "sentence", (operand,), vector[np.newaxis, :], traits)

    def _check_known(self, term: Term) -> None:
        """Refuse an operand without a known word. Where only some are unknown, the answer reports them."""
        if not isinstance(term.operand, Text):
            return
        numbers, unknown = self._space.bundle.vocabulary.resolve(term.operand.text)
        if unknown and not numbers:
            raise UnknownOperandError(term.operand.text, unknown, term.column)


class UnknownOperandError(NoKnownWordsError):
    """An operand of an expression of which the model knows no word; `column` (1-based) points at it."""

    def __init__(self, text: str, unknown: Sequence[str], column: int) -> None:
        super().__init__(text, unknown)
        self.column = column
        self.args = (f"{self.args[0]} (column {column})",)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text, self.unknown, self.column)
