"""Making room for a wider world: words, tags and sources of `model.training.captioner.wide`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from model.captioner.scnlm import RARE
from model.captioner.structures import Structures
from model.data.datasets import CaptionDataset
from model.runtime.torch_scnlm import StructureContentModel
from model.space import JointSpace
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.data import CaptionSet
from model.training.captioner.naming import with_words, words_of_names
from model.training.captioner.synthetic_images import learn_to_make_images, tells_kinds
from model.training.captioner.texts import WideTexts
from model.training.captioner.thing_captions import ThingCaptions, names_as_words
from model.training.captioner.wide import Sources
from model.training.progress import Report


@dataclass(frozen=True)
class Wider:
    """A model, structures and sets of captions (training, development) that have more words."""

    model: StructureContentModel
    structures: Structures
    sets: tuple[CaptionSet, CaptionSet]


def widen(
    model: StructureContentModel,
    structures: Structures,
    sets: tuple[CaptionSet, CaptionSet],
    texts: WideTexts,
    space: JointSpace,
    config: CaptionerTraining,
) -> Wider:
    """With the frequent words of texts, and those of the kinds' names where the image tower tells kinds."""
    counts = Counter(word for sentence in texts.tokens for word in sentence)
    known = set(structures.words)
    frequent = sorted(word for word, count in counts.items() if count >= config.texts_minimum_count)
    added = [word for word in frequent if word not in known and not space.unknown_words(word)]
    if tells_kinds(space):
        added += words_of_names(space, [*structures.words, *added])
    words = [*structures.words, *added]
    numbers = {word: number for number, word in enumerate(words)}
    train, dev = (
        replace(one, words=[[numbers.get(token, RARE) for token in sentence] for sentence in one.tokens])
        for one in sets
    )
    return Wider(
        with_words(model, structures.words, added, space, config.seed),
        structures.widened(words, [*train.tokens, *texts.tokens], [*train.tags, *texts.tags]),
        (train, dev),
    )


def find_sources(
    wider: Wider, texts: WideTexts, space: JointSpace, photographs: CaptionDataset, report: Report
) -> Sources:
    """What the stage draws from: things as well where the image tower tells kinds."""
    train = wider.sets[0]
    make_images = learn_to_make_images(space, photographs, report)
    if make_images is None:
        return Sources(train, texts)
    names = names_as_words(set(wider.structures.words).__contains__)
    things = ThingCaptions([*train.tokens, *texts.tokens], [*train.tags, *texts.tags], names)
    return Sources(train, texts, things, make_images)
