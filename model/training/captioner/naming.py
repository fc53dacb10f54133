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

RARELY = 7.0
"""How much less likely, as a logarithm, such a word is than the one whose place it can take."""
NOUN = "NN"


def words_of_names(space: JointSpace, known: Sequence[str]) -> list[str]:
    """The words of the kinds' names that are none of the known ones, and that the text tower knows."""
    names, broader = names_of_kinds()
    words = {word for name in (*names, *(one for several in broader for one in several)) for word in tokenise(name)}
    return sorted(word for word in words - set(known) if not space.unknown_words(word))


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
