"""All stages of training a joint space, one after another; what is finished is never done again.

A stage with a frozen backbone reads features that are computed once. They also tell what kinds of things look like
(`Kinds`), and what the backbone's own classifier says of the training images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from model.towers.config import Preprocessing
from model.training.progress import Report
from model.training.run import save_tensors
from model.training.space.config import SpaceTraining
from model.training.space.data import TrainingSet
from model.training.space.export import export_backbone
from model.training.space.features import Features, classify, compute_features
from model.training.space.kinds import Kinds
from model.training.space.stage import StageInputs, TrainedParts, run_stage
from model.words import Vocabulary


@dataclass(frozen=True)
class SpaceRun:
    """One run of training: settings, data, and where its working files are.

    `folder` is this run's own; `features` is the beginning of the names of files with the pre-trained backbone's
    features, which runs with other settings share. `frozen`: the features (n, views, F) of an image tower that never
    learns.
    """

    config: SpaceTraining
    preprocessing: Preprocessing | None
    vocabulary: Vocabulary
    data: TrainingSet
    folder: Path
    features: Path
    report: Report
    frozen: Features | None = None


def run_stages(parts: TrainedParts, run: SpaceRun) -> None:
    """Train `parts` in place through all stages of the settings."""
    inputs = StageInputs(run.data, run.frozen)
    if run.frozen is not None:
        _fit_scale(parts, run.frozen)
    for number, stage in enumerate(run.config.stages):
        finished = run.folder / f"{number}-{stage.name}.safetensors"
        opinions = run.folder / f"{number}-opinions.npy"
        if finished.exists():
            parts.load_state_dict(load_file(finished))
            if opinions.exists():
                inputs = replace(inputs, opinions=torch.from_numpy(np.load(opinions)))
            continue
        if stage.trains_backbone:
            inputs = replace(inputs, features=None)
        elif inputs.features is None:
            inputs = _with_features(inputs, parts, run, number)
            if inputs.opinions is not None:
                np.save(opinions, inputs.opinions.numpy())
        checkpoint = run.folder / f"{number}-{stage.name}.checkpoint"
        run_stage(parts, run.config, stage, run.preprocessing, inputs, checkpoint, run.report)
        save_tensors(parts.state_dict(), finished)
        checkpoint.unlink(missing_ok=True)


def _with_features(inputs: StageInputs, parts: TrainedParts, run: SpaceRun, number: int) -> StageInputs:
    """The inputs of a stage whose backbone is frozen as it is now."""
    if inputs.data.pixels is None or run.preprocessing is None:
        raise ValueError("without pixels there are no features")
    exported = run.folder / "backbone"
    export_backbone(parts.backbone, run.config.image_size, exported)
    views = run.config.stages[number].views
    cache = run.folder / f"{number}-features.npy"
    if number == 0:
        cache = run.features.with_name(f"{run.features.name}-{views}.npy")
    features = compute_features(inputs.data.pixels, exported, run.preprocessing, views, cache, run.report)
    if number == 0:
        _fit_scale(parts, features)
    classifier = parts.image.classifier
    if classifier is None:
        return replace(inputs, features=features)
    kinds = Kinds.learn(features, classifier, run.vocabulary)
    return replace(inputs, features=features, kinds=kinds, opinions=classify(features, classifier))


def _fit_scale(parts: TrainedParts, features: Features) -> None:
    """Bring the features to one spread, whatever network they are of."""
    parts.image.scale.fill_(0.5 / max(float(features.astype(np.float32).std()), 1e-6))
