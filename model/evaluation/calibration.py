"""How well a bundle is calibrated: hits of queries to a captioned set, and which of them are right.

A hit is right if the captions of the image, or the sentence, mention all content words that the query puts in; for an
attribute, right before the noun that it is wanted of. Queries are made of the set's own captions:

    sentence    every caption, and a few content words in a row out of one of each image's
    image       every image
    words       a few content words in a row, added up; every other time another word of the captions is taken away
    attributes  `find_swaps`: image - black + brown
    composed    `find_exchanges` of kinds and scenes; and for each image: another word, also weighed, two words, or a
                few in a row from elsewhere, added, and a word of its captions exchanged for one or two

Each is judged by its first ten hits. A fit also sees ten others, drawn at random, where the set is large enough:
without these, the calibration would not cover hits that are far away, as all are if nothing matches.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import CalibrationCurve
from model.compose.arithmetic import Operand
from model.compose.calibration import (
    CalibratedTarget,
    QueryKind,
    calibrate,
    curve_name,
    find_curve,
    sentence_traits,
    sum_traits,
)
from model.content_words import content_words
from model.data.datasets import CaptionDataset
from model.errors import DegenerateQueryError
from model.evaluation.protocol import embed_captions
from model.evaluation.regularities import (
    KINDS,
    SCENES,
    Swap,
    answerable,
    find_exchanges,
    find_swaps,
    holds_phrase,
)
from model.space import JointSpace
from model.words import tokenise

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

HITS = 10
"""The first page: the hits that the calibration is measured on."""
OTHERS = 10
"""Hits of each query from below the first page, drawn at random, that a fit sees as well."""
BINS = 20
"""Bins of equal mass in which probabilities are compared with the shares of right hits."""
FRAGMENT_LENGTHS = (1, 2, 3)
"""Besides whole captions, sentences of so many content words in a row: people search like that."""
Found = Iterator[tuple[QueryKind, CalibratedTarget, "Hits"]]
_SEED = 0
_MAX_SWAPS = 5_000
_MAX_EXCHANGES = 1_000
_WEIGHTS = (0.3, 0.5, 2.0, 3.0)


@dataclass(frozen=True)
class Reliability:
    """Mean probability and share of right hits, by bin, lowest first; `error` is the expected calibration error."""

    error: float
    hits: int
    probability: tuple[float, ...]
    share_right: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """For `visem evaluate calibration --json`, whose key for the probabilities is older than their name."""
        return {"error": self.error, "hits": self.hits, "chance": self.probability, "share_right": self.share_right}


@dataclass(frozen=True)
class Hits:
    """Hits of all queries of one kind: cosine, traits of the query (n, T), right or not, the half, and the page.

    All others have the shape (n,); `half` is 0 for fitting and 1 for measuring.
    """

    cosine: Floats
    traits: Floats
    right: npt.NDArray[np.bool_]
    half: Rows
    on_first_page: npt.NDArray[np.bool_]

    @property
    def fitting(self) -> Hits:
        """Those that curves are fitted to."""
        return self._only(self.half == 0)

    @property
    def measuring(self) -> Hits:
        """Those that errors are measured on: of the first page alone."""
        return self._only((self.half == 1) & self.on_first_page)

    def _only(self, rows: npt.NDArray[np.bool_]) -> Hits:
        return Hits(self.cosine[rows], self.traits[rows], self.right[rows], self.half[rows], self.on_first_page[rows])


def measure_calibration(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> dict[str, Reliability]:
    """The calibration error for each kind of query, on the half of the photographs that the fit did not see.

    Empty for a bundle without a calibration.
    """
    config = space.config.calibration
    if config is None:
        return {}
    measured = {}
    for kind, target, hits in collect_hits(space, dataset, image_vectors):
        curve = find_curve(config, kind, target)
        if curve is not None and len(hits.measuring.right):
            measured[curve_name(kind, target)] = measure_curve(curve, hits.measuring)
    return measured


def measure_curve(curve: CalibrationCurve, hits: Hits) -> Reliability:
    """The calibration error of one curve."""
    return reliability(calibrate(curve, hits.cosine, hits.traits), hits.right)


def reliability(probability: npt.ArrayLike, right: npt.ArrayLike) -> Reliability:
    """The expected calibration error: the mean of |probability - share of right hits|, over bins of equal mass."""
    estimated, actual = np.asarray(probability, dtype=np.float64), np.asarray(right, dtype=np.float64)
    order = np.argsort(estimated, kind="stable")
    bins = [rows for rows in np.array_split(order, BINS) if len(rows)]
    expected = tuple(float(estimated[rows].mean()) for rows in bins)
    happened = tuple(float(actual[rows].mean()) for rows in bins)
    weights = [len(rows) / len(order) for rows in bins]
    error = sum(weight * abs(a - b) for weight, a, b in zip(weights, expected, happened, strict=True))
    return Reliability(error, len(order), expected, happened)


def collect_hits(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> Found:
    """Hits of every kind of query to the photographs and the captions of a set, with what is right.

    Each query has up to HITS first ones, and OTHERS from below where there are as many. `image_vectors` (n, D) are
    those of the dataset's photographs, in its order. A kind without queries is left out.
    """
    said = _Said(dataset)
    captions = embed_captions(space, said.captions, space.text.encoder)
    searching = _Searching(image_vectors, captions)
    yield from _sentence_hits(space, said, captions, searching)
    yield from _image_hits(said, image_vectors, searching)
    sums = [*_attribute_sums(space, dataset), *_composed_sums(space, dataset, said), *_word_sums(space, said)]
    yield from _sum_hits(space, said, sums, image_vectors, searching)


class _Said:
    """What the captions of a set say: all of them in a row, whose they are, and their content words."""

    def __init__(self, dataset: CaptionDataset) -> None:
        self.captions = [caption for item in dataset.items for caption in item.captions]
        self.owner = np.repeat(np.arange(len(dataset.items)), [len(item.captions) for item in dataset.items])
        self.by_caption = [content_words(caption) for caption in self.captions]
        self.spelled = [[word for word in tokenise(caption) if content_words(word)] for caption in self.captions]
        self.by_image = [
            frozenset[str]().union(*(self.by_caption[caption] for caption in np.flatnonzero(self.owner == image)))
            for image in range(len(dataset.items))
        ]
        self.fragments = self._draw_fragments()

    def _draw_fragments(self) -> list[tuple[str, int]]:
        """For every photograph a few content words in a row out of one of its captions, one text for each length."""
        random = np.random.default_rng(_SEED)
        fragments = []
        for image in range(len(self.by_image)):
            captions = np.flatnonzero(self.owner == image)
            words = [
                word for word in self.captions[int(random.choice(captions))].lower().split() if content_words(word)
            ]
            for length in FRAGMENT_LENGTHS:
                if len(words) >= length:
                    start = int(random.integers(len(words) - length + 1))
                    fragments.append((" ".join(words[start : start + length]), image))
        return fragments


class _Searching:
    """The photographs and the captions of a set, to be searched by many queries at once."""

    def __init__(self, images: Vectors, captions: Vectors) -> None:
        self._items: dict[CalibratedTarget, Vectors] = {"images": images, "sentences": captions}
        self._random = np.random.default_rng(_SEED)

    def __call__(
        self,
        target: CalibratedTarget,
        queries: Vectors,
        traits: Floats,
        about: Rows,
        right: Callable[[int, int], bool],
        forbidden: Sequence[int | None] = (),
    ) -> Hits:
        """The hits of queries (q, D) with traits (q, T).

        `about` (q,): the photograph that each is about, which decides its half. `right` tells of a query and an item
        whether it answers; `forbidden`: the item that each must not find.
        """
        scores = (queries @ self._items[target].T).astype(np.float64)
        for row, item in enumerate(forbidden):
            if item is not None:
                scores[row, item] = -np.inf
        ranked = np.argsort(-scores, axis=1, kind="stable")
        found = ranked[:, :HITS]
        if ranked.shape[1] >= HITS + OTHERS:
            below = self._random.integers(HITS, ranked.shape[1], size=(len(ranked), OTHERS))
            found = np.concatenate([found, np.take_along_axis(ranked, below, axis=1)], axis=1)
        cosine = np.take_along_axis(scores, found, axis=1)
        real = np.isfinite(cosine).ravel()  # what must not be found comes last
        count = found.shape[1]
        return Hits(
            cosine=cosine.ravel()[real],
            traits=np.repeat(traits, count, axis=0)[real],
            right=np.array([right(query, item) for query, row in enumerate(found) for item in row], bool)[real],
            half=np.repeat(about % 2, count)[real],
            on_first_page=np.tile(np.arange(count) < HITS, len(cosine))[real],
        )


def _sentence_hits(space: JointSpace, said: _Said, captions: Vectors, searching: _Searching) -> Found:
    fragments = [text for text, _ in said.fragments]
    texts, owner = [*said.captions, *fragments], np.array([*said.owner, *(image for _, image in said.fragments)])
    vectors = np.concatenate([captions, embed_captions(space, fragments, space.text.encoder)])
    known = np.flatnonzero(vectors.any(axis=1))
    if not len(known):
        return
    vectors, owner, words = vectors[known], owner[known], [content_words(texts[row]) for row in known]
    traits = np.array([sentence_traits(texts[row], space.unknown_words(texts[row])) for row in known])

    def image_right(query: int, item: int) -> bool:
        return words[query] <= said.by_image[item]

    def sentence_right(query: int, item: int) -> bool:
        return bool(said.owner[item] == owner[query]) or words[query] <= said.by_caption[item]

    yield "sentence", "images", searching("images", vectors, traits, owner, image_right)
    itself = [int(row) if row < len(captions) else None for row in known]
    yield "sentence", "sentences", searching("sentences", vectors, traits, owner, sentence_right, itself)


def _image_hits(said: _Said, vectors: Vectors, searching: _Searching) -> Found:
    rows, none = np.arange(len(vectors)), np.empty((len(vectors), 0))
    own = [np.flatnonzero(said.owner == row).tolist() for row in rows]

    def sentence_right(query: int, item: int) -> bool:
        return said.by_caption[item] <= said.by_image[query]

    def image_right(query: int, item: int) -> bool:
        return any(sentence_right(item, sentence) for sentence in own[query])

    yield "image", "sentences", searching("sentences", vectors, none, rows, sentence_right)
    yield "image", "images", searching("images", vectors, none, rows, image_right, rows.tolist())


@dataclass(frozen=True)
class _Sum:
    """A query: words with their weights, and the photograph that it is about, or, for words alone, was made of.

    It is answered by what mentions all words of `put`, or as `swap` says.
    """

    about: int
    texts: tuple[tuple[str, float], ...]
    put: frozenset[str] = frozenset()
    swap: Swap | None = None
    with_image: bool = True

    def operands(self, images: Vectors) -> list[Operand]:
        """As the rule of arithmetic takes them."""
        image: list[Operand] = [(images[self.about], 1.0, "image")] if self.with_image else []
        return image + [(text, weight, "text") for text, weight in self.texts]

    def answered_by_image(self, said: _Said, item: int) -> bool:
        """Whether a photograph is right."""
        return self.put <= said.by_image[item] if self.swap is None else item in self.swap.targets

    def answered_by_caption(self, said: _Said, item: int) -> bool:
        """Whether a sentence is right."""
        if self.swap is not None:
            return holds_phrase(said.captions[item], self.swap.new, self.swap.noun)
        return self.put <= said.by_caption[item]


def _attribute_sums(space: JointSpace, dataset: CaptionDataset) -> list[_Sum]:
    if not space.composer.heads:  # nothing is exchanged
        return []
    swaps = _thinned(answerable(space, find_swaps(dataset)), _MAX_SWAPS)
    return [_Sum(swap.image, ((swap.old, -1.0), (swap.new, 1.0)), swap=swap) for swap in swaps]


def _composed_sums(space: JointSpace, dataset: CaptionDataset, said: _Said) -> list[_Sum]:
    exchanges = _thinned(answerable(space, find_exchanges(dataset, (*KINDS, *SCENES))), _MAX_EXCHANGES)
    sums = [_Sum(swap.image, ((swap.old, -1.0), (swap.new, 1.0)), content_words(swap.new)) for swap in exchanges]
    draw = _WordDraw(space, said)
    phrases = [phrase for phrase, _ in said.fragments if len(phrase.split()) > 1]
    for image, words in enumerate(said.by_image):
        one, other = draw.other(words), draw.other(words)
        if one is None or other is None:
            continue
        weighed = (one, float(draw.random.choice(_WEIGHTS)))
        phrase = (phrases[int(draw.random.integers(len(phrases)))], 1.0) if phrases else weighed
        added = [[(one, 1.0)], [weighed], [(one, 1.0), (other, 1.0)], [phrase]]
        if own := draw.own(image):
            added += [[(own, -1.0), (one, 1.0)], [(own, -1.0), (one, 1.0), (other, 1.0)]]
        for texts in added:
            put = content_words(" ".join(text for text, weight in texts if weight > 0))
            if not space.unknown_words(" ".join(text for text, _ in texts)):
                sums.append(_Sum(image, tuple(texts), put))
    return sums


def _word_sums(space: JointSpace, said: _Said) -> list[_Sum]:
    draw = _WordDraw(space, said)
    sums = []
    for text, image in said.fragments:
        words = tokenise(text)
        if len(words) < 2 or space.unknown_words(text):
            continue
        texts = [(word, 1.0) for word in words]
        if image % 4 > 1 and (other := draw.other(said.by_image[image])):
            texts.append((other, -1.0))
        sums.append(_Sum(image, tuple(texts), content_words(text), with_image=False))
    return sums


class _WordDraw:
    """Draws content words that the captions of a set say and the model knows, as often as they do."""

    def __init__(self, space: JointSpace, said: _Said) -> None:
        counts = Counter(word for words in said.spelled for word in words)
        words = sorted(word for word in counts if not space.unknown_words(word))
        self.random = np.random.default_rng(_SEED)
        self._said = said
        self._known = frozenset(words)
        self._words = np.array(words)
        self._shares = np.array([counts[word] for word in words]) / max(1, sum(counts[word] for word in words))

    def other(self, but: frozenset[str]) -> str | None:
        """Any word but these, which are as `content_words` has them; None where ten draws gave none."""
        drawn = self.random.choice(self._words, size=10, p=self._shares).tolist() if len(self._words) else []
        return next((word for word in drawn if content_words(word).isdisjoint(but)), None)

    def own(self, image: int) -> str | None:
        """A word of the captions of an image; None where none is known."""
        captions = np.flatnonzero(self._said.owner == image)
        words = [word for caption in captions for word in self._said.spelled[caption] if word in self._known]
        return words[int(self.random.integers(len(words)))] if words else None


def _sum_hits(space: JointSpace, said: _Said, sums: Sequence[_Sum], images: Vectors, searching: _Searching) -> Found:
    by_kind: defaultdict[QueryKind, list[tuple[_Sum, Vectors, tuple[float, ...]]]] = defaultdict(list)
    for one in sums:
        operands = one.operands(images)
        try:
            composition = space.composition(operands)
        except DegenerateQueryError:
            continue
        texts = [None] * one.with_image + [text for text, _ in one.texts]
        unknown = [() if text is None else space.unknown_words(text) for text in texts]
        kind, traits = sum_traits(operands, composition, texts, unknown)
        if kind is not None:
            by_kind[kind].append((one, composition.vector, traits))
    for kind, asked in by_kind.items():
        queries = [one for one, _, _ in asked]
        vectors = np.stack([vector for _, vector, _ in asked])
        known: Floats = np.array([traits for _, _, traits in asked])
        about = np.array([one.about for one in queries])
        itself = [one.about if one.with_image else None for one in queries]

        def image_right(query: int, item: int, queries: Sequence[_Sum] = queries) -> bool:
            return queries[query].answered_by_image(said, item)

        def sentence_right(query: int, item: int, queries: Sequence[_Sum] = queries) -> bool:
            return queries[query].answered_by_caption(said, item)

        yield kind, "images", searching("images", vectors, known, about, image_right, itself)
        yield kind, "sentences", searching("sentences", vectors, known, about, sentence_right)


def _thinned(swaps: list[Swap], most: int) -> list[Swap]:
    """Every so many-th, so that no more are left than `most`."""
    return swaps[:: -(-len(swaps) // most) or 1]
