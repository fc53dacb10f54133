"""What is fitted to a space once it is trained: arithmetic, the calibration, which depends on it, and detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import COMPOSITION, MODEL_CARD, BundleConfig, CalibrationConfig, CompositionConfig, write_config
from model.captioner.captioner import Captioner
from model.compose.arithmetic import LearnedComposition
from model.concepts import CONCEPTS
from model.concepts_config import ConceptsConfig
from model.data.datasets import CaptionDataset
from model.errors import DatasetError
from model.evaluation.caption_protocol import measure_captions
from model.evaluation.protocol import embed_captions
from model.evaluation.regularities import Mentions, answerable, evaluate_regularities, find_swaps
from model.space import JointSpace
from model.training.captioner.data import CaptionSet, read_captions
from model.training.card import model_card
from model.training.fitting.calibration import fit_calibration
from model.training.fitting.composition import fit_composition
from model.training.fitting.concepts import FEWEST, fit_concepts, looks_of_kinds, save_concepts, tellable_words
from model.words import tokenise

Vectors = npt.NDArray[np.float32]
Detectors = tuple[ConceptsConfig, dict[str, Vectors]]


@dataclass(frozen=True)
class FittedToSpace:
    """What was fitted. `regularities`: how often arithmetic succeeds by it; empty if the set has no attribute swaps."""

    composition: CompositionConfig
    learned: LearnedComposition
    calibration: CalibrationConfig
    regularities: dict[str, Any] = field(default_factory=dict)

    def within(self, config: BundleConfig, split: str) -> BundleConfig:
        """The configuration of a bundle with all of it; `split` is what the figures were measured on."""
        measured = {**config.quality.get(split, {"retrieval": {}}), "regularities": self.regularities}
        return config.model_copy(
            update={
                "composition": self.composition,
                "calibration": self.calibration,
                "quality": {**config.quality, split: measured},
            }
        )


def fit_to_space(
    space: JointSpace,
    train: CaptionDataset,
    dev: CaptionDataset,
    train_vectors: Vectors,
    dev_vectors: Vectors,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> FittedToSpace:
    """Fit both; the vectors (n, D) are those of the sets' photographs, in their order."""
    composition, learned = fit_composition(space, train, dev, train_vectors, dev_vectors, report)
    fitted = space.with_config(space.config.model_copy(update={"composition": composition}), learned)
    regularities: dict[str, Any] = {}
    if swaps := answerable(fitted, find_swaps(dev)):
        regularities = evaluate_regularities(fitted, dev_vectors, swaps, Mentions(dev)).to_json()
    return FittedToSpace(composition, learned, fit_calibration(fitted, dev, dev_vectors), regularities)


def fit_detectors(
    space: JointSpace, train: CaptionDataset, dev: CaptionDataset, train_vectors: Vectors, dev_vectors: Vectors
) -> Detectors:
    """Detectors of concepts; the vectors are as in `fit_to_space`. Errors: `DatasetError`, `TaggerUnavailable`.

    The bundle of the space is one that `can_tell_concepts`. The kernel stays where its captioner reads it.
    """
    seen, others = _captions(train, train_vectors), _captions(dev, dev_vectors)
    if not tellable_words(seen):
        raise DatasetError(
            "dataset_empty", f"No word is told by the captions of {FEWEST} photographs or more. Use more photographs."
        )
    captioner, detector = space.config.captioner, space.concepts
    kernel = detector.kernel if captioner is not None and captioner.kernel and detector is not None else None
    return fit_concepts(seen, others, looks_of_kinds(space.bundle.path), kernel)


def _captions(dataset: CaptionDataset, vectors: Vectors) -> CaptionSet:
    """Without vectors of the sentences, which detectors do not read."""
    sentences = sum(len(item.captions) for item in dataset.items)
    return read_captions(dataset, [], vectors, np.zeros((sentences, 0), dtype=np.float32))


def with_captions_measured(
    folder: Path, train: CaptionDataset, dev: CaptionDataset, dev_vectors: Vectors
) -> BundleConfig:
    """The configuration of a bundle with a captioner, with its captions measured anew: they use the detectors."""
    captioner = Captioner.load(folder, device="cpu")
    space, split = captioner.space, f"{dev.name}-{dev.split}"
    sentences = [caption for item in train.items for caption in item.captions if tokenise(caption)]
    seen = train, embed_captions(space, sentences, space.text.encoder)
    measured = captioner.config.quality.get(split, {}) | measure_captions(captioner, dev, dev_vectors, seen)
    section = captioner.config.model_copy(update={"quality": {**captioner.config.quality, split: measured}})
    return space.config.model_copy(update={"captioner": section})


def store(
    folder: Path,
    config: BundleConfig,
    learned: LearnedComposition | None = None,
    concepts: dict[str, Vectors] | None = None,
) -> None:
    """Write another configuration, its card, and what goes with another rule or other detectors, into a bundle.

    Its vectors stay the same, and a kill at any moment leaves the old bundle or the new one.
    """
    with TemporaryDirectory() as directory:
        files = [Path(directory) / MODEL_CARD]
        files[0].write_text(model_card(config), encoding="utf-8")
        if learned is not None:
            files.append(Path(directory) / COMPOSITION)
            learned.save(files[-1])
        if concepts is not None:
            files.append(Path(directory) / CONCEPTS)
            save_concepts(concepts, files[-1])
        write_config(folder, config, files)
