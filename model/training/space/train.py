"""Train a joint space on a captioned image set and write it as a bundle.

    train_space(Path("../shared/flickr8k"), Path("model/pretrained"), PRESETS["default"])

The stages of the configuration run one after another. A stage with a frozen backbone reads features that are computed
once, of every image and its mirror image, by the exported network in ONNX Runtime. Working files (decoded pixels,
features, checkpoints) lie in `work`; a run that was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.bundle import (
    MODEL_CARD,
    BundleConfig,
    write_config,
)
from model.datasets import CaptionDataset, load_dataset
from model.encoders import ImageProjection, OnnxBackbone, SentenceEncoders
from model.evaluation.protocol import embed_photographs, rank_photographs
from model.evaluation.retrieval import RetrievalReport
from model.space import JointSpace
from model.towers.config import (
    BACKBONE_GRAPH,
    BACKBONE_WEIGHTS,
    ENCODERS,
    VOCABULARY,
    ImageConfig,
    NamesConfig,
    Preprocessing,
    TextConfig,
)
from model.training.fitting.discriminants import LOOKS, learn_looks
from model.training.fitting.fit import fit_posthoc, store
from model.training.space.backbone_weights import backbone_preprocessing, load_pretrained
from model.training.space.config import SpaceTraining
from model.training.space.data import Pixels, TrainingSet, encode_captions, load_pixels
from model.training.space.distillation import CODE_DIMENSION, embed_with_teacher, quantise
from model.training.space.export import export_backbone
from model.training.space.kinds import COUNT as KINDS
from model.training.space.kinds import Kinds, kind_names
from model.training.space.stage import Progress, Report, TrainedParts, run_stage
from model.training.space.vocabulary import choose_words
from model.words import Vocabulary, count_words

Features = npt.NDArray[np.float16]
FEATURE_BATCH = 16


def train_space(
    data: Path, out: Path, config: SpaceTraining, *, work: Path, report: Report, resume: bool = True
) -> RetrievalReport:
    """Train on the `train` split of `data`, measure on its `dev` split, write the bundle to `out`.

    Returns the figures of the bundle as written, by the sentence encoder that did best on the development split.
    `resume`: go on where an earlier run with the same settings stopped. Errors: `DatasetError`,
    `BackboneWeightsError`.
    """
    torch.manual_seed(config.seed)
    train, dev = load_dataset(data, "train"), load_dataset(data, "dev")
    # What only the images and the pre-trained networks determine is shared by runs with other settings.
    data_digest, shared = _digest(train), work
    work = work / f"{config.preset}-{_digest(train, config)}"
    if work.exists() and not resume:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)

    network, classifier = load_pretrained(config.backbone, config.backbone_weights)
    if not config.kinds or classifier is None or classifier.out_features != KINDS:
        classifier = None
    preprocessing = backbone_preprocessing(network, config.image_size)
    feature_dimension = _feature_dimension(network, preprocessing)
    counts = count_words(caption for item in train.items for caption in item.captions)
    seen = [word for word, count in counts.items() if count >= config.minimum_count]
    if config.words is None:
        vocabulary = Vocabulary(seen)
    else:
        names = [name for names in kind_names() for name in names] if classifier is not None else []
        vocabulary = choose_words(seen, names, config.words)
    named = classifier is not None and config.words is not None and "bag" in config.encoders
    text_config = TextConfig(
        words=len(vocabulary),
        grounded_words=len(seen),
        code_dimension=None if config.words is None else CODE_DIMENSION,
        encoders=config.encoders,
        sentence_encoder=config.encoders[0],
        names=None if not named else NamesConfig(names=tuple(map(tuple, kind_names()))),
        lstm_dimension=config.lstm_dimension,
        lstm_input_dimension=config.lstm_input_dimension if config.lstm_dimension else None,
    )
    guided = config.guidance > 0 and config.words is not None
    parts = TrainedParts(
        network.to(memory_format=torch.channels_last),
        ImageProjection(feature_dimension, config.dimension, 0 if classifier is None else KINDS),
        SentenceEncoders(text_config, config.dimension),
        torch.nn.Linear(config.dimension, CODE_DIMENSION) if guided else None,
    )
    if classifier is not None and parts.image.classifier is not None:
        parts.image.classifier.load_state_dict(classifier.state_dict())

    def counting(name: str) -> Callable[[int, int], None]:
        return lambda done, total: report(Progress(name, done, total))

    pixels = load_pixels(
        train, config.image_size, shared / f"pixels-{data_digest}-{config.image_size}.npy", counting("decoding")
    )
    captions, texts = encode_captions(train, vocabulary)
    guidance = None
    if config.words is not None:
        codes, scale = quantise(embed_with_teacher(vocabulary.words, shared, counting("text model, words")))
        parts.text.words.codes.copy_(torch.from_numpy(codes))
        parts.text.words.code_scale.fill_(scale)
    if guided:
        taught = embed_with_teacher(texts, shared, counting("text model, captions"))
        guidance = torch.from_numpy(taught.astype(np.float32))
    training_set = TrainingSet(pixels, captions, guidance)

    kinds, opinions = None, None
    exported, features = work / "backbone", None
    for number, stage in enumerate(config.stages):
        finished, said = work / f"{number}-{stage.name}.safetensors", work / f"{number}-opinions.npy"
        if finished.exists():
            parts.load_state_dict(load_file(finished))
            if said.exists():
                opinions = torch.from_numpy(np.load(said))
            continue
        if stage.trains_backbone:
            features = None
        elif features is None:
            _export(parts.backbone, config, exported)
            cache = work / f"{number}-features.npy"
            if number == 0 and config.backbone_weights is None:
                name = f"features-{data_digest}-{config.backbone}-{config.image_size}-{stage.views}.npy"
                cache = shared / name
            features = compute_features(pixels, exported, preprocessing, stage.views, cache, report)
            if number == 0:
                parts.image.scale.fill_(0.5 / max(float(features.astype(np.float32).std()), 1e-6))
            if parts.image.classifier is not None:
                kinds = Kinds.learn(features, parts.image.classifier, vocabulary)
                opinions = _opinions(features, parts.image.classifier)
                np.save(said, opinions.numpy())
        checkpoint = work / f"{number}-{stage.name}.checkpoint"
        run_stage(parts, config, stage, preprocessing, training_set, features, kinds, opinions, checkpoint, report)
        partial = finished.with_suffix(".partial")
        # The backbone's weights lie channels last in memory; a file wants them in the order of their shape.
        save_file({name: tensor.contiguous() for name, tensor in parts.state_dict().items()}, partial)
        partial.replace(finished)
        checkpoint.unlink(missing_ok=True)

    report(Progress("writing the bundle", 0, 1))
    if parts.image.kinds is not None:
        with torch.no_grad():
            parts.image.kinds.weight.mul_(config.kinds_emphasis)
    bundle_config = BundleConfig(
        name=f"visem-{train.name}-{config.backbone.removeprefix('tf_')}-{config.preset}",
        dimension=config.dimension,
        image=ImageConfig(
            backbone=config.backbone,
            feature_dimension=feature_dimension,
            kinds=0 if classifier is None else KINDS,
            preprocessing=preprocessing,
        ),
        text=text_config,
        training_data=f"{train.name}, train split, {len(train.items)} photographs and their captions",
        recipe=config.model_dump(mode="json", exclude={"backbone_weights"}),
    )
    staging = out.with_name(out.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    _export(parts.backbone, config, staging)
    encoders = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in parts.state_dict().items()
        if not name.startswith(("backbone.", "guide."))
    }
    if named:
        encoders[LOOKS] = torch.zeros(config.dimension, KINDS, dtype=torch.half)  # learned once images have vectors
    save_file(encoders, staging / ENCODERS)
    vocabulary.write(staging / VOCABULARY)
    (staging / MODEL_CARD).write_text("", encoding="utf-8")
    write_config(staging, bundle_config)
    best = _measure_and_choose(staging, bundle_config, train, dev, report)
    for file in staging.iterdir():
        file.chmod(0o644)
    shutil.rmtree(out, ignore_errors=True)
    staging.replace(out)
    return best


def compute_features(
    pixels: Pixels, backbone: Path, preprocessing: Preprocessing, views: int, cache: Path, report: Report
) -> Features:
    """The backbone's features of every image (`views` 1) and of its mirror image (2): float16 (n, views, F).

    They are kept in the file `cache`.
    """
    if cache.exists():
        cached: Features = np.load(cache)
        return cached
    network = OnnxBackbone(backbone, threads=torch.get_num_threads())
    mean, std = (np.asarray(value, dtype=np.float32) for value in (preprocessing.mean, preprocessing.std))
    rows: list[Features] = []
    for start in range(0, len(pixels), FEATURE_BATCH):
        batch = (pixels[start : start + FEATURE_BATCH].astype(np.float32) / 255 - mean) / std
        sides = [
            network(np.ascontiguousarray(side.transpose(0, 3, 1, 2))) for side in (batch, batch[:, :, ::-1])[:views]
        ]
        rows.append(np.stack(sides, axis=1).astype(np.float16))
        report(Progress("features", min(start + FEATURE_BATCH, len(pixels)), len(pixels)))
    features = np.concatenate(rows)
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, features)
    partial.replace(cache)
    return features


def _opinions(features: Features, classifier: nn.Linear) -> Tensor:
    """The classifier's chances for each image, the mean over its views: (n, kinds)."""
    with torch.no_grad():
        views = [
            classifier(torch.from_numpy(features[:, view].astype(np.float32))).softmax(dim=1)
            for view in range(features.shape[1])
        ]
        return torch.stack(views).mean(0)


def _feature_dimension(network: nn.Module, preprocessing: Preprocessing) -> int:
    """F, by asking the network itself: timm's attribute for it differs between families."""
    with torch.inference_mode():
        pooled = network(torch.zeros(1, 3, preprocessing.size, preprocessing.size))
    return int(pooled.shape[1])


def _export(network: nn.Module, config: SpaceTraining, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (BACKBONE_GRAPH, BACKBONE_WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    export_backbone(network, config.image_size, folder)


def _measure_and_choose(
    folder: Path, config: BundleConfig, train: CaptionDataset, dev: CaptionDataset, report: Report
) -> RetrievalReport:
    """Let the development split choose the sentence encoder and fit what comes after it; write the figures."""
    space = JointSpace.load(folder, device="cpu")
    images, seen = (
        embed_photographs(space, split, lambda done, total: report(Progress("measuring", done, total)))
        for split in (dev, train)
    )
    if config.text.names is not None:
        learn_looks(folder, seen)
        write_config(folder, config)
        space = JointSpace.load(folder, device="cpu")
    reports = rank_photographs(space, dev, images, config.text.choices)
    best = max(config.text.choices, key=lambda encoder: reports[encoder].recall_sum)
    retrieval = {encoder: reports[encoder].to_json() for encoder in config.text.choices}
    chosen = config.model_copy(update={"text": config.text.model_copy(update={"sentence_encoder": best})})
    split = f"{dev.name}-{dev.split}"
    chosen = chosen.model_copy(update={"quality": {split: {"retrieval": retrieval}}})
    write_config(folder, chosen)
    posthoc = fit_posthoc(JointSpace.load(folder, device="cpu"), train, dev, seen, images)
    store(folder, posthoc.within(chosen, split), posthoc.learned)
    return reports[best]


def _digest(train: CaptionDataset, config: SpaceTraining | None = None) -> str:
    """What names working files: other images, captions or settings never meet the files of these."""
    digest = hashlib.sha256()
    if config is not None:
        digest.update(config.model_dump_json().encode())
    for item in train.items:
        digest.update(repr((item.path.name, item.captions)).encode())
    return digest.hexdigest()[:12]
