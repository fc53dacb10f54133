"""Words for things that no caption of the training set names.

The image tower was pre-trained to classify kinds of things whose names captions of photographs hardly say. The language
model gets a row for each word of these names: that of the noun it knows that is nearest in the joint space, with a bias
so low that it does not write them by itself. They come into a caption where it opens with the name of a thing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from model.captioner.scnlm import SPECIAL_WORDS
from model.captioner.structures import Structures
from model.runtime.torch_scnlm import StructureContentModel
from model.space import JointSpace
from model.training.fitting.kind_names import names_of_kinds
from model.words import tokenise

NEAREST, SHARPNESS, SHARE, SPREAD = 4, 15.0, 0.8, 0.02
"""A new word begins as a mixture of so many known ones, weighed by a softmax of cosines; shortened, with noise."""
LESS_OFTEN = 1.5
"""How much less likely, as a logarithm, a new word is at first than those that it is mixed from."""
RARELY = 7.0
"""How much less likely, as a logarithm, such a word is than the one whose place it can take."""
NOUN = "NN"


def words_of_names(space: JointSpace, known: Sequence[str]) -> list[str]:
    """The words of the kinds' names that are none of the known ones, and that the text tower knows."""
    names, broader = names_of_kinds()
    words = {word for name in (*names, *(one for several in broader for one in several)) for word in tokenise(name)}
    return sorted(word for word in words - set(known) if not space.unknown_words(word))


def with_words(
    model: StructureContentModel, words: Sequence[str], added: Sequence[str], space: JointSpace, seed: int
) -> StructureContentModel:
    """A model that has rows for `added` words behind its own `words`; they are to be trained."""
    if not added:
        return model
    known = list(words[len(SPECIAL_WORDS) :])
    near = torch.from_numpy(space.embed_operands(list(added)) @ space.embed_operands(known).T)
    best = near.topk(min(NEAREST, len(known)), dim=1)
    shares = torch.softmax(SHARPNESS * best.values, dim=1)
    places = best.indices + len(SPECIAL_WORDS)
    generator = torch.Generator().manual_seed(seed)
    state = dict(model.state_dict())
    rows = SHARE * (shares[:, :, None] * state["words"][places]).sum(dim=1)
    rows = rows + SPREAD * torch.randn(rows.shape, generator=generator)
    biases = (shares * state["word_bias"][places]).sum(dim=1) - LESS_OFTEN
    state["words"] = torch.cat([state["words"], rows])
    state["word_bias"] = torch.cat([state["word_bias"], biases])
    wider = StructureContentModel(
        model.config.model_copy(update={"words": len(words) + len(added)}), dropout=model.dropout.p
    )
    wider.load_state_dict(state)
    return wider


def with_names(
    model: StructureContentModel, structures: Structures, space: JointSpace
) -> tuple[StructureContentModel, Structures]:
    """A model and structures that have words for the kinds' names, too; they are nouns."""
    added = words_of_names(space, structures.words)
    if not added:
        return model, structures
    tagged = structures.tagged(NOUN)
    nouns = [number for number in range(len(SPECIAL_WORDS), len(structures.words)) if tagged[number]]
    if not nouns:
        return model, structures
    near = space.embed_operands(added) @ space.embed_operands([structures.words[number] for number in nouns]).T
    places = torch.tensor([nouns[place] for place in near.argmax(axis=1).tolist()])
    state = dict(model.state_dict())
    state["words"] = torch.cat([state["words"], state["words"][places]])
    state["word_bias"] = torch.cat([state["word_bias"], state["word_bias"][places] - RARELY])
    words = [*structures.words, *added]
    wider = StructureContentModel(model.config.model_copy(update={"words": len(words)}))
    wider.load_state_dict(state)
    lexicon = structures.lexicon
    tags = {**{word: [NOUN] for word in added}, **lexicon.words}
    return wider.eval(), structures.model_copy(
        update={
            "words": words,
            "closing": [*structures.closing, *np.arange(len(structures.words), len(words)).tolist()],
            "lexicon": lexicon.model_copy(update={"words": tags}),
        }
    )
