"""What is fitted to a space once it is trained: the rule of arithmetic, then the chances, which depend on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import CalibrationConfig, CompositionConfig, write_config
from model.calibration import fit_calibration
from model.datasets import CaptionDataset
from model.evaluation.regularities import Mentions, answerable, evaluate_regularities, find_swaps
from model.space import JointSpace
from model.training.composition import fit_composition

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Posthoc:
    """The numbers, and how often arithmetic is right by them; `regularities` is empty where nothing was asked."""

    composition: CompositionConfig
    calibration: CalibrationConfig
    regularities: dict[str, Any] = field(default_factory=dict)


def fit_posthoc(
    space: JointSpace,
    train: CaptionDataset,
    dev: CaptionDataset,
    image_vectors: Vectors,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Posthoc:
    """Fit both; `image_vectors` (n, D) are those of dev's photographs, in its order."""
    composition = fit_composition(space, train, dev, image_vectors, report)
    fitted = space.with_config(space.config.model_copy(update={"composition": composition}))
    regularities: dict[str, Any] = {}
    if swaps := answerable(fitted, find_swaps(dev)):
        regularities = evaluate_regularities(fitted, image_vectors, swaps, Mentions(dev)).to_json()
    return Posthoc(composition, fit_calibration(fitted, dev, image_vectors), regularities)


def store(folder: Path, space: JointSpace, **changes: Any) -> None:
    """Write `composition`, `calibration` or `quality` into the `bundle.json` of a bundle; its vectors stay the same."""
    write_config(folder, space.config.model_copy(update=changes))
