"""What a search asks for: a unit vector, what each operand adds to it, and what kind of query it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.embedding.cache import Vector
from app.search.operands import ResolvedOperand
from app.search.results import Contribution
from model.compose.arithmetic import Operand
from model.compose.calibration import QueryKind, known_share, sentence_traits, sum_traits
from model.space import JointSpace


@dataclass(frozen=True)
class Question:
    """A query made ready: `parts` (n, D) add up to the unit vector that is searched by, one row an operand.

    `traits` are what the probability of relevance depends on besides the score (`model.compose.calibration`); empty if
    they are not known. `known` is the share of the added content words that the model knows: a hit answers that
    share of the query at best. `kind` is None if there is no such probability: for a sum of texts that only subtracts.
    """

    kind: QueryKind | None
    operands: tuple[ResolvedOperand, ...]
    parts: Vector
    traits: tuple[float, ...] = ()
    known: float = 1.0

    @property
    def vector(self) -> Vector:
        """The unit vector (D,) of the sum."""
        total: Vector = self.parts.sum(axis=0, dtype=np.float64).astype(np.float32)
        return total

    def contributions(self, vector: Vector) -> tuple[Contribution, ...]:
        """What each operand adds to the score of a record with this vector (D,), in the order of the query."""
        shares = self.parts.astype(np.float64) @ vector.astype(np.float64)
        return tuple(
            Contribution(operand.name, operand.weight, float(share))
            for operand, share in zip(self.operands, shares, strict=True)
        )


def ask_alone(operand: ResolvedOperand, vector: Vector) -> Question:
    """What one operand asks for by itself, whatever its weight. `vector` (D,): of a text, by the sentence encoder."""
    traits = () if operand.text is None else sentence_traits(operand.text, operand.unknown)
    known = 1.0 if operand.typed is None else known_share(operand.typed, operand.unknown)
    kind: QueryKind = "image" if operand.kind == "image" else "sentence"
    return Question(kind, (operand,), vector[np.newaxis, :], traits, known)


def ask_sum(space: JointSpace, operands: Sequence[ResolvedOperand]) -> Question:
    """What a weighted sum asks for, by the bundle's rule of arithmetic. EmptyTextError, DegenerateQueryError."""
    # Only the ratios of the weights matter; at their natural scale a sum near zero can be told.
    scale = max(abs(one.weight) for one in operands)
    summands: list[Operand] = [
        (str(one.text) if one.vector is None else one.vector, one.weight / scale, one.kind) for one in operands
    ]
    composition = space.composition(summands)
    kind, traits = sum_traits(summands, composition, [one.text for one in operands], [one.unknown for one in operands])
    put = [one for one in operands if one.typed is not None and one.weight > 0]
    known = known_share(" ".join(str(one.typed) for one in put), [word for one in put for word in one.unknown])
    return Question(kind, tuple(operands), composition.parts, traits, known)
