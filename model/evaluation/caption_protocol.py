"""A captioner measured on a captioned image set, beside captions retrieved from the training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model.captioner.agreement import disagrees
from model.captioner.captioner import IMAGE_BATCH, Caption, Captioner, Pool
from model.data.datasets import CaptionDataset
from model.evaluation.captions import Cider, CiderVector, score_captions
from model.words import plural, tokenise

Vectors = npt.NDArray[np.float32]
NEIGHBOURS = 100
"""Nearest training captions among which the consensus baseline chooses."""
CONCEPTS = 8
"""Concepts that a record keeps, and pages show."""
IRREGULAR = {"man": "men", "woman": "women", "child": "children"}
Train = tuple[CaptionDataset, Vectors]
"""A training split with the vectors (m, D) of those of its captions that have words."""


def references_of(dataset: CaptionDataset) -> list[list[list[str]]]:
    """The captions of every image as lower-case tokens without punctuation."""
    return [[words for caption in item.captions if (words := tokenise(caption))] for item in dataset.items]


def write_captions(
    captioner: Captioner, images: Vectors, n: int, report: Callable[[int, int], None] = lambda done, total: None
) -> list[list[Caption]]:
    """Captions of many images, batch by batch."""
    answers: list[list[Caption]] = []
    for start in range(0, len(images), IMAGE_BATCH):
        answers += captioner.caption(images[start : start + IMAGE_BATCH], n)
        report(len(answers), len(images))
    return answers


def measure_captions(
    captioner: Captioner,
    dataset: CaptionDataset,
    images: Vectors,
    train: Train | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
    pools: Sequence[Pool] | None = None,
) -> dict[str, Any]:
    """Scores of the first caption of every image, as `visem evaluate captions` prints them.

    Beside them: the share of first captions whose words disagree, of words that differ among five captions of an image,
    and how many concepts images are shown with, and how many of these people said.

    With the training split: the share of captions that stand in it, and the same scores for two baselines, the nearest
    training caption and the one most like the others among the nearest. `pools`: candidates that are at hand already.
    """
    answers = (
        write_captions(captioner, images, 5, report) if pools is None else [captioner.ranked(pool, 5) for pool in pools]
    )
    first = [tokenise(captions[0].text) if captions else [] for captions in answers]
    references = references_of(dataset)
    figures: dict[str, Any] = _rounded(score_captions(first, references).to_json())
    tag = captioner.structures.lexicon.tag
    figures["agreement_errors"] = round(sum(disagrees(words, tag(words)) for words in first) / len(first), 4)
    figures["distinct_of_five"] = round(float(np.mean([_distinct(captions) for captions in answers if captions])), 4)
    if captioner.space.concepts is not None:
        figures["concepts"] = _concepts_said(captioner.space.name_concepts(images, CONCEPTS), references)
    if train is not None:
        train_references = references_of(train[0])
        seen = {tuple(words) for own in train_references for words in own}
        figures["in_training_set"] = round(sum(tuple(words) in seen for words in first) / len(first), 4)
        nearest, consensus = _retrieved(images, train, train_references)
        figures["baselines"] = {
            "nearest_caption": _rounded(score_captions(nearest, references).to_json()),
            "consensus": _rounded(score_captions(consensus, references).to_json()),
        }
    return figures


def _distinct(captions: Sequence[Caption]) -> float:
    """How many of the words of an image's captions differ, as a share of all."""
    words = [word for caption in captions for word in caption.text.split()]
    return len(set(words)) / len(words)


def _concepts_said(
    concepts: Sequence[Sequence[tuple[str, float]]], references: Sequence[Sequence[list[str]]]
) -> dict[str, float]:
    """How many concepts an image is shown with, and what percent of them, or their plurals, its references say."""
    said = total = 0
    for own, captions in zip(concepts, references, strict=True):
        texts = [f" {' '.join(words)} " for words in captions]
        for word, _ in own:
            total += 1
            said += any(
                f" {form} " in text for text in texts for form in (word, plural(word), IRREGULAR.get(word, word))
            )
    return {"shown": round(total / max(1, len(concepts)), 2), "said": round(100 * said / max(1, total), 1)}


def caption_table(captioner: Captioner, dataset: CaptionDataset, images: Vectors, count: int, seed: int) -> str:
    """Photographs drawn at random with their five captions, good and bad ones alike, and their references: Markdown."""
    rows = np.random.default_rng(seed).permutation(len(images))[:count]
    lines = ["| photograph | written, first to fifth (confidence of the first) | references |", "|---|---|---|"]
    for row, captions in zip(rows.tolist(), write_captions(captioner, images[rows], 5), strict=True):
        item = dataset.items[row]
        written = "<br>".join(one.text for one in captions)
        confidence = f" ({captions[0].confidence:.2f})" if captions else ""
        people = "<br>".join(caption.replace("|", "/") for caption in item.captions)
        lines.append(f"| {item.path.name} | {written}{confidence} | {people} |")
    return "\n".join(lines) + "\n"


def _retrieved(
    images: Vectors, train: Train, references: Sequence[Sequence[list[str]]]
) -> tuple[list[list[str]], list[list[str]]]:
    """For each image the nearest training caption, and of the `NEIGHBOURS` nearest the one most like the others."""
    captions = [words for own in references for words in own]
    cider = Cider.of_references(references)
    vectors: dict[int, CiderVector] = {}
    nearest, consensus = [], []
    for image in images:
        scores = train[1] @ image
        places = np.argsort(-scores, kind="stable")[: min(NEIGHBOURS, len(scores))].tolist()
        nearest.append(captions[places[0]])
        for place in places:
            if place not in vectors:
                vectors[place] = cider.vector(captions[place])
        likeness = _cosines([vectors[place] for place in places]).sum(axis=1)
        consensus.append(captions[places[int(np.argmax(likeness))]])
    return nearest, consensus


def _cosines(vectors: Sequence[CiderVector]) -> npt.NDArray[np.float64]:
    """Cosines of tf-idf vectors, averaged over the orders (m, m)."""
    total = np.zeros((len(vectors), len(vectors)))
    for order in range(len(vectors[0].weights)):
        columns: dict[Any, int] = {}
        for vector in vectors:
            for ngram in vector.weights[order]:
                columns.setdefault(ngram, len(columns))
        table = np.zeros((len(vectors), max(1, len(columns))))
        for row, vector in enumerate(vectors):
            for ngram, weight in vector.weights[order].items():
                table[row, columns[ngram]] = weight / (vector.norms[order] or 1.0)
        total += table @ table.T
    return total / len(vectors[0].weights)


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(score, 4 if score < 10 else 2) for name, score in scores.items()}
