"""Embedding a whole library anew with another bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.concepts import name_concepts
from app.embedding.pictures import ACCEPTED_BEFORE, load_picture
from app.libraries import open_library
from app.service import library_space
from app.settings import Settings
from model import threads
from model.errors import TextError
from model.images.processes import Decoders
from model.space import JointSpace

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

_MAX_SECONDS = 600.0
"""Of the processor, for one file: more than an upload has, as what was stored once is to be embedded again."""


def reindex(
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    space: JointSpace | None = None,
) -> None:
    """Embed the library of the settings with their bundle (or a loaded `space`); resumes where it stopped.

    The library stays searchable with its old vectors until the new ones take their place, all at once.
    `progress` is called with how many records of how many are done. BundleError, LibraryNotFound, ReindexConflict.
    """
    joint_space = space or JointSpace.load(settings.bundle, device=settings.device)
    with (
        open_library(settings) as library,
        closing(Decoders(_MAX_SECONDS)) as decoders,
        ThreadPoolExecutor(settings.decode_threads or threads.available(), thread_name_prefix="visem-decode") as pool,
    ):

        def embed_images(contents: Sequence[bytes]) -> Vectors:
            pictures = pool.map(lambda data: load_picture(data, ACCEPTED_BEFORE, decoders.decode).image, contents)
            return joint_space.embed_images(list(pictures))

        def embed_sentences(texts: Sequence[str]) -> Vectors:
            return _embed_sentences(joint_space, texts)

        library.reindex(library_space(joint_space), embed_images, embed_sentences, progress)
        library.backfill.describe(partial(name_concepts, joint_space))


def _embed_sentences(space: JointSpace, texts: Sequence[str]) -> Vectors:
    """Vectors (n, D) of sentences, even of those which the new vocabulary knows no word of.

    Such a sentence must not stop the whole library from moving on, and nobody may lose it. It gets a
    direction that is nearly orthogonal to everything, so that it stays listed, but comes last in every
    search.
    """
    try:
        return space.embed_texts(texts)
    except TextError:
        if len(texts) > 1:
            return np.concatenate([_embed_sentences(space, [text]) for text in texts])
    logger.warning("the bundle %s knows no word of a stored sentence, which will not be found", space.name)
    direction = np.random.default_rng(0).standard_normal((1, space.dimension))
    unit: Vectors = (direction / np.linalg.norm(direction)).astype(np.float32)
    return unit
