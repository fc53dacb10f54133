"""All that section 5 of the paper is measured by, as one document."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model.compose.attributes import ATTRIBUTES
from model.data.datasets import CaptionDataset
from model.evaluation.graded import evaluate_graded, find_graded
from model.evaluation.regularities import (
    KINDS,
    SCENES,
    Mentions,
    Swap,
    answerable,
    evaluate_regularities,
    find_exchanges,
    find_swaps,
)
from model.space import JointSpace

Vectors = npt.NDArray[np.float32]


def measure_regularities(space: JointSpace, images: Vectors, dataset: CaptionDataset) -> dict[str, Any]:
    """Attributes, kinds and scenes, each with its baselines; the attributes' figures also at the top level.

    `images` (n, D) are the vectors of the dataset's photographs, in its order. What a set has no query for is left out.
    Errors: `DatasetError` where its captions have no attributes.
    """
    mentions = Mentions(dataset)
    swaps = find_swaps(dataset)
    attributes = evaluate_regularities(space, images, swaps, mentions).to_json()
    colours, sizes = (frozenset(group) for group in ATTRIBUTES)
    groups: dict[str, list[Swap]] = {
        "colours": [swap for swap in swaps if swap.old in colours],
        "sizes": [swap for swap in swaps if swap.old in sizes],
        **{"-".join(group): find_exchanges(dataset, [group]) for group in (*KINDS, *SCENES)},
        "kinds": find_exchanges(dataset, KINDS),
        "scenes": find_exchanges(dataset, SCENES),
    }
    measured = {
        name: evaluate_regularities(space, images, asked, mentions).to_json()
        for name, asked in groups.items()
        if answerable(space, asked)
    }
    graded = {}
    if answerable(space, queries := find_graded(dataset)):
        graded["graded"] = evaluate_graded(space, images, queries).to_json()
    return {**attributes, "attributes": attributes, **measured, **graded}
