"""One search from beginning to end: parse, look up and embed the operands, compose, search, calibrate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.embedding.batcher import Left
from app.embedding.cache import Vector
from app.embedding.embedder import Embedder
from app.problems import Problem
from app.search.all_operands import DEPTH, intersect
from app.search.confidence import Confidence
from app.search.expression import Expression, parse
from app.search.operands import ResolvedOperand, resolve, unknown_words, uploaded
from app.search.query_vector import Question, ask_alone, ask_sum
from app.search.results import Contribution, FoundHit, SearchOptions, SearchResult
from index import Hit, Library, Page, RecordNotFound
from model.space import JointSpace


class SearchEngine:
    """Finds the records of a library that are nearest to expressions and images. Thread-safe."""

    def __init__(self, space: JointSpace, library: Library, embedder: Embedder) -> None:
        self._space = space
        self._library = library
        self._embedder = embedder
        self._confidence = Confidence(space.config)

    def search(
        self,
        query: Expression | str | None,
        options: SearchOptions,
        image: Vector | None,
    ) -> SearchResult:
        """Find what is nearest to an expression, to an image (its vector), or to the sum of both.

        Images and sentences that the query names are left out unless `options.include_query_items`.
        QueryError, TextError, DegenerateQueryError, RecordNotFound, InvalidCursor, InvalidFilter; Problem
        invalid_request, calibration_missing.
        """
        expression = parse(query) if isinstance(query, str) else query
        if options.concepts and options.target == "sentences":
            raise Problem("invalid_request", "Only images have concepts. Leave out concept, or search for images.")
        if not options.photo.is_empty and options.target == "sentences":
            raise Problem(
                "invalid_request",
                "Only images were taken somewhere and at a time. Leave out taken_after, taken_before, camera and near, "
                "or search for images.",
            )
        search = _Search(self._library, options, _excluded(expression, options))
        question = self.question(expression, image)
        if options.all:
            hits, next_cursor, best = self._fitting_all(question, search)
        else:
            hits, next_cursor, best = self._nearest(question, search)
        return SearchResult(
            expression=None if expression is None else str(expression),
            target=options.target,
            hits=hits,
            next_cursor=next_cursor,
            unknown_words=unknown_words(question.operands),
            best_confidence=best if options.cursor is None else None,
        )

    def is_ready(self, options: SearchOptions) -> bool:
        """Tell whether a search would begin at once; as `Library.is_ready`."""
        return self._library.is_ready(options.target)

    def announce(self, query: Expression | str | None, left: Left) -> None:
        """Note that a search is about to come, so that its sentence is embedded together with those of others.

        Not if its client has `left` by then.
        """
        if isinstance(query, Expression) and query.sentence is not None:
            self._embedder.announce(query.sentence, left)

    def question(self, expression: Expression | None, image: Vector | None) -> Question:
        """What a search asks for; errors as `search`.

        One operand alone, such as a sentence, is what it is; several, or one that is subtracted, are a sum, in which an
        uploaded image comes first.
        """
        if expression is None and image is None:
            raise Problem("invalid_request", "A search needs a query or an image. Give at least one.")
        operands = [] if image is None else [uploaded(image)]
        if expression is not None:
            operands += resolve(self._space, self._library, expression, alone=image is None)
        if len(operands) == 1 and operands[0].weight > 0:
            return self._alone(operands[0])
        return ask_sum(self._space, operands)

    def _alone(self, operand: ResolvedOperand) -> Question:
        vector = operand.vector
        return ask_alone(operand, self._embedder.sentence(str(operand.text)) if vector is None else vector)

    def _nearest(self, question: Question, search: _Search) -> tuple[list[FoundHit], str | None, float | None]:
        """The page of what is nearest to the whole, its next cursor, and the confidence of the best record."""
        options = search.options
        lowest = self._confidence.lowest_score(question, options)
        page = search.page(question.vector, options.k, cursor=options.cursor, min_score=lowest)
        hits = self._with_confidence(question, page.items, search)
        if not hits and options.cursor is None:  # everything is below the requested limits
            best = self._with_confidence(question, search.page(question.vector, 1).items, search)
        else:
            best = hits[:1]
        return hits, page.next_cursor, best[0].confidence if best else None

    def _fitting_all(self, question: Question, search: _Search) -> tuple[list[FoundHit], str | None, float | None]:
        """The page of what fits every operand, its next cursor, and the confidence of the best record."""
        parts = [self._alone(operand) for operand in question.operands]
        wanted = [part for part in parts if part.operands[0].weight > 0]
        found = {hit.record.id: hit for part in wanted for hit in search.page(part.vector, DEPTH).items}
        hits, vectors = search.with_vectors(list(found.values()))
        page = intersect(parts, question.vector.tobytes(), hits, vectors, self._confidence, search.options)
        return page.hits, page.next_cursor, page.best_confidence

    def _with_confidence(self, question: Question, hits: Sequence[Hit], search: _Search) -> list[FoundHit]:
        """Hits with their confidence, and with what each operand added if that is wanted."""
        explanations: list[tuple[Contribution, ...] | None] = [None] * len(hits)
        if search.options.explain:
            hits, vectors = search.with_vectors(hits)
            explanations = [question.contributions(vector) for vector in vectors]
        probabilities = self._confidence.of(question, search.options.target, np.array([hit.score for hit in hits]))
        return [
            FoundHit(
                hit.record, hit.score, None if probabilities is None else float(probabilities[at]), explanations[at]
            )
            for at, hit in enumerate(hits)
        ]


class _Search:
    """The part of a library that one search looks at: a target under its filters, without what the query names."""

    def __init__(self, library: Library, options: SearchOptions, excluded: Sequence[str]) -> None:
        self.options = options
        self._library = library
        self._excluded = excluded

    def page(self, vector: Vector, k: int, *, cursor: str | None = None, min_score: float | None = None) -> Page[Hit]:
        """The k records nearest to a vector (D,)."""
        return self._library.search(
            vector,
            k,
            self.options.target,
            cursor=cursor,
            filters=dict(self.options.filters),
            exclude=self._excluded,
            min_score=min_score,
            concepts=self.options.concepts,
            photo=self.options.photo,
        )

    def with_vectors(self, hits: Sequence[Hit]) -> tuple[Sequence[Hit], Vector]:
        """Hits and their vectors (n, D), without those that were deleted since they were found."""
        of_images = self.options.target == "images"
        read = self._library.image_vectors if of_images else self._library.sentence_vectors
        while True:
            try:
                return hits, read([hit.record.id for hit in hits])
            except RecordNotFound as gone:
                hits = [hit for hit in hits if hit.record.id != gone.id]


def _excluded(expression: Expression | None, options: SearchOptions) -> list[str]:
    """The ids of what the query names, without repeats, unless it may be found, too."""
    if expression is None or options.include_query_items:
        return []
    return list(dict.fromkeys(expression.references("image" if options.target == "images" else "sentence")))
