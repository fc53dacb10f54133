"""Writing captions with the captioner of a bundle."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from app.embedding.cache import Vector
from app.problems import Problem
from app.results import CaptionOptions
from model.space import JointSpace

if TYPE_CHECKING:
    from model.captioner.captioner import Caption, Captioner, Vectors


class CaptionWriter:
    """The captioner of a loaded bundle that has one. It is loaded for the first caption, which waits for it."""

    def __init__(self, space: JointSpace, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called before each word is written; what it raises comes through."""
        self._space = space
        self._check = check
        self._loading = threading.Lock()

    def __call__(self, wanted: Sequence[tuple[Vector, CaptionOptions]]) -> list[list[Caption]]:
        """As `caption_each`. BundleError where the captioner cannot be loaded."""
        with self._loading:
            captioner = self._captioner
        return caption_each(captioner, wanted)

    @cached_property
    def _captioner(self) -> Captioner:
        from model.captioner import Captioner

        return Captioner(self._space, self._check)


def captioner_missing(space: JointSpace) -> Problem:
    """The problem of a bundle that cannot write."""
    return Problem(
        "captioner_missing",
        f"The bundle {space.name} has no captioner, so captions cannot be generated. "
        "Use mode=retrieve, which picks the nearest sentences of the library, or add a captioner to the bundle "
        "with `visem train captioner`.",
    )


def caption_each(captioner: Captioner, wanted: Sequence[tuple[Vector, CaptionOptions]]) -> list[list[Caption]]:
    """Captions for each pair of an image's vector (D,) and how to caption it. StructureError, EmptyTextError.

    Images with equal options are captioned at once, but for samples: what is drawn depends on what is drawn with it.
    """
    groups: defaultdict[object, list[int]] = defaultdict(list)
    for at, (_, options) in enumerate(wanted):
        groups[options if options.strategy == "beam" else at].append(at)
    answers: list[list[Caption]] = [[] for _ in wanted]
    for places in groups.values():
        vectors = np.stack([wanted[at][0] for at in places])
        for at, captions in zip(places, write_captions(captioner, vectors, wanted[places[0]][1]), strict=True):
            answers[at] = captions
    return answers


def write_captions(captioner: Captioner, vectors: Vectors, options: CaptionOptions) -> list[list[Caption]]:
    """Captions of image vectors (m, D), best first. StructureError, EmptyTextError."""
    return captioner.caption(
        vectors, options.n, strategy=options.strategy, structure=options.structure, seed=options.seed or 0
    )
