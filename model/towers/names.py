"""Texts that name one of the image side's kinds of things."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from model.towers.config import NamesConfig
from model.towers.vectors import Vectors, normalise
from model.words import Vocabulary, plural


class KindNames:
    """A text that names one of the image side's kinds of things leans to what photographs of that kind look like.

        v' = normalise(v + weight * g * normalise(sum_n p_n l_n))
        p = softmax(sharpness * cos(b, n)),  g = (max cos(b, n) - threshold) / (certain - threshold), from 0 to 1

    over the names n that the text may mean: those that stand in it whole, and, where it has words that no training
    caption held, those that have all of these (*typewriter* may be a typewriter keyboard, but *snow*, which captions
    taught, is no snow leopard). v is the sentence's vector, b its bag of words, n the bag of a name, and l_n the
    direction that tells images of its kind from others. A text of several kinds is near to none of their names, and
    stays as it is. The counterpart of the last term of the image tower's projection.
    """

    def __init__(
        self,
        config: NamesConfig,
        vocabulary: Vocabulary,
        grounded: int,
        looks: npt.NDArray[np.float16],
        bags: Callable[[Sequence[Sequence[int]]], Vectors],
    ) -> None:
        """`looks` (D, kinds); `bags` gives the bags of words (n, D) of texts as word numbers.

        It knows all names, and their plurals, whose words are in the vocabulary. A synonym of one word that the
        captions taught is left out: they know better (*board* is no dining table).
        """
        self.config = config
        self._looks = looks
        self._grounded = grounded
        self._embed = bags
        self._bags: dict[int, Vectors] = {}
        self._kinds: list[int] = []
        self._words: list[tuple[int, ...]] = []
        self._with_word: dict[int, set[int]] = {}
        self._starting_with: dict[int, list[int]] = {}
        for kind, listed in enumerate(config.names):
            for place, name in enumerate(listed):
                for spelled in (name, plural(name)):
                    numbers, unknown = vocabulary.resolve(spelled)
                    taught = place > 0 and len(numbers) == 1 and numbers[0] < grounded
                    if numbers and not unknown and not taught:
                        self._learn(kind, tuple(numbers))

    def _learn(self, kind: int, words: tuple[int, ...]) -> None:
        name = len(self._words)
        self._kinds.append(kind)
        self._words.append(words)
        self._starting_with.setdefault(words[0], []).append(name)
        for word in words:
            self._with_word.setdefault(word, set()).add(name)

    def lean(self, sentences: Vectors, bags: Vectors, numbers: Sequence[Sequence[int]]) -> Vectors:
        """Unit vectors of n sentences and of their bags of words, (n, D), and their words' numbers, to unit vectors."""
        leaning = sentences
        config = self.config
        for row, words in enumerate(numbers):
            meant = self._meant(words)
            if not meant:
                continue
            cosines = self._bags_of(meant) @ bags[row]
            sure = (float(cosines.max()) - config.threshold) / (config.certain - config.threshold)
            if sure <= 0:
                continue
            probabilities = np.exp(config.sharpness * (cosines - cosines.max()))
            looks = self._looks[:, [self._kinds[name] for name in meant]].astype(np.float32)
            towards = normalise(looks @ (probabilities / probabilities.sum()))
            if leaning is sentences:
                leaning = sentences.copy()
            leaning[row] = normalise(sentences[row] + np.float32(config.weight * min(sure, 1.0)) * towards)
        return leaning

    def _bags_of(self, names: Sequence[int]) -> Vectors:
        """The bags of words of some names (n, D). Each is made once, when it is first meant."""
        if missing := [name for name in names if name not in self._bags]:
            made = self._embed([self._words[name] for name in missing])
            self._bags.update(zip(missing, made, strict=True))
        return np.stack([self._bags[name] for name in names])

    def _meant(self, words: Sequence[int]) -> list[int]:
        """The names that a text of these words may mean, in their order."""
        strange = [word for word in words if word >= self._grounded]
        meant = set.intersection(*(self._with_word.get(word, set()) for word in strange)) if strange else set()
        for at, word in enumerate(words):
            for name in self._starting_with.get(word, ()):
                whole = self._words[name]
                if tuple(words[at : at + len(whole)]) == whole:
                    meant.add(name)
        return sorted(meant)
