"""All stages of training a joint space, one after another; what is finished is never done again.

A stage with a frozen backbone reads features that are computed once. They also tell what kinds of things look like
(`Kinds`), and what the backbone's own classifier says of the training images.

Of several backbones, each has a projection of its own, and all share the sentence encoders. The first goes through all
stages, except for those with frozen sentences at the end. Each of the others then meets sentences that have learned:
while its backbone is frozen, they are too, and once its backbone has been trained, it is done. The stages at the end
train one projection of the features of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from model.runtime.torch_encoders import ImageProjection, JoinedBackbones
from model.towers.config import Preprocessing
from model.training.progress import Report
from model.training.run import save_tensors
from model.training.space.config import SpaceTraining, Stage
from model.training.space.data import TrainingSet
from model.training.space.export import export_backbone
from model.training.space.features import Features, classify, compute_features
from model.training.space.kinds import Kinds
from model.training.space.stage import StageInputs, TrainedParts, run_stage
from model.words import Vocabulary


@dataclass(frozen=True)
class SpaceRun:
    """One run of training: settings, data with the files of its images, and where its working files are.

    `folder` is this run's own; `features` is, for each backbone, the beginning of the names of files with the features
    of it as it was pre-trained, which runs with other settings share. `frozen`: the features (n, views, F) of an image
    tower that never learns.
    """

    config: SpaceTraining
    preprocessing: Preprocessing | None
    vocabulary: Vocabulary
    data: TrainingSet
    photographs: Sequence[Path]
    folder: Path
    features: Sequence[Path]
    report: Report
    frozen: Features | None = None


def run_stages(networks: Sequence[TrainedParts], run: SpaceRun) -> TrainedParts:
    """Train the parts, one for each backbone, through all stages of the settings; returns those of all together.

    They share their sentence encoders.
    """
    if len(networks) == 1:
        _run(networks[0], run, range(len(run.config.stages)), "", run.features[0])
        return networks[0]
    stages = run.config.stages
    closing = len(stages)
    while closing > 1 and stages[closing - 1].frozen_sentences:
        closing -= 1
    first, *others = networks
    _run(first, run, range(closing), "-0", run.features[0])
    tuned = [number for number, stage in enumerate(stages[:closing]) if stage.trains_backbone]
    for place, parts in enumerate(others, start=1):
        if first.image.kinds is not None and parts.image.kinds is not None:
            parts.image.kinds.load_state_dict(first.image.kinds.state_dict())
        another = {"seed": run.config.seed + place, "stages": tuple(_of_another(stage) for stage in stages)}
        own = replace(run, config=run.config.model_copy(update=another))
        _run(parts, own, range(tuned[-1] + 1 if tuned else closing), f"-{place}", run.features[place])
    joined = join(networks)
    _run(joined, run, range(closing, len(stages)), "", None)
    return joined


def _of_another(stage: Stage) -> Stage:
    """A stage as a backbone that is not the first goes through it."""
    return stage if stage.trains_backbone else stage.model_copy(update={"frozen_sentences": True, "kinds": 0})


@torch.no_grad()
def join(networks: Sequence[TrainedParts]) -> TrainedParts:
    """The parts of several networks as those of one: an image's vector is about the mean of theirs.

    The kinds are those of the first one's classifier.
    """
    first = networks[0]
    images = [parts.image for parts in networks]
    kinds = [image.kinds.weight for image in images if image.kinds is not None]
    sizes = [image.linear.in_features for image in images]
    known = first.image.kinds is not None and first.image.classifier is not None
    image = ImageProjection(
        sum(sizes), first.image.linear.out_features, len(kinds[0].T) if known else 0, sizes[0] if known else None
    )
    image.scale.copy_(first.image.scale)
    scaled = [one.linear.weight * (one.scale / image.scale) for one in images]
    image.linear.weight.copy_(torch.cat(scaled, dim=1) / len(images))
    image.linear.bias.copy_(torch.stack([one.linear.bias for one in images]).mean(0))
    if image.kinds is not None and image.classifier is not None and first.image.classifier is not None:
        image.kinds.weight.copy_(torch.stack(kinds).mean(0))
        image.classifier.load_state_dict(first.image.classifier.state_dict())
    return TrainedParts(JoinedBackbones([parts.backbone for parts in networks]), image, first.text, first.guide)


def _run(parts: TrainedParts, run: SpaceRun, stages: range, suffix: str, pre_trained: Path | None) -> None:
    """Train `parts` in place through some of the stages.

    `suffix`: what tells its working files from another network's. `pre_trained`: as in `SpaceRun`, where it starts with
    the first stage.
    """
    inputs = StageInputs(run.data, run.frozen)
    if run.frozen is not None:
        _fit_scale(parts, run.frozen)
    for number in stages:
        stage = run.config.stages[number]
        finished = run.folder / f"{number}-{stage.name}{suffix}.safetensors"
        opinions = run.folder / f"{number}-opinions{suffix}.npy"
        if finished.exists():
            parts.load_state_dict(load_file(finished))
            if opinions.exists():
                inputs = replace(inputs, opinions=torch.from_numpy(np.load(opinions)))
            continue
        if stage.trains_backbone:
            inputs = replace(inputs, features=None)
        elif run.frozen is None and (inputs.features is None or stage.views != run.config.stages[number - 1].views):
            cache = run.folder / f"{number}-features{suffix}.npy"
            if number == 0 and pre_trained is not None:
                cache = pre_trained.with_name(f"{pre_trained.name}-{'-'.join(stage.views).replace(' ', '-')}.npy")
            inputs = _with_features(inputs, parts, run, number, cache)
            if inputs.opinions is not None:
                np.save(opinions, inputs.opinions.numpy())
        checkpoint = run.folder / f"{number}-{stage.name}{suffix}.checkpoint"
        run_stage(parts, run.config, stage, run.preprocessing, inputs, checkpoint, run.report)
        save_tensors(parts.state_dict(), finished)
        checkpoint.unlink(missing_ok=True)


def _with_features(inputs: StageInputs, parts: TrainedParts, run: SpaceRun, number: int, cache: Path) -> StageInputs:
    """The inputs of a stage whose backbone is frozen as it is now."""
    if run.preprocessing is None:
        raise ValueError("without preprocessing there are no features")
    exported = run.folder / "backbone"
    joined = len(parts.backbone.networks) if isinstance(parts.backbone, JoinedBackbones) else 1
    export_backbone(parts.backbone, run.config.image_size, exported, joined)
    views = run.config.stages[number].views
    features = compute_features(run.photographs, exported, run.preprocessing, views, cache, run.report, joined)
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
