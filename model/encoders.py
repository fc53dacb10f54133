"""The encoders of the joint space: image backbone and projection, bag of words, LSTM.

All of them end in unit vectors of the same space of dimension D:

    image     x = normalise(W_I q + b_I)            q: the backbone's pooled feature, (F,)
    bag       v = normalise(sum_i w_i)              w_i: word vectors, (D,)
    LSTM      v = normalise(W_o h_T)                h_T: last state of an LSTM over W_in w_i

Source: Kiros et al. 2014 (arXiv 1411.2539) and the authors' releases. The word vectors w_i and the image projection are
shared by both sentence encoders, so one image index serves both.

The backbone runs in ONNX Runtime on a CPU and in torch on a GPU; both read the same weights from
`backbone.safetensors`.
"""

from __future__ import annotations

import logging
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

from model.bundle import BACKBONE_GRAPH, BACKBONE_WEIGHTS, ImageConfig, Preprocessing, TextConfig

Vectors = npt.NDArray[np.float32]
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


class ImageProjection(nn.Linear):
    """x = normalise(W_I (scale q) + b_I): (n, F) to (n, D). Source: Kiros et al. 2014.

    `scale` brings the features of any backbone to one spread, so that one learning rate fits all.
    """

    scale: Tensor

    def __init__(self, features: int, dimension: int) -> None:
        super().__init__(features, dimension)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features (n, F) to unit vectors (n, D)."""
        return normalise(super().forward(features * self.scale))


class BagEncoder(nn.Module):
    """v = normalise(sum_i w_i), the linear encoder: words can be added and subtracted."""

    def __init__(self, words: int, dimension: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, dimension, mode="sum")
        nn.init.normal_(self.words.weight, std=0.05)

    def forward(self, numbers: Tensor, offsets: Tensor, keep: Tensor | None = None) -> Tensor:
        """Word numbers of all sentences in a row (total,), where each sentence starts (n,) to unit vectors (n, D).

        `keep` (total,) weighs each word; word dropout in training sets some to zero.
        """
        return normalise(self.words(numbers, offsets, per_sample_weights=keep))


class LstmEncoder(nn.Module):
    """v = normalise(W_o h_T) of an LSTM over word vectors: word order counts."""

    def __init__(self, dimension: int, input_dimension: int, hidden_dimension: int) -> None:
        super().__init__()
        self.input = nn.Linear(dimension, input_dimension, bias=False)
        self.lstm = nn.LSTM(input_dimension, hidden_dimension, batch_first=True)
        self.output = nn.Linear(hidden_dimension, dimension, bias=False)

    def forward(self, word_vectors: Tensor, lengths: Tensor) -> Tensor:
        """Word vectors (n, T, D), padded behind, and lengths (n,) on the CPU, to unit vectors (n, D)."""
        # Packing would be exact too, but gathering the state at each sentence's end is faster on short sentences.
        states, _ = self.lstm(self.input(word_vectors))  # (n, T, H)
        last = states[torch.arange(len(lengths), device=states.device), (lengths - 1).to(states.device)]
        return normalise(self.output(last))


class SentenceEncoders(nn.Module):
    """The bag and, where the bundle has one, the LSTM, over shared word vectors."""

    def __init__(self, config: TextConfig, dimension: int) -> None:
        super().__init__()
        self.bag = BagEncoder(config.words, dimension)
        self.lstm: LstmEncoder | None = None
        if config.lstm_dimension is not None:
            self.lstm = LstmEncoder(dimension, config.lstm_input_dimension or dimension, config.lstm_dimension)

    def embed(self, sentences: Sequence[Sequence[int]], encoder: str, keep: Tensor | None = None) -> Tensor:
        """Sentences as word numbers, none empty, to unit vectors (n, D).

        `encoder`: `bag`, `lstm`, or `mean` for the normalised mean of the two. `keep` (total words,) is word dropout.
        """
        device = self.bag.words.weight.device
        lengths = torch.tensor([len(sentence) for sentence in sentences])
        numbers = torch.tensor([number for sentence in sentences for number in sentence], device=device)
        parts = []
        if encoder in ("bag", "mean"):
            offsets = (lengths.cumsum(0) - lengths).to(device)
            parts.append(self.bag(numbers, offsets, keep))
        if encoder in ("lstm", "mean"):
            if self.lstm is None:
                raise ValueError("this bundle has no LSTM encoder")
            vectors = nn.functional.embedding(numbers, self.bag.words.weight)
            if keep is not None:
                vectors = vectors * keep[:, None]
            padded = nn.utils.rnn.pad_sequence(list(torch.split(vectors, lengths.tolist())), batch_first=True)
            parts.append(self.lstm(padded, lengths))
        if not parts:
            raise ValueError(f"unknown sentence encoder {encoder!r}")
        return parts[0] if len(parts) == 1 else normalise(parts[0] + parts[1])
