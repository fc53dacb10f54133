"""The networks that a bundle may hold, by name, and where their weights lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

NetworkName = Literal["backbone", "projection", "words", "lstm", "captioner", "image_encoder", "text_encoder"]
"""The networks that a bundle may hold, with what they take and give (float32 unless something else is said):

    backbone     pixels (n, 3, S, S); of k joined networks
                 those of k views in a row, (n, 3 k, S, S)                 to pooled features (n, F)
    projection   features (n, F)                                           to unit vectors (n, D)
    words        own vectors (u, D), codes (u, C) int8                     to word vectors (u, D)
    lstm         word vectors (u, D), places of each sentence's words in
                 them (n, T) int64, padded behind, lengths (n,) int32      to sentence vectors (n, D), of any length
    captioner    words (n,) int64, tag windows (n, k) int64, projected
                 content (n, A), one or more arrays of state (n, ...)      to log-probabilities (n, V), the next state
    image_encoder, text_encoder    of another library: pixels (n, 3, H, W), tokens (n, T) int64
                                                                           to vectors (n, D), of any length
"""

WEIGHTS: Mapping[NetworkName, tuple[str, tuple[str, ...]]] = {
    "backbone": ("backbone.safetensors", ("",)),
    "projection": ("encoders.safetensors", ("image.",)),
    "words": ("encoders.safetensors", ("text.words.map.", "text.words.code_scale")),
    "lstm": ("encoders.safetensors", ("text.lstm.",)),
    "captioner": (
        "captioner.safetensors",
        (
            "network.words",
            "network.word_bias",
            "network.context",
            "network.attribute_factors.",
            "network.tags",
            "network.lstm.",
            "network.output.",
        ),
    ),
    "image_encoder": ("image_encoder.safetensors", ("",)),
    "text_encoder": ("text_encoder.safetensors", ("",)),
}
"""The file that holds a network's weights, and how their names begin there."""
