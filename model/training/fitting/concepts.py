"""Fitting the detectors of concepts (`model.concepts`) to a space: on training photographs, their curves on others.

A space that learned from photographs knows their captions too well, so scores of training photographs promise more than
those of new ones keep: the curves that turn scores into probabilities are fitted on the development split.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression

from model.bundle import BundleConfig
from model.concepts import SMALLEST_SHARE, ConceptDetector, Kernel, calibration_inputs, names_of
from model.concepts_config import ConceptsConfig
from model.content_words import FUNCTION_WORDS
from model.runtime.tensors import MappedTensors
from model.towers.config import ENCODERS, TextConfig
from model.training.captioner.data import CaptionSet
from model.training.fitting.discriminants import LOOKS
from model.training.fitting.kernel_ridge import kernel_ridge
from model.training.fitting.kind_names import PLAIN, names_of_kinds
from model.words import plural

Vectors = npt.NDArray[np.float32]
Said = npt.NDArray[np.bool_]

FEWEST = 15
"""Photographs whose captions say a word, at least, for it to be a concept."""
RIDGE = 1.5
SAID_ONCE = 0.6
"""What a word counts that one caption of an image says; if two say it, it counts 1."""
DIRECTIONS, LANDMARKS = 256, 2000
"""Of the kernel: principal directions of photographs that it reads, and means of photographs that it compares with."""
WHITENING, WIDTH = 0.2, 0.8
"""Variances of the directions are divided by themselves to twice this power; the kernel is exp(-WIDTH d^2) then, in
units of the vectors' root mean square."""
HABIT = 0.1
"""How much evidence it takes, in sure photographs, that captions do not say a name that fits."""
SHARPNESS = 0.8
SHOWN, SHOWN_THING, THING = 0.526, 0.1, 6.0
PEOPLE = ("man", "woman", "boy", "girl", "people", "child", "person", "guy", "lady", "player", "kid", "baby", "couple")
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "knives": "knife",
    "leaves": "leaf",
    "feet": "foot",
    "mice": "mouse",
    "geese": "goose",
}
_UNTELLING_WORDS = """
doing next other several high middle
action american area asian attempting background bottom busy case certain chinese clear close-up closeup coming day
deep different direction display distance double eastern edge end enjoying equipment eye facing featuring few five
four front full fun gear general german get gets getting go going half hard huge image indian item items japanese
kind large lab leading life line little local lone long lot low make making matching member middle native new old
one oriental pair part past people's photo photograph picture piece place plain point position preparing public real
right row same second setting shade shot showing side single small something sort structure surface take taking
texas thin thing things third three time top touching trying two type using various view waiting way whilst wide
scene number overlooking approaching passing following participating first
"""
_UNTELLING = frozenset(_UNTELLING_WORDS.split())
"""Words that captions say often, and that tell nothing of an image by themselves."""


def fit_concepts(
    train: CaptionSet, dev: CaptionSet, looks: Vectors, kernel: Kernel | None = None
) -> tuple[ConceptsConfig, dict[str, Vectors]]:
    """The detectors' configuration and tensors; there have to be `tellable_words`.

    `looks` (K, D): what photographs of each kind look like, by the space. `kernel`: one that something else reads, and
    that therefore stays; None: it is made.
    """
    words = tellable_words(train)
    centre = train.images.mean(axis=0)
    contents, counts = _unit(train.images - centre), said_counts(train, words)
    targets = SAID_ONCE * (counts >= 1) + (1 - SAID_ONCE) * (counts >= 2)
    shares = targets.mean(axis=0)
    kernel = kernel or _kernel(contents)
    cosines = train.images @ looks.T
    tensors = {
        "centre": centre,
        "projection": kernel.projection,
        "landmarks": kernel.landmarks,
        "weights": kernel_ridge(kernel, kernel.features(contents).astype(np.float64), targets - shares, RIDGE).T,
        "shares": shares,
        "looks": looks,
        "usual": cosines.mean(axis=0),
        "spread": np.maximum(cosines.std(axis=0), 1e-4),
    }
    # As a bundle will hold them, so that the curves fit what is shipped.
    tensors = {name: _as_stored(tensor) for name, tensor in tensors.items()}
    names, broader = names_of_kinds()
    config = ConceptsConfig(
        words=words,
        people=tuple(word for word in PEOPLE if word in words),
        calibration=(0.0,) * 5,
        names=names,
        broader=broader,
        plain=PLAIN,
        sharpness=SHARPNESS,
        said=(1.0, 0.0),
        shown=SHOWN,
        shown_thing=SHOWN_THING,
        thing=THING,
    )
    detector = ConceptDetector(config, **tensors)
    scores = detector.word_scores(dev.images)
    inputs = calibration_inputs(scores, np.clip(tensors["shares"].astype(np.float64), SMALLEST_SHARE, 0.97))
    curve = LogisticRegression(C=10, max_iter=500).fit(
        inputs.reshape(-1, inputs.shape[-1]), said_of_images(dev, words).ravel()
    )
    deviations = detector.deviations(dev.images)
    likeliest = deviations.argmax(axis=1)
    mentioned = _mentioned(dev, [(names[kind], *broader[kind]) for kind in likeliest.tolist()])
    said_kinds = (0.0, math.log((mentioned.sum() + 0.5) / (len(mentioned) - mentioned.sum() + 0.5)))
    if mentioned.any() and not mentioned.all():
        sure = LogisticRegression(C=10).fit(deviations.max(axis=1, keepdims=True), mentioned)
        said_kinds = float(sure.coef_[0, 0]), float(sure.intercept_[0])
    config = config.model_copy(
        update={
            "calibration": (*curve.coef_[0].tolist(), float(curve.intercept_[0])),
            "said": said_kinds,
        }
    )
    tensors["habits"] = _habits(ConceptDetector(config, **tensors), train)
    return config, tensors


def save_concepts(tensors: Mapping[str, Vectors], path: Path) -> None:
    """Write the detectors' tensors, in half precision."""
    halves = {name: np.ascontiguousarray(tensor, dtype=np.float16) for name, tensor in tensors.items()}
    save_file(halves, path)


def _kernel(contents: Vectors) -> Kernel:
    """A kernel that compares contents (n, D) with means of some of them, by their principal directions."""
    variances, directions = np.linalg.eigh(contents.T @ contents / len(contents))
    kept = np.argsort(-variances)[:DIRECTIONS]
    projection = directions[:, kept] * (np.maximum(variances[kept], 1e-6) ** -WHITENING)
    places = contents @ projection
    scale = math.sqrt(WIDTH / float((places**2).sum(axis=1).mean()))
    means = MiniBatchKMeans(
        min(LANDMARKS, len(contents)), batch_size=3000, max_iter=20, n_init=1, init="random", random_state=0
    ).fit(scale * places)
    return Kernel(_as_stored(scale * projection), _as_stored(means.cluster_centers_))


def _habits(detector: ConceptDetector, captions: CaptionSet) -> Vectors:
    """How often captions say each name where it fits (names,), from 0 to 1; 1 where photographs do not tell.

    More general names keep 1: a thing that an image shows by itself has to have one.
    """
    general = {name for names in detector.config.broader for name in names}
    chances = detector.name_chances(detector.deviations(captions.images))
    chances[chances < 0.05] = 0
    texts = _texts(captions)
    habits = np.ones(chances.shape[1], dtype=np.float32)
    for number, name in enumerate(names_of(detector.config)):
        if name in general:
            continue
        forms = f" {name} ", f" {plural(name)} "
        own = chances[:, number]
        said = sum(own[row] for row in np.flatnonzero(own).tolist() if any(form in texts[row] for form in forms))
        habits[number] = min(1.0, (said + HABIT) / (float(own @ own) + HABIT))
    return habits


def _as_stored(tensor: npt.NDArray[Any]) -> Vectors:
    stored: Vectors = tensor.astype(np.float16).astype(np.float32)
    return stored


def said_of_images(captions: CaptionSet, words: Sequence[str]) -> Said:
    """Which of the words the captions of each image say (n, W); a plural counts as its noun."""
    return said_counts(captions, words) > 0


def said_counts(captions: CaptionSet, words: Sequence[str]) -> npt.NDArray[np.int64]:
    """How many captions of each image say each of the words (n, W); a plural counts as its noun."""
    columns = {word: column for column, word in enumerate(words)}
    columns |= {plural(word): column for word, column in columns.items() if plural(word) not in columns}
    columns |= {many: columns[one] for many, one in _IRREGULAR.items() if one in columns and many not in columns}
    counts = np.zeros((len(captions.images), len(words)), dtype=np.int64)
    for sentence, owner in zip(captions.tokens, captions.owner.tolist(), strict=True):
        counts[owner, list({columns[token] for token in sentence if token in columns})] += 1
    return counts


def tellable_words(captions: CaptionSet) -> tuple[str, ...]:
    """Nouns, adjectives and -ing forms that captions of enough photographs say, most frequent first."""
    tags: dict[str, Counter[str]] = {}
    images: dict[str, set[int]] = {}
    for sentence, own, owner in zip(captions.tokens, captions.tags, captions.owner.tolist(), strict=True):
        for word, tag in zip(sentence, own, strict=True):
            tags.setdefault(word, Counter())[tag] += 1
            images.setdefault(word, set()).add(owner)

    def tells(word: str) -> bool:
        if len(word) < 3 or word in FUNCTION_WORDS or word in _UNTELLING or word in _IRREGULAR:
            return False
        tag = tags[word].most_common(1)[0][0]
        if tag not in ("NN", "NNS", "JJ", "VBG"):
            return False
        one = word[:-1]
        is_plural = word.endswith("s") and not word.endswith("ss") and one in tags
        return not is_plural or tags[one].total() <= 0.25 * tags[word].total()

    counts = {word: len(owners) for word, owners in images.items() if len(owners) >= FEWEST}
    return tuple(sorted((word for word in counts if tells(word)), key=lambda word: (-counts[word], word)))


def _mentioned(captions: CaptionSet, names: Sequence[Sequence[str]]) -> Said:
    """Whether a caption of each image says one of its names (n,)."""
    return np.array(
        [
            any(f" {word} " in text for name in listed for word in (name, plural(name)))
            for text, listed in zip(_texts(captions), names, strict=True)
        ]
    )


def _texts(captions: CaptionSet) -> list[str]:
    """The captions of each image as one text, with spaces around every word (n,)."""
    texts = [""] * len(captions.images)
    for sentence, owner in zip(captions.tokens, captions.owner.tolist(), strict=True):
        texts[owner] += f" {' '.join(sentence)} |"
    return texts


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return unit


def can_tell_concepts(config: BundleConfig) -> bool:
    """Whether the texts of a bundle know the names of kinds of things, so that detectors can be fitted to it."""
    return isinstance(config.text, TextConfig) and config.text.names is not None


def looks_of_kinds(bundle: Path) -> Vectors:
    """What photographs of each kind look like, (K, D), by a bundle whose texts know the names of kinds."""
    looks: Vectors = MappedTensors(bundle / ENCODERS)[LOOKS].astype(np.float32).T
    return np.ascontiguousarray(looks)
