"""Train a joint space on a captioned image set and write it as a bundle.

    train_space(Path("../shared/flickr8k"), Path("bundle"), PRESETS["default"].space, work=Path("work"), report=print)

Working files (decoded pixels, features, checkpoints) lie in `work`; a run that was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from model.bundle import (
    MODEL_CARD,
    BundleConfig,
    file_digest,
    write_config,
)
from model.data.datasets import CaptionDataset, load_dataset
from model.data.texts import read_texts
from model.evaluation.protocol import embed_photographs, rank_photographs
from model.evaluation.retrieval import RetrievalReport
from model.runtime.torch_encoders import ImageProjection, SentenceEncoders
from model.space import JointSpace
from model.towers.config import (
    ENCODERS,
    VOCABULARY,
    NamesConfig,
    TextConfig,
)
from model.training.fitting.discriminants import LOOKS, learn_looks
from model.training.fitting.fit import fit_to_space, store
from model.training.graphs import write_graphs
from model.training.importing.image_tower import ImageTowerFolder, read_image_tower
from model.training.progress import Progress, Report, counting
from model.training.space.config import SpaceTraining
from model.training.space.data import TrainingSet, encode_captions, encode_texts, load_pixels
from model.training.space.distillation import CODE_DIMENSION, embed_with_teacher, quantise
from model.training.space.frozen import frozen_features
from model.training.space.image_side import ImageSide, frozen, trainable
from model.training.space.kinds import COUNT as KINDS
from model.training.space.kinds import kind_names, name_sentences
from model.training.space.schedule import SpaceRun, run_stages
from model.training.space.stage import TrainedParts
from model.training.space.student import train_student
from model.training.space.vocabulary import choose_words
from model.words import Vocabulary, count_words


def train_space(
    data: Path,
    out: Path,
    config: SpaceTraining,
    *,
    work: Path,
    report: Report,
    resume: bool = True,
    texts: Path | None = None,
) -> RetrievalReport:
    """Train on the `train` split of `data`, measure on its `dev` split, write the bundle to `out`.

    Returns the figures of the bundle as written, by the sentence encoder that did best on the development split.
    `resume`: go on where an earlier run with the same settings stopped. `texts`: a folder of captions without
    photographs (`model.data.texts`), which a student of the LSTM learns from as well. Errors: `DatasetError`,
    `BackboneWeightsError`, `ImportingError`.
    """
    torch.manual_seed(config.seed)
    others = {} if texts is None or config.student is None else read_texts(texts)
    train, dev = load_dataset(data, "train"), load_dataset(data, "dev")
    if config.image_tower is None:
        side = trainable(config)
    else:
        report(Progress("reading the image tower", 0, 1))
        side = frozen(read_image_tower(config.image_tower, work / "image-tower"))
        config = config.frozen()
    recipe = _recipe(config, side.tower)
    if others:
        recipe["texts"] = {name: len(captions) for name, captions in others.items()}
    folder = _working_folder(work, train, recipe, resume)

    with_kinds = side.tells_kinds
    grounded, vocabulary = _words(train, config, with_kinds=with_kinds)
    bundle = BundleConfig(
        name=f"visem-{train.name}-{side.name.replace('tf_', '')}-{config.preset}",
        dimension=config.dimension,
        image=side.config,
        text=_text_config(config, grounded, vocabulary, with_kinds=with_kinds),
        training_data=f"{train.name}, train split, {len(train.items)} photographs and their captions",
        recipe=recipe,
    )
    networks = _make_parts(config, bundle, side)
    training_set = _read_training_set(train, config, vocabulary, networks[0], work, report)
    weights = recipe.get("backbone_weights", recipe.get("image_tower", {})).get("sha256", "")[:12]
    size = "" if side.tower else str(config.image_size)
    features = [
        work / "-".join(filter(None, ("features", _digest(train), backbone.name, weights, size)))
        for backbone in side.backbones
    ]
    given = None
    if side.tower is not None:
        views = max(len(stage.views) for stage in config.stages)
        cache = features[0].with_name(f"{features[0].name}-{views}.npy")
        given = frozen_features(side.tower, train, views, cache, report)
    files = [item.path for item in train.items]
    run = SpaceRun(config, side.preprocessing, vocabulary, training_set, files, folder, features, report, given)
    parts = run_stages(networks, run)
    if config.student is not None:
        captions = [caption for captions in training_set.captions for caption in captions]
        names = name_sentences(vocabulary) if with_kinds else []
        sources = [(captions, 2), (encode_texts(others, vocabulary), 1), (names, 10)]
        parts.text.lstm = train_student(parts.text, sources, config, folder, report)
        sizes = config.student.model_dump(include={"lstm_dimension", "lstm_input_dimension"})
        bundle = bundle.model_copy(update={"text": bundle.words.model_copy(update=sizes)})

    report(Progress("writing the bundle", 0, 1))
    staging = out.with_name(out.name + ".partial")
    _write_bundle(staging, bundle, parts, config, vocabulary, side)
    best = _measure_and_choose(staging, bundle, train, dev, report)
    for file in staging.iterdir():
        file.chmod(0o644)
    shutil.rmtree(out, ignore_errors=True)
    staging.replace(out)
    return best


def _recipe(config: SpaceTraining, tower: ImageTowerFolder | None) -> dict[str, Any]:
    """The settings as the bundle keeps them: what comes from files by its name and content, not by its place."""
    if tower is not None:
        recipe = config.model_dump(mode="json", exclude={"backbone", "backbone_weights", "image_size"})
        recipe["image_tower"] = {"origin": tower.origin, "terms": tower.terms, "sha256": tower.digest}
        return recipe
    recipe = config.model_dump(mode="json", exclude={"backbone_weights", "image_tower"})
    if config.backbone_weights is not None:
        file = config.backbone_weights
        recipe["backbone_weights"] = {"file": file.name, "sha256": file_digest(file)}
    return recipe


def _working_folder(work: Path, train: CaptionDataset, recipe: dict[str, Any], resume: bool) -> Path:
    """The run's own folder in `work`. What only images and pre-trained networks determine lies beside it, shared."""
    folder = work / f"{recipe['preset']}-{_digest(train, recipe)}"
    if folder.exists() and not resume:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(train: CaptionDataset, recipe: dict[str, Any] | None = None) -> str:
    """What names working files: other images, captions or settings never meet the files of these."""
    digest = hashlib.sha256(repr(recipe).encode())
    for item in train.items:
        digest.update(repr((item.path.name, item.captions)).encode())
    return digest.hexdigest()[:12]


def _words(train: CaptionDataset, config: SpaceTraining, *, with_kinds: bool) -> tuple[int, Vocabulary]:
    """The vocabulary, and how many of its words, the first ones, are grounded: seen often enough in the captions."""
    counts = count_words(caption for item in train.items for caption in item.captions)
    seen = [word for word, count in counts.items() if count >= config.minimum_count]
    if config.words is None:
        return len(seen), Vocabulary(seen)
    names = [name for names in kind_names() for name in names] if with_kinds else []
    return len(seen), choose_words(seen, names, config.words)


def _text_config(config: SpaceTraining, grounded: int, vocabulary: Vocabulary, *, with_kinds: bool) -> TextConfig:
    named = with_kinds and config.words is not None and "bag" in config.encoders
    return TextConfig(
        words=len(vocabulary),
        grounded_words=grounded,
        code_dimension=None if config.words is None else CODE_DIMENSION,
        encoders=config.encoders,
        sentence_encoder=config.encoders[0],
        names=NamesConfig(names=tuple(map(tuple, kind_names()))) if named else None,
        lstm_dimension=config.lstm_dimension,
        lstm_input_dimension=config.lstm_input_dimension if config.lstm_dimension else None,
    )


def _make_parts(config: SpaceTraining, bundle: BundleConfig, side: ImageSide) -> list[TrainedParts]:
    """The parts of each network: what is pre-trained of the image side, all else at random, and the text shared."""
    guided = config.guidance > 0 and config.words is not None
    images = [
        ImageProjection(backbone.features, bundle.dimension, 0 if backbone.classifier is None else KINDS)
        for backbone in side.backbones
    ]
    text = SentenceEncoders(bundle.words, bundle.dimension)
    guide = nn.Linear(bundle.dimension, CODE_DIMENSION) if guided else None
    for image, backbone in zip(images, side.backbones, strict=True):
        if backbone.classifier is not None and image.classifier is not None:
            image.classifier.load_state_dict(backbone.classifier.state_dict())
    return [
        TrainedParts(backbone.network, image, text, guide)
        for image, backbone in zip(images, side.backbones, strict=True)
    ]


def _read_training_set(
    train: CaptionDataset,
    config: SpaceTraining,
    vocabulary: Vocabulary,
    parts: TrainedParts,
    work: Path,
    report: Report,
) -> TrainingSet:
    """Pixels, captions, and what the text model says of them; the codes of words go into `parts`."""
    pixels = None
    if config.image_tower is None:
        size = config.image_size
        pixels = load_pixels(train, size, work / f"pixels-{_digest(train)}-{size}.npy", counting(report, "decoding"))
    captions, texts = encode_captions(train, vocabulary)
    if config.words is not None:
        codes, scale = quantise(embed_with_teacher(vocabulary.words, work, counting(report, "text model, words")))
        parts.text.words.codes.copy_(torch.from_numpy(codes))
        parts.text.words.code_scale.fill_(scale)
    if parts.guide is None:
        return TrainingSet(pixels, captions)
    taught = embed_with_teacher(texts, work, counting(report, "text model, captions"))
    return TrainingSet(pixels, captions, torch.from_numpy(taught.astype(np.float32)))


def _write_bundle(
    folder: Path,
    bundle: BundleConfig,
    parts: TrainedParts,
    config: SpaceTraining,
    vocabulary: Vocabulary,
    side: ImageSide,
) -> None:
    """All files of a bundle into a folder, which is emptied first; the model card is still blank."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    side.write(folder, config.image_size)
    if parts.image.kinds is not None:
        with torch.no_grad():
            parts.image.kinds.weight.mul_(config.kinds_emphasis)
    encoders = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in parts.state_dict().items()
        if not name.startswith(("backbone.", "guide."))
    }
    if bundle.words.names is not None:  # learned once images have vectors
        encoders[LOOKS] = torch.zeros(bundle.dimension, KINDS, dtype=torch.half)
    save_file(encoders, folder / ENCODERS)
    vocabulary.write(folder / VOCABULARY)
    (folder / MODEL_CARD).write_text("", encoding="utf-8")
    write_graphs(folder, bundle)
    write_config(folder, bundle)


def _measure_and_choose(
    folder: Path, config: BundleConfig, train: CaptionDataset, dev: CaptionDataset, report: Report
) -> RetrievalReport:
    """Let the development split choose the sentence encoder and fit what comes after it; write the figures."""
    space = JointSpace.load(folder, device="cpu")
    images, seen = (embed_photographs(space, split, counting(report, "measuring")) for split in (dev, train))
    if config.words.names is not None:
        learn_looks(folder, seen)
        write_config(folder, config)
        space = JointSpace.load(folder, device="cpu")
    reports = rank_photographs(space, dev, images, config.words.choices)
    best = max(config.words.choices, key=lambda encoder: reports[encoder].recall_sum)
    retrieval = {encoder: reports[encoder].to_json() for encoder in config.words.choices}
    chosen = config.model_copy(update={"text": config.text.model_copy(update={"sentence_encoder": best})})
    split = f"{dev.name}-{dev.split}"
    chosen = chosen.model_copy(update={"quality": {split: {"retrieval": retrieval}}})
    write_config(folder, chosen)
    posthoc = fit_to_space(JointSpace.load(folder, device="cpu"), train, dev, seen, images)
    store(folder, posthoc.within(chosen, split), posthoc.learned)
    return reports[best]
