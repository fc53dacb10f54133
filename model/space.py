"""JointSpace: a bundle, loaded and ready. What everyone else calls.

space = JointSpace.load()                    # the shipped bundle
space.embed_images([image, ...])             # float32 (n, D), unit rows
space.embed_texts(["a dog runs", ...])       # float32 (n, D), unit rows
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import load_file

from model.bundle import COMPOSITION, ENCODERS, Bundle, BundleConfig, CompositionConfig, SentenceEncoder
from model.composition import Composer, Composition, LearnedComposition, Term
from model.encoders import (
    EPSILON,
    Backbone,
    ImageProjection,
    KindNames,
    OnnxBackbone,
    SentenceEncoders,
    TorchBackbone,
    keep_half_precision,
    preprocess,
)
from model.errors import BundleError
from model.words import plural

Vectors = npt.NDArray[np.float32]

IMAGE_BATCH = 16
"""Images that go through the backbone at once: more brings no speed on a CPU, and costs memory."""
TEXT_BATCH = 512


class JointSpace:
    """Images and sentences in one vector space of dimension D; thread-safe."""

    def __init__(self, bundle: Bundle, backbone: Backbone, device: str) -> None:
        self.bundle = bundle
        self.device = device
        self._backbone = backbone
        projection = ImageProjection(self.config.image.feature_dimension, self.dimension, self.config.image.kinds)
        encoders = SentenceEncoders(self.config.text, self.dimension)
        modules = torch.nn.ModuleDict({"image": projection, "text": encoders})
        names = (
            None
            if self.config.text.names is None
            else KindNames(self.config.text.names, self.dimension, self.config.text.grounded_words)
        )
        if names is not None:
            modules["names"] = names
        stored = load_file(bundle.path / ENCODERS)
        weights = {name: weight.float() if weight.is_floating_point() else weight for name, weight in stored.items()}
        try:
            modules.load_state_dict(weights)
        except RuntimeError as error:
            raise BundleError(
                "bundle_corrupted", f"{bundle.path / ENCODERS} does not fit its configuration: {error}"
            ) from error
        modules.eval().requires_grad_(False).to(device)
        encoders.words.fold_codes()
        if device == "cpu":
            keep_half_precision(encoders)
        self._projection = projection
        self._encoders = encoders
        self._names = names
        with torch.inference_mode():
            grounded = encoders.words(torch.arange(self.config.text.grounded_words, device=device))
            self._concepts = torch.nn.functional.normalize(grounded, dim=1, eps=EPSILON)
        if names is not None:
            self._learn_names(names)
        heads = len(self.config.composition.heads)
        self.learned_composition = (
            LearnedComposition.load(bundle.path / COMPOSITION, heads, self.dimension)
            if COMPOSITION in self.config.files
            else LearnedComposition.none(heads, self.dimension)
        )
        self.composer = self.composer_with(self.config.composition, self.learned_composition)

    @classmethod
    def load(cls, bundle: Path | None = None, device: str = "auto") -> JointSpace:
        """Load a bundle (None: the shipped one) without touching the network.

        `device`: `cpu`, `cuda`, or `auto` for a GPU where torch finds one. Errors: `BundleError`.
        """
        loaded = Bundle.load(bundle)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        backbone: Backbone = (
            OnnxBackbone(loaded.path) if device == "cpu" else TorchBackbone(loaded.path, loaded.config.image, device)
        )
        return cls(loaded, backbone, device)

    @property
    def config(self) -> BundleConfig:
        """The bundle's configuration."""
        return self.bundle.config

    @property
    def id(self) -> str:
        """Digest of all that determines a vector; a library remembers it."""
        return self.config.space_id

    @property
    def name(self) -> str:
        """The bundle's name, for people."""
        return self.config.name

    @property
    def dimension(self) -> int:
        """D."""
        return self.config.dimension

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Upright RGB images to float32 (n, D), unit rows; (0, D) for none."""
        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        for start in range(0, len(images), IMAGE_BATCH):
            batch = images[start : start + IMAGE_BATCH]
            features = self._backbone(preprocess(batch, self.config.image.preprocessing))
            vectors[start : start + len(batch)] = self.project_features(features)
        return vectors

    @torch.inference_mode()
    def project_features(self, features: Vectors) -> Vectors:
        """The backbone's pooled features (n, F) to float32 (n, D), unit rows."""
        projected: Vectors = self._projection(torch.from_numpy(features).to(self.device)).cpu().numpy()
        return projected

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], encoder: SentenceEncoder | None = None) -> Vectors:
        """Sentences to float32 (n, D), unit rows; (0, D) for none.

        `encoder` None is the bundle's choice for sentences. Unknown words are left out (`unknown_words` tells them).
        Errors: `EmptyTextError`, `NoKnownWordsError`, for the first such sentence.
        """
        return self._embed(texts, encoder or self.config.text.sentence_encoder, self._names)

    @torch.inference_mode()
    def embed_operands(self, texts: Sequence[str]) -> Vectors:
        """Operands of arithmetic to float32 (n, D), unit rows: by the linear encoder alone, where words add up.

        A bundle without a trained linear encoder (preset `paper`) uses what it has. Errors as `embed_texts`.
        """
        if "bag" not in self.config.text.encoders:
            return self.embed_texts(texts)
        return self._embed(texts, "bag", None)

    def _embed(self, texts: Sequence[str], encoder: SentenceEncoder, names: KindNames | None) -> Vectors:
        sentences = [self.bundle.vocabulary.numbers(text) for text in texts]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), TEXT_BATCH):
            batch = sentences[start : start + TEXT_BATCH]
            embedded, bags = self._encoders.embed(batch, [encoder, "bag"])
            if names is not None:
                embedded = names(embedded, bags, batch)
            vectors[start : start + len(batch)] = embedded.cpu().numpy()
        return vectors

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the vocabulary lacks, in order, without repeats."""
        return self.bundle.vocabulary.resolve(text)[1]

    @torch.inference_mode()
    def nearest_words(self, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]:
        """For each row of (n, D), the k words seen in training that lie nearest, with their cosines, best first."""
        k = min(k, len(self._concepts))
        scores = torch.from_numpy(vectors).to(self.device) @ self._concepts.T  # (n, words)
        values, places = scores.topk(k, dim=1)
        words = self.bundle.vocabulary.words
        return [
            [(words[place], score) for place, score in zip(row_places, row_values, strict=True)]
            for row_places, row_values in zip(places.tolist(), values.tolist(), strict=True)
        ]

    def compose(self, terms: Sequence[Term]) -> Vectors:
        """The unit vector (D,) of a weighted sum of images and texts, by the rule of `model.composition`.

        Each term is (vector (D,) or text, weight, kind); the order of terms does not matter. Errors:
        `DegenerateQueryError` where the sum is near zero, `NoKnownWordsError`, `EmptyTextError`.
        """
        return self.composition(terms).vector

    def composition(self, terms: Sequence[Term]) -> Composition:
        """As `compose`, with what each term contributes to the sum."""
        return self.composer(terms)

    def with_config(self, config: BundleConfig, learned: LearnedComposition | None = None) -> JointSpace:
        """The same space and the same weights under another configuration: one not written yet, say.

        `learned` goes with its rule of arithmetic; by default it is what the bundle has.
        """
        other = copy(self)
        other.bundle = replace(self.bundle, config=config)
        other.learned_composition = self.learned_composition if learned is None else learned
        other.composer = other.composer_with(config.composition, other.learned_composition)
        return other

    def composer_with(self, config: CompositionConfig, learned: LearnedComposition) -> Composer:
        """The rule of arithmetic with other numbers, on this space."""
        return Composer(
            config, learned, self.bundle.vocabulary, self._word_vectors, self.embed_operands, self.embed_texts
        )

    @torch.inference_mode()
    def _learn_names(self, names: KindNames) -> None:
        """Tell it the words of all names, and of their plurals, that the vocabulary knows whole.

        A synonym of one word that the captions taught is left out: they know better (*board* is no dining table).
        """
        known = []
        for kind, listed in enumerate(names.config.names):
            for place, name in enumerate(listed):
                for spelled in (name, plural(name)):
                    numbers, unknown = self.bundle.vocabulary.resolve(spelled)
                    taught = place > 0 and len(numbers) == 1 and numbers[0] < self.config.text.grounded_words
                    if numbers and not unknown and not taught:
                        known.append((kind, numbers))
        if known:
            (bags,) = self._encoders.embed([numbers for _, numbers in known], ["bag"])
            names.learn_names(known, bags)

    @torch.inference_mode()
    def _word_vectors(self, numbers: Sequence[int]) -> Vectors:
        """Word numbers to the linear encoder's vectors, as they are summed: float32 (n, D)."""
        vectors: Vectors = (
            self._encoders.words(torch.tensor(numbers, dtype=torch.int64, device=self.device)).cpu().numpy()
        )
        return vectors
