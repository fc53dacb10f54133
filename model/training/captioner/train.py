"""Train a captioner on a captioned image set and add it to a bundle, in place.

    train_captioner(Path("../shared/flickr8k"), Path("bundle"), CaptionerTraining(), work=Path("work"), report=print)

Image vectors (once, by the bundle), likelihood training, self-critical training, then ranking and confidence, fitted on
the `dev` split and measured there. Working files lie in `work`: a run that was stopped goes on from there. The bundle
is changed at the very end, and whole at any moment; its joint space stays as it is, so libraries stay valid.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.bundle import MODEL_CARD, Bundle, BundleConfig, write_config
from model.captioner import Captioner, Pool
from model.captioner_config import CAPTIONER, STRUCTURES, CaptionerConfig, ScnlmConfig
from model.datasets import CaptionDataset, load_dataset
from model.evaluation.caption_protocol import measure_captions
from model.evaluation.captions import Cider
from model.evaluation.protocol import embed_captions, embed_photographs
from model.ranking import weighted
from model.scnlm import StructureContentModel
from model.space import JointSpace
from model.structures import Structures
from model.training.captioner.blank_images import pictures_of_nothing
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.data import CaptionSet, caption_words, read_captions
from model.training.captioner.expectation import fit_expectation
from model.training.captioner.likelihood import Centres, perplexity, train_language, unit
from model.training.captioner.ranking import RIGHT, confidence_inputs, fit_confidence, fit_ranking, rewards
from model.training.captioner.self_critical import train_reward
from model.training.card import model_card
from model.training.space.stage import Progress, Report
from model.trigrams import KneserNeyTrigrams, Table, document_frequencies, pack, to_arrays

Vectors = npt.NDArray[np.float32]
LANDMARKS = 128
"""Means of groups of training images: what is far from all of them is unfamiliar."""


def train_captioner(
    data: Path, bundle: Path, config: CaptionerTraining, *, work: Path, report: Report, resume: bool = True
) -> dict[str, Any]:
    """Train on the `train` split of `data`, fit and measure on `dev`, and write into `bundle`; returns the figures.

    `resume`: go on where an earlier run with the same settings, data and joint space stopped. Errors: `DatasetError`,
    `BundleError`, `TaggerUnavailable`.
    """
    torch.manual_seed(config.seed)
    train, dev = load_dataset(data, "train"), load_dataset(data, "dev")
    space = JointSpace.load(bundle, device="cpu")
    work = work / _run_name(config, space, train)
    if work.exists() and not resume:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)

    words = caption_words(train, config.minimum_count, lambda word: not space.unknown_words(word))
    train_set = _caption_set(space, train, words, work, report)
    dev_set = _caption_set(space, dev, words, work, report)
    structures = Structures.learn(words, train_set.tokens, train_set.tags, config.structures)
    tag_numbers = {tag: number for number, tag in enumerate(structures.tags)}
    network = ScnlmConfig(
        context=config.context,
        words=len(words),
        tags=len(structures.tags),
        content_dimension=space.dimension,
        word_dimension=config.word_dimension,
        attribute_dimension=config.attribute_dimension,
        factors=config.factors,
        hidden_dimension=config.hidden_dimension,
        context_words=config.context_words,
        structure_window=config.structure_window,
    )
    centres = Centres(torch.from_numpy(train_set.images.mean(axis=0)), torch.from_numpy(train_set.texts.mean(axis=0)))
    model = StructureContentModel(network, config.dropout)
    for name, stage in (("language", train_language), ("reward", train_reward)):
        finished = work / f"{name}.safetensors"
        if finished.exists():
            model.load_state_dict(load_file(finished))
        else:
            stage(model, config, train_set, tag_numbers, centres, work / f"{name}.checkpoint", report)
            half = finished.with_suffix(".partial")
            save_file(model.state_dict(), half)
            half.replace(finished)
            (work / f"{name}.checkpoint").unlink(missing_ok=True)
        model.eval()
        if name == "language":
            perplexities = _perplexities(model, dev_set, tag_numbers, centres)
            report(Progress("perplexity", 1, 1, f"perplexity {perplexities}"))

    report(Progress("n-grams", 0, 1))
    trigrams = KneserNeyTrigrams.train(train_set.words, len(words))
    frequencies = document_frequencies(train_set.of_images())
    section = CaptionerConfig(
        network=network, images=len(train.items), training=config.model_dump(mode="json"), ranking={}
    )
    tensors = {f"network.{name}": tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    tensors |= {
        "centre.images": centres.images.half(),
        "landmarks": _landmarks(torch.from_numpy(train_set.images)).half(),
        "structures.vectors": _structure_vectors(structures, train_set, centres).half(),
    }
    expectation = fit_expectation(
        _contents(train_set, centres),
        train_set.of_images(),
        _contents(dev_set, centres),
        dev_set.of_images(),
        frequencies,
        len(train.items),
    )
    arrays = {**to_arrays(trigrams, frequencies), **expectation.to_arrays()}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    # What is not finished yet is tried in a copy: the bundle itself changes once, at the end.
    trial = work / "bundle"
    shutil.rmtree(trial, ignore_errors=True)
    shutil.copytree(bundle, trial)
    save_file(tensors, trial / CAPTIONER)
    (trial / STRUCTURES).write_text(structures.model_dump_json() + "\n", encoding="utf-8")
    base = Bundle.load_config(trial)
    write_config(trial, _with(base, section))

    captioner = Captioner.load(trial, device="cpu")
    section, pools = _fit(captioner, section, dev_set, frequencies, report)
    write_config(trial, _with(base, section))
    captioner = Captioner.load(trial, device="cpu")
    figures = measure_captions(captioner, dev, dev_set.images, train=(train, train_set.texts), pools=pools)
    figures["perplexity"] = perplexities
    figures["right_first"] = section.quality.get("right_first", 0.0)
    section = section.model_copy(update={"quality": {f"{dev.name}-dev": figures}})
    (trial / MODEL_CARD).write_text(model_card(_with(base, section)), encoding="utf-8")
    write_config(bundle, _with(base, section), [trial / name for name in (CAPTIONER, STRUCTURES, MODEL_CARD)])
    return figures


def _contents(captions: CaptionSet, centres: Centres) -> npt.NDArray[np.float64]:
    return unit(torch.from_numpy(captions.images) - centres.images).numpy().astype(np.float64)


def _with(base: BundleConfig, section: CaptionerConfig) -> BundleConfig:
    return base.model_copy(update={"captioner": section})


def _caption_set(
    space: JointSpace, dataset: CaptionDataset, words: Sequence[str], work: Path, report: Report
) -> CaptionSet:
    cache = work / f"{dataset.split}-images.npy"
    if not cache.exists():
        stage = f"embedding {dataset.split}"
        vectors = embed_photographs(space, dataset, lambda done, total: report(Progress(stage, done, total)))
        partial = cache.with_suffix(".partial.npy")
        np.save(partial, vectors)
        partial.replace(cache)
    images: Vectors = np.load(cache)
    captions = [caption for item in dataset.items for caption in item.captions]
    texts = embed_captions(space, captions, space.text.encoder)
    return read_captions(dataset, words, images, texts)


def _perplexities(
    model: StructureContentModel, dev: CaptionSet, tag_numbers: dict[str, int], centres: Centres
) -> dict[str, float]:
    """Development perplexity given the image, and given the sentence's own vector."""
    contents = {
        "image": unit(torch.from_numpy(dev.images) - centres.images)[torch.from_numpy(dev.owner)],
        "sentence": unit(torch.from_numpy(dev.texts) - centres.texts),
    }
    figures: dict[str, float] = {}
    for kind, content in contents.items():
        figures[f"given_{kind}"] = perplexity(model, dev, tag_numbers, content)
        figures[f"given_{kind}_without_structure"] = perplexity(model, dev, tag_numbers, content, "structure")
    figures["without_content"] = perplexity(model, dev, tag_numbers, contents["image"], "content")
    return {name: round(value, 2) for name, value in figures.items()}


def _fit(
    captioner: Captioner, section: CaptionerConfig, dev: CaptionSet, frequencies: Table, report: Report
) -> tuple[CaptionerConfig, list[Pool]]:
    """Ranking and confidence on the development split's pools."""
    pools: list[Pool] = []
    for start in range(0, len(dev.images), 64):
        pools += captioner.pools(dev.images[start : start + 64])
        report(Progress("writing captions", len(pools), len(dev.images)))
    # References keep rare words as one number, which no candidate has.
    cider = Cider(lambda ngram: float(frequencies[pack(np.array([ngram]))][0]), section.images)
    ciders, gains = rewards(pools, dev.of_images(), cider)
    ranking = fit_ranking(pools, gains)
    first = [int(np.argmax(weighted(pool.features, ranking))) for pool in pools]
    right = np.array([scores[one] >= RIGHT for scores, one in zip(ciders, first, strict=True)])
    nothing = captioner.space.embed_images(
        pictures_of_nothing(captioner.structures.words[3:], seed=int(section.training["seed"]))
    )
    nothing_pools = captioner.pools(nothing)
    nothing_first = [int(np.argmax(weighted(pool.features, ranking))) for pool in nothing_pools]
    confidence = fit_confidence(confidence_inputs(pools, first), right, confidence_inputs(nothing_pools, nothing_first))
    quality = {"right_first": round(float(right.mean()), 4)}
    return section.model_copy(update={"ranking": ranking, "confidence": confidence, "quality": quality}), pools


def _landmarks(images: Tensor, rounds: int = 8) -> Tensor:
    """Spherical k-means: unit means (LANDMARKS, D) of groups of image vectors."""
    count = min(LANDMARKS, len(images))
    centres = images[torch.linspace(0, len(images) - 1, count).long()]
    for _ in range(rounds):
        nearest = (images @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, images)
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, unit(sums), centres)
    return centres


def _structure_vectors(structures: Structures, captions: CaptionSet, centres: Centres) -> Tensor:
    """Mean content (S, D) of the training captions of each structure."""
    places = {structure.tags: place for place, structure in enumerate(structures.structures)}
    found = [(places[key], row) for row, tags in enumerate(captions.tags) if (key := " ".join(tags)) in places]
    rows = torch.tensor([row for _, row in found], dtype=torch.long)
    contents = unit(torch.from_numpy(captions.texts)[rows] - centres.texts)
    sums = torch.zeros(len(places), contents.shape[1])
    sums.index_add_(0, torch.tensor([place for place, _ in found], dtype=torch.long), contents)
    counts = torch.tensor([float(structure.count) for structure in structures.structures])[:, None]
    return sums / counts.clamp_min(1)


def _run_name(config: CaptionerTraining, space: JointSpace, train: CaptionDataset) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    digest.update(space.id.encode())
    for item in train.items:
        digest.update(repr((item.path.name, item.captions)).encode())
    return f"captioner-{digest.hexdigest()[:12]}"
