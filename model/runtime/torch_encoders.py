"""The encoders of the joint space in torch: for training, and for serving on a GPU.

All of them end in unit vectors of the same space of dimension D:

    image     x = normalise(W_I q + b_I + V p)      q: the backbone's pooled feature, (F,); p: its kinds' probabilities
    bag       v = normalise(sum_i w_i)              w_i = A c_i + d_i: word vectors, (D,)
    LSTM      v = normalise(W_o h_T)                h_T: last state of an LSTM over W_in w_i

Source: Kiros et al. 2014 (arXiv 1411.2539) and the authors' releases. The word vectors w_i and the image projection are
shared by both sentence encoders, so one image index serves both.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.towers.config import TextConfig
from model.towers.vectors import EPSILON

SMALLEST_PROBABILITY = 1e-4
"""A kind of thing that is less likely than this does not count in an image's vector."""


def normalise(vectors: Tensor) -> Tensor:
    """Unit rows; the authors' release lacks the epsilon and can return NaN here."""
    return nn.functional.normalize(vectors, dim=-1, eps=EPSILON)


def create_backbone(name: str) -> nn.Module:
    """A timm network by name, with random weights, that returns its pooled feature before the classifier (n, F).

    Names joined by + are several: `JoinedBackbones`.
    """
    if "+" in name:
        return JoinedBackbones([create_backbone(one) for one in name.split("+")])
    import timm  # takes seconds to import, and serving on a CPU never needs it

    # timm's model registry logs and warns about names it renamed; the name is recorded as given.
    logging.getLogger("timm").setLevel(logging.ERROR)
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return network


class JoinedBackbones(nn.Module):
    """k networks, each for its own view of an image: (n, 3 k, S, S), the views in a row, to all features (n, F)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels of k views to features."""
        views = pixels.chunk(len(self.networks), dim=1)
        return torch.cat([network(view) for network, view in zip(self.networks, views, strict=True)], dim=1)


class ImageProjection(nn.Module):
    """x = normalise(W_I (scale q) + b_I + V softmax(K q + k)): (n, F) to (n, D).

    The first two terms are the paper's linear projection (Kiros et al. 2014). The last one is there where the backbone
    was pre-trained as a classifier: K and k are that classifier, and each of its kinds of things has a vector in the
    joint space, a column of V, which counts by its probability (a convex combination of semantic vectors: Norouzi et
    al. 2013, arXiv 1312.5650). So an image of a thing that no training photograph shows still lies near its name.

    `scale` brings the features of any backbone to one spread, so that one learning rate fits all. The classifier reads
    the first `classified` features alone, those of the backbone that it was trained with (none: all).
    """

    scale: Tensor

    def __init__(self, features: int, dimension: int, kinds: int = 0, classified: int | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.linear = nn.Linear(features, dimension)
        self.classifier: nn.Linear | None = None
        self.kinds: nn.Linear | None = None
        if kinds:
            self.classifier = nn.Linear(classified or features, kinds)
            self.kinds = nn.Linear(kinds, dimension, bias=False)

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """Pooled features (n, F) to unit vectors (n, D). `dropout` thins out the features of the linear term."""
        vectors = self.linear(nn.functional.dropout(features * self.scale, dropout))
        if self.classifier is not None and self.kinds is not None:
            probabilities = self.classifier(features[:, : self.classifier.in_features]).softmax(dim=1)
            # Without the small ones, which may be denormal numbers: those slow the product down a hundred times.
            vectors = vectors + self.kinds(probabilities * (probabilities > SMALLEST_PROBABILITY))
        return normalise(vectors)


class WordVectors(nn.Module):
    """w_i = A c_i + d_i: numbers of words (n,) to vectors (n, D).

    c_i is the word's code, its vector in a pre-trained text space, rounded to int8; A maps that space into the joint
    space, so that a word that no training caption holds has a vector, too. d_i is a vector of its own, for the grounded
    words only (the first ones of the vocabulary: those of the training captions). A bundle without codes has d_i alone.
    """

    codes: Tensor
    code_scale: Tensor

    def __init__(self, words: int, grounded: int, dimension: int, code_dimension: int | None) -> None:
        super().__init__()
        self.grounded = grounded
        self.own = nn.Embedding(grounded, dimension)
        nn.init.normal_(self.own.weight, std=0.05 if code_dimension is None else 0.01)
        self.map: nn.Linear | None = None
        if code_dimension is not None:
            self.register_buffer("codes", torch.zeros(words, code_dimension, dtype=torch.int8))
            self.register_buffer("code_scale", torch.ones(()))
            self.map = nn.Linear(code_dimension, dimension, bias=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Word numbers (n,) to vectors (n, D)."""
        if self.map is None:
            vectors: Tensor = self.own(numbers)
            return vectors
        known = numbers < self.grounded
        own: Tensor = self.own(numbers.clamp(max=self.grounded - 1)) * known[:, None]
        mapped: Tensor = self.map(self.codes[numbers].float() * self.code_scale)
        return own + mapped


class LstmEncoder(nn.Module):
    """v = normalise(W_o h_T) of an LSTM over word vectors: word order counts."""

    def __init__(self, dimension: int, input_dimension: int, hidden_dimension: int) -> None:
        super().__init__()
        self.input = nn.Linear(dimension, input_dimension, bias=False)
        self.lstm = nn.LSTM(input_dimension, hidden_dimension, batch_first=True)
        self.output = nn.Linear(hidden_dimension, dimension, bias=False)

    def forward(self, word_vectors: Tensor, places: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Tensor:
        """Vectors of the words that occur (U, D) and, for each sentence, their places in it (n, T), padded behind.

        `lengths` (n,) is on the CPU; `keep` (n, T) weighs words. Returns unit vectors (n, D).
        """
        # Each different word goes through the input layer once; only numbers are padded. Padding vectors instead
        # makes the backward pass quadratic in the size of the batch.
        inputs = nn.functional.embedding(places, self.input(word_vectors))  # (n, T, I)
        if keep is not None:
            inputs = inputs * keep[:, :, None]
        if int(lengths.min()) == inputs.shape[1]:  # no padding: a sentence alone saves a third of its time so
            _, (last, _) = self.lstm(inputs)  # (1, n, H)
        else:
            packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            _, (last, _) = self.lstm(packed)
        return normalise(self.output(last[0]))


def padded(flat: Tensor, lengths: Tensor) -> Tensor:
    """Values of all sentences in a row (total,) to one row a sentence (n, T), zeros behind."""
    return nn.utils.rnn.pad_sequence(list(torch.split(flat, lengths.tolist())), batch_first=True)


class SentenceEncoders(nn.Module):
    """The bag, v = normalise(sum_i w_i), and, where the bundle has one, the LSTM, over shared word vectors."""

    def __init__(self, config: TextConfig, dimension: int) -> None:
        super().__init__()
        self.words = WordVectors(config.words, config.grounded_words, dimension, config.code_dimension)
        self.lstm: LstmEncoder | None = None
        if config.lstm_dimension is not None:
            self.lstm = LstmEncoder(dimension, config.lstm_input_dimension or dimension, config.lstm_dimension)

    def embed(
        self, sentences: Sequence[Sequence[int]], encoders: Sequence[str], keep: Tensor | None = None
    ) -> list[Tensor]:
        """Sentences as word numbers, none empty, to unit vectors (n, D), by each of the encoders.

        `encoders`: `bag`, `lstm`, or `mean` for the normalised mean of the two. `keep` (total words,) weighs each word;
        word dropout in training sets some to zero.
        """
        device = self.words.own.weight.device
        lengths = torch.tensor([len(sentence) for sentence in sentences])
        numbers = torch.tensor([number for sentence in sentences for number in sentence], device=device)
        different, places = numbers.unique(return_inverse=True)
        vectors = self.words(different)  # (U, D)
        made: dict[str, Tensor] = {}
        if not {"bag", "mean"}.isdisjoint(encoders):
            offsets = (lengths.cumsum(0) - lengths).to(device)
            made["bag"] = normalise(
                nn.functional.embedding_bag(places, vectors, offsets, mode="sum", per_sample_weights=keep)
            )
        if not {"lstm", "mean"}.isdisjoint(encoders):
            if self.lstm is None:
                raise ValueError("this bundle has no LSTM encoder")
            made["lstm"] = self.lstm(
                vectors, padded(places, lengths), lengths, None if keep is None else padded(keep, lengths)
            )
        if "mean" in encoders:
            made["mean"] = normalise(made["bag"] + made["lstm"])
        if unknown := set(encoders) - made.keys():
            raise ValueError(f"unknown sentence encoder {unknown.pop()!r}")
        return [made[encoder] for encoder in encoders]
