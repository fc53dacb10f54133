"""Train a captioner on a captioned image set and add it to a bundle, in place.

    train_captioner(Path("../shared/flickr8k"), Path("bundle"), CaptionerTraining(), work=Path("work"), report=print)

Image vectors (once, by the bundle), likelihood training, self-critical training, then ranking and confidence, fitted on
the `dev` split and measured there. Working files lie in `work`: a run that was stopped goes on from there. The bundle
is changed at the very end, and whole at any moment; its joint space stays as it is, so libraries stay valid.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.bundle import MODEL_CARD, Bundle, BundleConfig, write_config
from model.captioner.captioner import Captioner, Pool
from model.captioner.structures import Structures
from model.captioner.trigrams import Table, document_frequencies, pack
from model.captioner_config import CAPTIONER, STRUCTURES, CaptionerConfig, ScnlmConfig
from model.concepts import CONCEPTS, Kernel
from model.concepts_config import ConceptsConfig
from model.data.datasets import CaptionDataset, load_dataset
from model.data.texts import read_texts
from model.errors import DatasetError
from model.evaluation.caption_protocol import measure_captions
from model.evaluation.captions import Cider
from model.evaluation.protocol import embed_captions, embed_photographs
from model.runtime.torch_scnlm import StructureContentModel
from model.space import JointSpace
from model.training.captioner.blank_images import blank_pictures
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.contents import Contents
from model.training.captioner.data import CaptionSet, caption_words, read_captions
from model.training.captioner.likelihood import measure_perplexities, train_language
from model.training.captioner.naming import with_names
from model.training.captioner.ranking import (
    RIGHT,
    confidence_inputs,
    first_places,
    fit_confidence,
    fit_ranking,
    rewards,
)
from model.training.captioner.self_critical import train_reward
from model.training.captioner.statistics import learn_statistics
from model.training.captioner.texts import draw_texts, prepare_texts
from model.training.captioner.vocabulary_expansion import find_sources, widen
from model.training.captioner.wide import train_wide
from model.training.card import model_card
from model.training.fitting.concepts import (
    can_tell_concepts,
    fit_concepts,
    looks_of_kinds,
    save_concepts,
    tellable_words,
)
from model.training.graphs import write_graphs
from model.training.progress import Progress, Report, counting
from model.training.run import save_tensors

Vectors = npt.NDArray[np.float32]


def train_captioner(
    data: Path,
    bundle: Path,
    config: CaptionerTraining,
    *,
    work: Path,
    report: Report,
    resume: bool = True,
    texts: Path | None = None,
) -> dict[str, Any]:
    """Train on the `train` split of `data`, fit and measure on `dev`, and write into `bundle`; returns the figures.

    `texts`: a folder of captions without photographs (`model.data.texts`), which the language model
    learns from as well. `resume`: go on where an earlier run with the same settings, data and joint space stopped.
    Errors: `DatasetError`, `BundleError`, `TaggerUnavailable`.
    """
    torch.manual_seed(config.seed)
    train, dev = load_dataset(data, "train"), load_dataset(data, "dev")
    read = {} if texts is None else read_texts(texts)
    others = draw_texts(read, config.texts, config.seed)
    space = JointSpace.load(bundle, device="cpu")
    work = work / _run_name(config, space, train, others)
    if work.exists() and not resume:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)

    words = caption_words(train, config.minimum_count, lambda word: not space.unknown_words(word))
    train_set = _caption_set(space, train, words, work, report)
    dev_set = _caption_set(space, dev, words, work, report)
    structures = Structures.learn(words, train_set.tokens, train_set.tags, config.structures)
    detectors, kernel = None, None
    if can_tell_concepts(space.config) and tellable_words(train_set):  # few photographs tell no words
        detectors = fit_concepts(train_set, dev_set, looks_of_kinds(bundle))
        kernel = Kernel(detectors[1]["projection"], detectors[1]["landmarks"])
    contents = Contents.learn(train_set, kernel, config.expected_content, config.seed)
    model = StructureContentModel(_network_config(config, space, structures), config.dropout)
    tag_numbers = {tag: number for number, tag in enumerate(structures.tags)}
    inputs = (model, config, train_set, tag_numbers, contents)
    _once(work / "language", model, lambda checkpoint: train_language(*inputs, checkpoint, report))
    if others and config.wide_steps:
        embed = partial(embed_captions, space, encoder=space.text.encoder)
        wide = prepare_texts(others, embed, work / "texts.npy", report)
        wider = widen(model, structures, (train_set, dev_set), wide, space, config)
        model, structures, (train_set, dev_set) = wider.model, wider.structures, wider.sets
        sources = find_sources(wider, wide, space, train, report)
        _once(
            work / "wide",
            model,
            lambda checkpoint: train_wide(
                model, config, sources, structures.words, tag_numbers, contents, checkpoint, report
            ),
        )
    perplexities = measure_perplexities(model, dev_set, tag_numbers, contents)
    report(Progress("perplexity", 1, 1, f"perplexity {perplexities}"))
    inputs = (model, config, train_set, tag_numbers, contents)
    _once(work / "reward", model, lambda checkpoint: train_reward(*inputs, checkpoint, report))

    model, structures = with_names(model, structures, space)
    report(Progress("n-grams", 0, 1))
    frequencies = document_frequencies(train_set.of_images())
    tensors = {f"network.{name}": tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    tensors |= learn_statistics(train_set, dev_set, structures, contents, frequencies, kernel)
    section = CaptionerConfig(
        network=model.config,
        images=len(train.items),
        diversity=config.diversity,
        kernel=kernel is not None,
        expected_content=contents.weight,
        guidance=config.guidance,
        plain_below=config.plain_below,
        plain_unfamiliar=config.plain_unfamiliar,
        training={**config.model_dump(mode="json"), **({"sources": list(read)} if others else {})},
    )
    # What is not finished yet is tried in a copy: the bundle itself changes once, at the end.
    trial = _TrialBundle(bundle, work / "bundle", tensors, structures, detectors)
    trial.write(section)
    section, pools = _fit(trial.captioner(), section, dev_set, frequencies, report)
    trial.write(section)
    seen = (train, train_set.texts)
    figures = measure_captions(trial.captioner(), dev, dev_set.images, train=seen, pools=pools)
    figures["perplexity"] = perplexities
    figures["right_first"] = section.quality.get("right_first", 0.0)
    trial.move(section.model_copy(update={"quality": {f"{dev.name}-dev": figures}}))
    return figures


def _network_config(config: CaptionerTraining, space: JointSpace, structures: Structures) -> ScnlmConfig:
    return ScnlmConfig(
        context=config.context,
        words=len(structures.words),
        tags=len(structures.tags),
        content_dimension=space.dimension,
        word_dimension=config.word_dimension,
        attribute_dimension=config.attribute_dimension,
        factors=config.factors,
        hidden_dimension=config.hidden_dimension,
        context_words=config.context_words,
        structure_window=config.structure_window,
    )


def _once(stage: Path, model: StructureContentModel, train: Callable[[Path], None]) -> None:
    """Train in place, from the stage's checkpoint if there is one; or load what a finished stage left."""
    finished, checkpoint = stage.with_suffix(".safetensors"), stage.with_suffix(".checkpoint")
    if finished.exists():
        model.load_state_dict(load_file(finished))
    else:
        train(checkpoint)
        save_tensors(model.state_dict(), finished)
        checkpoint.unlink(missing_ok=True)
    model.eval()


class _TrialBundle:
    """A copy of a bundle with a captioner that is not finished."""

    def __init__(
        self,
        bundle: Path,
        folder: Path,
        tensors: dict[str, Tensor],
        structures: Structures,
        detectors: tuple[ConceptsConfig, dict[str, Vectors]] | None,
    ) -> None:
        self._bundle = bundle
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bundle, folder)
        save_file(tensors, folder / CAPTIONER)
        (folder / STRUCTURES).write_text(structures.model_dump_json() + "\n", encoding="utf-8")
        self._files = [folder / name for name in (CAPTIONER, STRUCTURES, MODEL_CARD)]
        concepts = None
        if detectors is not None:
            concepts, arrays = detectors
            save_concepts(arrays, folder / CONCEPTS)
            self._files.append(folder / CONCEPTS)
        self._base = Bundle.load_config(folder).model_copy(update={"concepts": concepts})
        self._graphs: list[Path] = []

    def write(self, section: CaptionerConfig) -> None:
        """Put another configuration into the copy."""
        self._graphs = write_graphs(self._folder, self._with(section))
        write_config(self._folder, self._with(section))

    def captioner(self) -> Captioner:
        """The captioner as it is written now."""
        return Captioner.load(self._folder, device="cpu")

    def move(self, section: CaptionerConfig) -> None:
        """Put the captioner into the bundle itself."""
        (self._folder / MODEL_CARD).write_text(model_card(self._with(section)), encoding="utf-8")
        write_config(self._bundle, self._with(section), [*self._files, *self._graphs])

    def _with(self, section: CaptionerConfig) -> BundleConfig:
        return self._base.model_copy(update={"captioner": section})


def _caption_set(
    space: JointSpace, dataset: CaptionDataset, words: Sequence[str], work: Path, report: Report
) -> CaptionSet:
    cache = work / f"{dataset.split}-images.npy"
    if not cache.exists():
        vectors = embed_photographs(space, dataset, counting(report, f"embedding {dataset.split}"))
        partial = cache.with_suffix(".partial.npy")
        np.save(partial, vectors)
        partial.replace(cache)
    images: Vectors = np.load(cache)
    captions = [caption for item in dataset.items for caption in item.captions]
    texts = embed_captions(space, captions, space.text.encoder)
    return read_captions(dataset, words, images, texts)


def _fit(
    captioner: Captioner, section: CaptionerConfig, dev: CaptionSet, frequencies: Table, report: Report
) -> tuple[CaptionerConfig, list[Pool]]:
    """Ranking and confidence on the development split's pools. Errors: `DatasetError` where all of them are empty."""
    pools: list[Pool] = []
    for start in range(0, len(dev.images), 64):
        pools += captioner.pools(dev.images[start : start + 64])
        report(Progress("writing captions", len(pools), len(dev.images)))
    # References keep rare words as one number, which no candidate has.
    cider = Cider(lambda ngram: float(frequencies[pack(np.array([ngram]))][0]), section.images)
    ciders, gains = rewards(pools, dev.of_images(), cider)
    ranking = fit_ranking(pools, gains)
    first = first_places(pools, ranking)
    if not first:
        raise DatasetError(
            "dataset_empty",
            "The language model learned too little to write a single caption. Train on more captions, or longer: "
            "--epochs.",
        )
    right = np.array([ciders[row][place] >= RIGHT for row, place in first.items()])
    nothing = captioner.space.embed_images(
        blank_pictures(captioner.structures.words[3:], seed=int(section.training["seed"]))
    )
    nothing_pools = captioner.pools(nothing)
    confidence = fit_confidence(
        confidence_inputs(pools, first), right, confidence_inputs(nothing_pools, first_places(nothing_pools, ranking))
    )
    quality = {"right_first": round(float(right.mean()), 4)}
    unfamiliar = float(np.quantile([pool.familiarity for pool in pools], float(section.training["unfamiliar_share"])))
    return section.model_copy(
        update={"ranking": ranking, "confidence": confidence, "unfamiliar": round(unfamiliar, 4), "quality": quality}
    ), pools


def _run_name(config: CaptionerTraining, space: JointSpace, train: CaptionDataset, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    digest.update(space.id.encode())
    for item in train.items:
        digest.update(repr((item.path.name, item.captions)).encode())
    for text in texts:
        digest.update(text.encode())
    return f"captioner-{digest.hexdigest()[:12]}"
