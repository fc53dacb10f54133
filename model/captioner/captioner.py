"""Captioner: image vectors in, ranked captions out.

    captioner = Captioner.load()                                   # the shipped bundle
    captioner.caption(space.embed_images([image]), n=5)            # a list of Captions for each image
    captioner.caption(vectors, structure="a man is riding a horse")

For each image: beam search with the structure left open, and with the structures of the training captions that are
frequent and whose sentences lie near the image; all of it for all images in one batch. Where the detector of concepts
sees a thing by itself, captions that open with its name are written as well. The pool is then ranked
(model/captioner/ranking.py). Kiros, Salakhutdinov, Zemel (2014), section on generation, with the changes that
docs/captions.md measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from model.captioner.agreement import disagrees
from model.captioner.decoding import Candidate, Decoder, Slot
from model.captioner.grammar import ANY_DESCRIPTION, Grammar
from model.captioner.ngram_weights import Expectation, Expected
from model.captioner.plain import plain_caption
from model.captioner.ranking import FEATURES, Ranker, choose, weighted
from model.captioner.scnlm import RARE, LanguageModel
from model.captioner.structures import Structures
from model.captioner.trigrams import from_arrays
from model.captioner_config import CAPTIONER, STRUCTURES, CaptionerConfig, ScnlmConfig
from model.concepts import ConceptDetector, Reading, Thing
from model.concepts_config import ConceptsConfig
from model.errors import BundleError, CaptionerMissingError
from model.runtime.tensors import MappedTensors
from model.space import JointSpace
from model.wording import as_sentence
from model.words import plural, tokenise

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Strategy = Literal["beam", "sample"]

IMAGE_BATCH = 64
"""Images that are decoded at once: bounds the memory."""
NAMED_BEAM, NAMED_CAPTIONS = 4, 2
"""Beam of a caption that opens with the name of a thing, and how many are kept of it."""
MOST_LIFT = 3.0
"""Logarithm of how much likelier, or less likely, than usual a word counts at most."""
UNLIKELY = 0.1
"""Captions that open with a name avoid words that are less likely; people have to be likelier than not."""
SOMEBODY, SOME_ANIMAL, RULED_OUT = 0.4, 0.3, 0.04
"""A caption comes later that mentions people, animals, or beside a thing anything, less likely than this."""
UNTRUSTED, NAMED = 0.35, 0.25
"""Where the best caption mentions somebody who is not likely to be there, it has to be surer than this; and a thing has
to be likelier than this to be named by a plain one."""
ANIMALS = ("dog", "puppy", "cat", "horse", "cow", "bird", "sheep", "duck", "fish")
_PEOPLE = """
baby babies boy boys child children couple crowd girl girls guy guys kid kids lady ladies man men people person player
players toddler woman women
"""
PEOPLE = frozenset(_PEOPLE.split())
UNFITTING = PEOPLE | {"are", "he", "her", "herself", "him", "himself", "his", "she", "were", "young"}
"""What is not said of one thing by itself."""
CONFIDENCE_FEATURES = ("similarity", "mean_log_probability", "consensus", "familiarity")


@dataclass(frozen=True)
class Caption:
    """A sentence about an image.

    `score`: what captions of one image are ranked by. `similarity`: cosine of sentence and image. `fluency`:
    log-probability per word by the trigram model. `structure`: tags of its words. `confidence`: how likely the caption
    fits, from 0 to 1; low where the image is like nothing that the captioner was trained on.
    """

    text: str
    score: float
    similarity: float
    fluency: float
    structure: tuple[str, ...]
    confidence: float

    @property
    def sentence(self) -> str:
        """`text` as people read it: with a capital and a full stop."""
        return as_sentence(self.text)


@dataclass(frozen=True)
class Pool:
    """The candidates of one image: word numbers (m), features (m, FEATURES), and the image's familiarity.

    `faults` (m,): how much is wrong with each: a thing that the image shows by itself is not named, somebody or some
    animal is that is not there, words do not agree. `plain`: what to say where none of them can be trusted; empty where
    there is no detector of concepts.
    """

    sentences: list[tuple[int, ...]]
    features: npt.NDArray[np.float64]
    familiarity: float
    faults: npt.NDArray[np.int64]
    plain: str = ""


class Captioner:
    """A bundle's captioner over its joint space. Holds no state between calls: thread-safe."""

    def __init__(self, space: JointSpace, check: Callable[[], None] = lambda: None) -> None:
        """Load it. Errors as `load`. `check` is called before each word is written; what it raises comes through."""
        path, section = space.bundle.path, space.config.captioner
        if section is None:
            raise CaptionerMissingError(
                f"The bundle {space.name} has no captioner, so captions cannot be generated. "
                f"Train one with: visem train captioner --data DIR --model {path}"
            )
        self.space = space
        self.config: CaptionerConfig = section
        try:
            tensors = MappedTensors(space.bundle.file(CAPTIONER))
            _require_sizes(tensors, section.network)
            self.structures = Structures.model_validate_json(space.bundle.file(STRUCTURES).read_bytes())
            content, bias, self._centre, self._landmarks, self._structure_vectors = (
                tensors[name].astype(np.float32)
                for name in (
                    "network.content.weight",
                    "network.content.bias",
                    "centre.images",
                    "landmarks",
                    "structures.vectors",
                )
            )
            trigrams, frequencies = from_arrays(tensors)
            self._expectation = Expectation.from_arrays(tensors)
        except (OSError, KeyError, ValidationError) as error:
            raise BundleError("bundle_corrupted", f"The captioner of {path} cannot be read: {error}") from error
        self._kernel = space.concepts.kernel if section.kernel and space.concepts is not None else None
        inputs = space.dimension if self._kernel is None else len(self._kernel.landmarks)
        for name, regression in (("left", self._expectation.shares), ("content.left", self._expectation.content)):
            if regression is not None:
                tensors.require(f"expected.{name}", (inputs, regression.left.shape[1]))
        if section.expected_content and self._expectation.content is None:
            raise BundleError(
                "bundle_corrupted", f"The captioner of {path} lacks the expected content of its settings."
            )
        network = space.runtime.load(space.bundle, "captioner")
        vocabulary = self.structures
        closing = np.zeros(len(vocabulary.words), dtype=np.bool_)
        closing[vocabulary.closing] = True
        grammar = Grammar(
            vocabulary.carries(),
            closing,
            vocabulary.clashes(frequencies),
            vocabulary.tagged("JJ"),
            np.isin(np.arange(len(vocabulary.words)), list(vocabulary.content_words())),
            longest=section.longest,
            shortest=section.shortest,
        )
        self.decoder = Decoder(LanguageModel(section.network, network, content, bias, check), grammar)
        self.ranker = Ranker(trigrams, frequencies, section.images, vocabulary.content_words())
        self._numbers = {word: number for number, word in enumerate(vocabulary.words)}
        self._tag_numbers = {tag: number for number, tag in enumerate(vocabulary.tags)}
        self._shapes = [
            tuple(self._tag_numbers[tag] for tag in structure.tags.split()) for structure in vocabulary.structures
        ]
        concepts = () if space.concepts is None else space.concepts.config.words
        self._concept_tags = {word: vocabulary.lexicon.tag([word])[0] for word in concepts}
        counts = np.array([structure.count for structure in vocabulary.structures], dtype=np.float64)
        self._prior = np.log(counts / counts.sum())

    @classmethod
    def load(cls, bundle: Path | None = None, device: str = "auto") -> Self:
        """Load a bundle (None: the shipped one) and its captioner. Errors: `BundleError`, `CaptionerMissingError`."""
        return cls(JointSpace.load(bundle, device))

    def caption(
        self,
        images: Vectors,
        n: int = 5,
        *,
        strategy: Strategy = "beam",
        structure: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> list[list[Caption]]:
        """Up to `n` captions of each image vector (m, D), best first, all different.

        `structure`: an example sentence whose parts of speech the captions have, or a list of tags. `seed` determines
        what `sample` draws; `beam` draws nothing. Errors: `EmptyTextError`, `StructureError`, ValueError for vectors
        of another shape.
        """
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 2 or images.shape[1] != self.space.dimension:
            raise ValueError(f"Image vectors must be (m, {self.space.dimension}); they are {images.shape}.")
        if n < 1:
            raise ValueError("n must be at least 1")
        tags = None if structure is None else self.structures.read(structure)
        answers: list[list[Caption]] = []
        for start in range(0, len(images), IMAGE_BATCH):
            batch = images[start : start + IMAGE_BATCH]
            pools = self.pools(batch, n, strategy=strategy, tags=tags, seed=seed + start)
            answers += self._with_similarity([self.ranked(pool, n) for pool in pools], batch)
        return answers

    def pools(
        self,
        images: Vectors,
        n: int = 5,
        *,
        strategy: Strategy = "beam",
        tags: Sequence[str] | None = None,
        seed: int = 0,
    ) -> list[Pool]:
        """The candidates of each image with their features, before ranking."""
        centred = images - self._centre
        centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
        expected = self._expectation.of(centred if self._kernel is None else self._kernel.features(centred))
        contents = self._contents(centred, expected)
        detector = self.space.concepts
        things: list[Thing | None] = [None] * len(images)
        absent = [frozenset[str]()] * len(images)
        plain = [""] * len(images)
        naming: list[Slot] = []
        if strategy == "sample":
            candidates, slots = self._sampled(contents, n, tags, seed)
        elif tags is not None:
            candidates, slots = self._searched_as(contents, self._favoured(expected), n, tags)
        else:
            if detector is not None:
                read = detector.read(images)
                things = detector.shown(read)
                absent = [_absent(detector, own, thing) for own, thing in zip(read.probabilities, things, strict=True)]
                plain = self._plain_captions(detector, read, things)
                naming = self._naming(detector.config, read, things)
            candidates, slots = self._searched(contents, self._favoured(expected), n, naming)
        by_image: list[dict[tuple[int, ...], float | None]] = [{} for _ in images]
        for candidate in candidates:
            slot = slots[candidate.slot]
            known = candidate.log_probability if slot.structure is None else None
            by_image[slot.row].setdefault(candidate.words, known)
        sentences = [words for own in by_image for words in own]
        rows = [row for row, own in enumerate(by_image) for _ in own]
        # All are compared by their log-probability without a structure, whatever they were written with.
        log_p = np.array([0.0 if known is None else known for own in by_image for known in own.values()])
        unknown = [place for place, known in enumerate(k for own in by_image for k in own.values()) if known is None]
        log_p[unknown] = self.decoder.score(
            contents, [sentences[place] for place in unknown], [rows[place] for place in unknown]
        )
        texts = [self._text(words) for words in sentences]
        vectors = self.space.embed_texts(texts, self.space.text.quick_encoder)  # there are dozens for an image
        similarities = np.einsum("md,md->m", vectors, images[rows])
        familiarity = (images @ self._landmarks.T).max(axis=1)
        pools: list[Pool] = []
        start = 0
        for row, own in enumerate(by_image):
            part = slice(start, start + len(own))
            start += len(own)
            features = (
                self.ranker.features(list(own), similarities[part], log_p[part], expected[row])
                if own
                else np.zeros((0, len(FEATURES)))
            )
            faults = np.array(
                [
                    _faults(text, things[row], absent[row])
                    + int(disagrees(text.split(), self.structures.tags_of(words)))
                    for text, words in zip(texts[part], own, strict=True)
                ],
                dtype=np.int64,
            )
            pools.append(Pool(list(own), features, float(familiarity[row]), faults, plain[row]))
        return pools

    def confidence(self, features: npt.NDArray[np.float64], familiarity: float) -> npt.NDArray[np.float64]:
        """How likely captions with these features (m, FEATURES) fit, from 0 to 1 (m,)."""
        weights = self.config.confidence
        total = np.full(len(features), weights.get("bias", 0.0) + weights.get("familiarity", 0.0) * familiarity)
        for name in CONFIDENCE_FEATURES[:-1]:
            total += weights.get(name, 0.0) * features[:, FEATURES.index(name)]
        probabilities: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(total, -50, 50)))
        return probabilities

    def ranked(self, pool: Pool, n: int) -> list[Caption]:
        """The best `n` captions of a pool, the best first; the others are chosen for what they say besides, too.

        Those with more faults come after those with fewer, and then those that say a content word twice after those
        that do not. Where the first of them cannot be trusted, the pool's plain caption comes before all.
        """
        scores = weighted(pool.features, self.config.ranking)
        repeating = pool.features[:, FEATURES.index("repeats")] > 0
        confidences = self.confidence(pool.features, pool.familiarity)
        rank = list(zip(pool.faults.tolist(), repeating.tolist(), strict=True))
        order = choose(pool.sentences, scores, rank, n, self.config.diversity)
        captions = [
            Caption(
                text=self._text(pool.sentences[place]),
                score=float(scores[place]),
                similarity=float(pool.features[place, FEATURES.index("similarity")]),
                fluency=float(pool.features[place, FEATURES.index("fluency")]),
                structure=tuple(self.structures.tags_of(pool.sentences[place])),
                confidence=float(confidences[place]),
            )
            for place in order
        ]
        if not pool.plain or not captions or self._trusted(pool, order[0], captions[0]):
            return captions
        first = captions[0]
        words = pool.plain.split()
        numbers = [self._numbers.get(word, RARE) for word in words]
        plain = Caption(
            text=pool.plain,
            score=first.score,
            similarity=first.similarity,
            fluency=float(self.ranker.trigrams.fluency([numbers])[0]),
            structure=tuple(self.structures.lexicon.tag(words)),
            confidence=first.confidence,
        )
        return [plain, *captions][:n]

    def _trusted(self, pool: Pool, place: int, first: Caption) -> bool:
        """Whether the best caption of a pool may come first: it fits with some likelihood."""
        unfamiliar = pool.familiarity < self.config.unfamiliar
        least = self.config.plain_unfamiliar if unfamiliar else self.config.plain_below
        if pool.faults[place]:
            least = max(least, UNTRUSTED)
        return first.confidence >= least

    def _plain_captions(self, detector: ConceptDetector, read: Reading, things: Sequence[Thing | None]) -> list[str]:
        """What could be said of images without the language model, by what the detector of concepts finds."""
        words, people = detector.config.words, frozenset(detector.config.people)
        plain = []
        concepts_of = detector.named(read, len(words))
        for thing, own, concepts in zip(things, read.probabilities.tolist(), concepts_of, strict=True):
            found = dict(zip(words, own, strict=True))
            kinds = {word: probability for word, probability in concepts if word not in found}
            named = thing if thing is not None and thing.probability >= NAMED else None
            plain.append(plain_caption(named, found, kinds, people, self._concept_tags))
        return plain

    def _with_similarity(self, answers: list[list[Caption]], images: Vectors) -> list[list[Caption]]:
        """Captions with the cosine by the bundle's choice of encoder: ranking had the quick one's."""
        vectors = iter(self.space.embed_texts([one.text for captions in answers for one in captions]))
        return [
            [replace(one, similarity=float(next(vectors) @ image)) for one in captions]
            for captions, image in zip(answers, images, strict=True)
        ]

    def _text(self, words: Sequence[int]) -> str:
        return " ".join(self.structures.words[word] for word in words)

    def _contents(self, centred: Vectors, expected: Sequence[Expected]) -> Vectors:
        """What the language model is told of images (n, D): unit vectors."""
        weight = self.config.expected_content
        if not weight:
            return centred
        joined = centred + np.float32(weight) * np.stack([own.content for own in expected])
        contents: Vectors = joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-6)
        return contents

    def _favoured(self, expected: Sequence[Expected]) -> Vectors | None:
        """What a search adds to the log-probability of each word (n, V), by how much likelier than usual it is."""
        if not self.config.guidance:
            return None
        favoured = np.zeros((len(expected), len(self.structures.words)), dtype=np.float32)
        for row, own in enumerate(expected):
            favoured[row, self._expectation.words] = self.config.guidance * np.clip(own.lifts, -MOST_LIFT, MOST_LIFT)
        return favoured

    def _searched_as(
        self, contents: Vectors, favoured: Vectors | None, n: int, tags: Sequence[str]
    ) -> tuple[list[Candidate], list[Slot]]:
        asked = tuple(self._tag_numbers[tag] for tag in tags)
        slots = [Slot(row, asked) for row in range(len(contents))]
        width = max(self.config.beam, 2 * n)
        return self.decoder.beam(contents, slots, width, width, favoured), slots

    def _searched(
        self, contents: Vectors, favoured: Vectors | None, n: int, naming: Sequence[Slot]
    ) -> tuple[list[Candidate], list[Slot]]:
        shaped = [
            Slot(row, self._shapes[place])
            for row, places in enumerate(self._likely_structures(contents))
            for place in places
        ]
        keep = max(self.config.open_captions, n)
        slots: list[Slot] = []
        found: list[Candidate] = []
        for part, beam, kept, words in (
            ([Slot(row) for row in range(len(contents))], self.config.beam, keep, favoured),
            (shaped, self.config.structure_beam, self.config.structure_beam, favoured),
            (naming, NAMED_BEAM, NAMED_CAPTIONS, None),
        ):
            found += [
                replace(candidate, slot=candidate.slot + len(slots))
                for candidate in self.decoder.beam(contents, part, beam, kept, words)
            ]
            slots += part
        return found, slots

    def _naming(self, concepts: ConceptsConfig, read: Reading, things: Sequence[Thing | None]) -> list[Slot]:
        """Sentences that open with the name of what an image shows by itself, and say nothing unlikely of it."""
        words, people = concepts.words, frozenset(concepts.people)
        slots = []
        for row, (thing, probabilities) in enumerate(zip(things, read.probabilities.tolist(), strict=True)):
            name = () if thing is None else tuple(self._numbers.get(word, -1) for word in tokenise(thing.name))
            if thing is None or not name or min(name) < 0:
                continue
            unlikely = {
                word
                for word, probability in zip(words, probabilities, strict=True)
                if probability < (0.5 if word in people else UNLIKELY)
            }
            said = {*thing.names, *map(plural, thing.names)}  # once is enough
            avoided = frozenset(
                self._numbers[word]
                for one in {*unlikely, *UNFITTING, *said}
                for word in {one, plural(one)}
                if word in self._numbers
            )
            articles = [self._numbers[word] for word in ("a", "an") if word in self._numbers]
            fitting = [article for article in articles if not self.decoder.grammar.clashes[article][name[0]]]
            if fitting:
                slots.append(Slot(row, None, (fitting[0], *name), avoided))
                slots.append(Slot(row, None, (articles[0], ANY_DESCRIPTION, *name), avoided))
        return slots

    def _sampled(
        self, contents: Vectors, n: int, tags: Sequence[str] | None, seed: int
    ) -> tuple[list[Candidate], list[Slot]]:
        asked = None if tags is None else tuple(self._tag_numbers[tag] for tag in tags)
        count = max(self.config.samples, 3 * n)
        slots = [Slot(row, asked) for row in range(len(contents)) for _ in range(count)]
        generator = np.random.default_rng(seed)
        return self.decoder.sample(contents, slots, self.config.temperature, generator), slots

    def _likely_structures(self, contents: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Places of the structures to try for each image: frequent ones, of sentences near it (m, structures)."""
        if not self.config.structures:
            return np.zeros((len(contents), 0), dtype=np.int64)
        likely = self._prior + 12.0 * contents @ self._structure_vectors.T
        return np.argsort(-likely, axis=1, kind="stable")[:, : self.config.structures]


def _require_sizes(tensors: MappedTensors, sizes: ScnlmConfig) -> None:
    """Refuse a network of other sizes than its configuration says. Errors: `BundleError`."""
    attributes, factors, hidden = sizes.attribute_dimension, sizes.factors, sizes.hidden_dimension
    tensors.require("network.words", (sizes.words, factors))
    tensors.require("network.context_factors", (factors, sizes.word_dimension))
    tensors.require("network.tags", (sizes.structure_window, sizes.tags, attributes))
    tensors.require("network.content.weight", (attributes, sizes.content_dimension))
    if sizes.context == "lstm":
        tensors.require("network.lstm.weight_hh_l0", (4 * hidden, hidden))
    else:
        tensors.require("network.context", (sizes.context_words, sizes.word_dimension, sizes.word_dimension))


def _absent(detector: ConceptDetector, probabilities: npt.NDArray[np.float64], thing: Thing | None) -> frozenset[str]:
    """Words of what an image with these probabilities (W,) does not show: people, animals, all but a named thing."""
    likely = SOMEBODY if thing is None else 0.5
    absent = set(PEOPLE) if float(detector.somebody(probabilities[None])[0]) < likely else set()
    own = () if thing is None else thing.names
    for word, probability in zip(detector.config.words, probabilities.tolist(), strict=True):
        least = SOME_ANIMAL if word in ANIMALS else 0.0 if thing is None else RULED_OUT
        if word not in own and probability < least:
            absent |= {word, plural(word)}
    return frozenset(absent)


def _faults(text: str, thing: Thing | None, absent: frozenset[str]) -> int:
    """How many faults a caption has: the thing is not named, something is mentioned that is not there."""
    said = f" {text} "
    unnamed = thing is not None and not any(
        f" {word} " in said for name in thing.names for word in (name, plural(name))
    )
    return int(unnamed) + int(not absent.isdisjoint(text.split()))
