"""What is fitted to a space once it is trained: the rule of arithmetic, then the calibration, which depends on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import COMPOSITION, MODEL_CARD, BundleConfig, CalibrationConfig, CompositionConfig, write_config
from model.compose.arithmetic import LearnedComposition
from model.data.datasets import CaptionDataset
from model.evaluation.regularities import Mentions, answerable, evaluate_regularities, find_swaps
from model.space import JointSpace
from model.training.card import model_card
from model.training.fitting.calibration import fit_calibration
from model.training.fitting.composition import fit_composition

Vectors = npt.NDArray[np.float32]


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


def store(folder: Path, config: BundleConfig, learned: LearnedComposition | None = None) -> None:
    """Write another configuration, its card, and what goes with another rule, into a bundle.

    Its vectors stay the same, and a kill at any moment leaves the old bundle or the new one.
    """
    with TemporaryDirectory() as directory:
        files = [Path(directory) / MODEL_CARD]
        files[0].write_text(model_card(config), encoding="utf-8")
        if learned is not None:
            files.append(Path(directory) / COMPOSITION)
            learned.save(files[-1])
        write_config(folder, config, files)
