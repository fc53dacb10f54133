"""The encoders of the joint space: image backbone and projection, bag of words, LSTM.

All of them end in unit vectors of the same space of dimension D:

    image     x = normalise(W_I q + b_I + V p)      q: the backbone's pooled feature, (F,); p: its kinds' chances
    bag       v = normalise(sum_i w_i)              w_i = A c_i + d_i: word vectors, (D,)
    LSTM      v = normalise(W_o h_T)                h_T: last state of an LSTM over W_in w_i
    names     v' = normalise(v + g l)               l: the looks of the kind of thing that the text names, g: how surely

Source: Kiros et al. 2014 (arXiv 1411.2539) and the authors' releases. The word vectors w_i and the image projection are
shared by both sentence encoders, so one image index serves both.

The backbone runs in ONNX Runtime on a CPU and in torch on a GPU; both read the same weights from
`backbone.safetensors`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from model.towers.config import BACKBONE_GRAPH, BACKBONE_WEIGHTS, ImageConfig, NamesConfig, Preprocessing, TextConfig

Vectors = npt.NDArray[np.float32]
SMALLEST_CHANCE = 1e-4
"""A kind of thing that is less likely than this does not count in an image's vector."""
EPSILON = 1e-6
"""Smallest norm that is divided by: a zero vector stays zero instead of turning into NaN."""


def normalise(vectors: Tensor) -> Tensor:
    """Unit rows; the authors' release lacks the epsilon and can return NaN here."""
    return nn.functional.normalize(vectors, dim=-1, eps=EPSILON)


def preprocess(images: Sequence[Image.Image], preprocessing: Preprocessing) -> Vectors:
    """Upright RGB images of any size to the backbone's input, float32 (n, 3, S, S).

    Images are resized to the square without keeping their aspect ratio: nothing at the border is lost, and it is what
    the projection was trained on.
    """
    size = preprocessing.size
    planes = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for row, image in enumerate(images):
        resized = image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)
        planes[row] = np.asarray(resized).transpose(2, 0, 1)
    mean, std = (
        np.asarray(value, dtype=np.float32)[:, None, None] for value in (preprocessing.mean, preprocessing.std)
    )
    pixels = planes.astype(np.float32)
    pixels *= 1 / (255 * std)
    pixels -= mean / std
    return pixels


class Backbone(Protocol):
    """Pixels to pooled features, whatever runs the network."""

    def __call__(self, pixels: Vectors) -> Vectors:
        """float32 (n, 3, S, S) to float32 (n, F)."""


class OnnxBackbone:
    """The backbone in ONNX Runtime: the fastest on a CPU."""

    def __init__(self, bundle: Path, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that spin while they wait would take the cores from decoding, which runs at the same time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(tensor.float().numpy())
            for name, tensor in load_file(bundle / BACKBONE_WEIGHTS).items()
            if tensor.is_floating_point()
        }
        options.add_external_initializers(list(weights), list(weights.values()))
        self._session = onnxruntime.InferenceSession(
            str(bundle / BACKBONE_GRAPH), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: Vectors) -> Vectors:
        """float32 (n, 3, S, S) to float32 (n, F)."""
        features: Vectors = self._session.run(None, {self._input: pixels})[0]
        return features


class TorchBackbone:
    """The backbone in torch: for a GPU, and the reference that ONNX Runtime is held to."""

    def __init__(self, bundle: Path, config: ImageConfig, device: str) -> None:
        self._device = device
        network = create_backbone(config.backbone)
        weights = load_file(bundle / BACKBONE_WEIGHTS)
        network.load_state_dict({name: weight.float() for name, weight in weights.items()})
        self._network = network.eval().to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, pixels: Vectors) -> Vectors:
        """float32 (n, 3, S, S) to float32 (n, F)."""
        batch = torch.from_numpy(pixels).to(self._device, memory_format=torch.channels_last)
        features: Vectors = self._network(batch).float().cpu().numpy()
        return features


def create_backbone(name: str) -> nn.Module:
    """A timm network by name, with random weights, that returns its pooled feature before the classifier (n, F)."""
    import timm  # takes seconds to import, and serving on a CPU never needs it

    # timm's model registry logs and warns about names it renamed; the name is recorded as given.
    logging.getLogger("timm").setLevel(logging.ERROR)
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return network


class ImageProjection(nn.Module):
    """x = normalise(W_I (scale q) + b_I + V softmax(K q + k)): (n, F) to (n, D).

    The first two terms are the paper's linear projection (Kiros et al. 2014). The last one is there where the backbone
    was pre-trained as a classifier: K and k are that classifier, and each of its kinds of things has a vector in the
    joint space, a column of V, which counts by its probability (a convex combination of semantic vectors: Norouzi et
    al. 2013, arXiv 1312.5650). So an image of a thing that no training photograph shows still lies near its name.

    `scale` brings the features of any backbone to one spread, so that one learning rate fits all.
    """

    scale: Tensor

    def __init__(self, features: int, dimension: int, kinds: int = 0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.linear = nn.Linear(features, dimension)
        self.classifier: nn.Linear | None = None
        self.kinds: nn.Linear | None = None
        if kinds:
            self.classifier = nn.Linear(features, kinds)
            self.kinds = nn.Linear(kinds, dimension, bias=False)

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """Pooled features (n, F) to unit vectors (n, D). `dropout` thins out the features of the linear term."""
        vectors = self.linear(nn.functional.dropout(features * self.scale, dropout))
        if self.classifier is not None and self.kinds is not None:
            chances = self.classifier(features).softmax(dim=1)
            # Without the small ones, which may be denormal numbers: those slow the product down a hundred times.
            vectors = vectors + self.kinds(chances * (chances > SMALLEST_CHANCE))
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
        self._folded = False
        self.own = nn.Embedding(grounded, dimension)
        nn.init.normal_(self.own.weight, std=0.05 if code_dimension is None else 0.01)
        self.map: nn.Linear | None = None
        if code_dimension is not None:
            self.register_buffer("codes", torch.zeros(words, code_dimension, dtype=torch.int8))
            self.register_buffer("code_scale", torch.ones(()))
            self.map = nn.Linear(code_dimension, dimension, bias=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Word numbers (n,) to vectors (n, D)."""
        known = numbers < self.grounded
        if self.map is None or (self._folded and bool(known.all())):
            vectors: Tensor = self.own(numbers)
            return vectors
        own: Tensor = self.own(numbers.clamp(max=self.grounded - 1)) * known[:, None]
        mapped: Tensor = self.map(self.codes[numbers].float() * self.code_scale)
        return own + mapped

    @torch.no_grad()
    def fold_codes(self) -> None:
        """Put A c_i into d_i, once nothing is learned any more: the vector of a grounded word is then one row."""
        if self.map is not None:
            self.own.weight.copy_(self(torch.arange(self.grounded, device=self.own.weight.device)))
            self.codes[: self.grounded] = 0
            self._folded = True


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


class KindNames(nn.Module):
    """A text that names one of the image side's kinds of things leans to what photographs of that kind look like.

        v' = normalise(v + weight * g * normalise(sum_n p_n l_n))
        p = softmax(sharpness * cos(b, n)),  g = (max cos(b, n) - threshold) / (certain - threshold), from 0 to 1

    over the names n that the text may mean: those that stand in it whole, and, where it has words that no training
    caption held, those that have all of these (*typewriter* may be a typewriter keyboard, but *snow*, which captions
    taught, is no snow leopard). v is the sentence's vector, b its bag of words, n the bag of a name, and l_n the
    direction that tells images of its kind from others. A text of several kinds is near to none of their names, and
    stays as it is. The counterpart of the last term of `ImageProjection`.
    """

    def __init__(self, config: NamesConfig, dimension: int, grounded: int) -> None:
        super().__init__()
        self.config = config
        self.looks = nn.Linear(len(config.names), dimension, bias=False)
        self._grounded = grounded
        self._kinds: list[int] = []
        self._words: list[tuple[int, ...]] = []
        self._with_word: dict[int, set[int]] = {}
        self._starting_with: dict[int, list[int]] = {}
        self.register_buffer("names", torch.zeros(0, dimension), persistent=False)

    def learn_names(self, names: Sequence[tuple[int, Sequence[int]]], bags: Tensor) -> None:
        """Take kind and word numbers of each name, and their bags of words (names, D), which no bundle holds."""
        self._kinds = [kind for kind, _ in names]
        self._words = [tuple(numbers) for _, numbers in names]
        for name, words in enumerate(self._words):
            self._starting_with.setdefault(words[0], []).append(name)
            for word in words:
                self._with_word.setdefault(word, set()).add(name)
        self.names = bags

    def forward(self, sentences: Tensor, bags: Tensor, numbers: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors of n sentences and of their bags of words, (n, D), and their words' numbers, to unit vectors."""
        leaning = sentences
        for row, words in enumerate(numbers):
            meant = self._meant(words)
            if not meant:
                continue
            cosines = self.names[meant] @ bags[row]
            config = self.config
            sure = (float(cosines.max()) - config.threshold) / (config.certain - config.threshold)
            if sure <= 0:
                continue
            chances = (config.sharpness * cosines).softmax(dim=0)
            looks = normalise(chances @ self.looks.weight.T[[self._kinds[name] for name in meant]])
            if leaning is sentences:
                leaning = sentences.clone()
            leaning[row] = normalise(sentences[row] + config.weight * min(sure, 1.0) * looks)
        return leaning

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


def keep_half_precision(modules: nn.Module) -> None:
    """Hold the weights of its LSTM and linear layers as float16, in place; sums stay in float32. For use on a CPU only.

    A sentence alone reads each weight a few times and computes little: half the bytes is twice the speed. A bundle's
    weights are float16 anyway, so nothing is lost. Where torch has no kernels for it, as on ARM, nothing changes.
    """
    if torch.backends.quantized.engine not in ("fbgemm", "x86"):
        return
    with warnings.catch_warnings():
        # torch says that its successor lives in another package; that one has no LSTM.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.ao.quantization import quantize_dynamic

        quantize_dynamic(modules, {nn.LSTM, nn.Linear}, dtype=torch.float16, inplace=True)


def _padded(flat: Tensor, lengths: Tensor) -> Tensor:
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
                vectors, _padded(places, lengths), lengths, None if keep is None else _padded(keep, lengths)
            )
        if "mean" in encoders:
            made["mean"] = normalise(made["bag"] + made["lstm"])
        if unknown := set(encoders) - made.keys():
            raise ValueError(f"unknown sentence encoder {unknown.pop()!r}")
        return [made[encoder] for encoder in encoders]
