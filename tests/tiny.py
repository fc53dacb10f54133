"""A bundle that is complete but tiny, so that tests of whole processes need not load a real network.

Only writing it imports torch, which takes seconds: every worker of pytest-xdist imports all modules of tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model.bundle import MODEL_CARD, BundleConfig, write_config
from model.towers.config import (
    BACKBONE_GRAPH,
    BACKBONE_WEIGHTS,
    ENCODERS,
    VOCABULARY,
    ImageConfig,
    Preprocessing,
    TextConfig,
    View,
)
from model.words import Vocabulary, tokenise
from tests.words import WORDS

if TYPE_CHECKING:
    from onnx import ModelProto

SIDE = 32
CELLS = 8
DIMENSION = 48


def write_bundle(folder: Path, captions: str = "", seed: int = 0, views: tuple[View, ...] = ()) -> Path:
    """Write a bundle whose images are told apart by the colours of 8 x 8 cells, and return its folder.

    `views`: what joined networks look at, each at one of them; none: there is one network.
    """
    import onnx
    import torch
    from safetensors.torch import save_file

    from model.runtime.torch_encoders import ImageProjection, SentenceEncoders
    from model.training.graphs import write_graphs

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    words = list(dict.fromkeys(WORDS.split() + tokenise(captions)))
    networks = max(1, len(views))
    features = networks * 3 * CELLS * CELLS
    text = TextConfig(
        words=len(words),
        grounded_words=len(words),
        lstm_dimension=16,
        lstm_input_dimension=16,
        encoders=("bag", "lstm"),
        sentence_encoder="mean",
    )
    modules = torch.nn.ModuleDict(
        {"image": ImageProjection(features, DIMENSION), "text": SentenceEncoders(text, DIMENSION)}
    )
    save_file(modules.state_dict(), folder / ENCODERS)
    save_file({"unused": torch.zeros(1, dtype=torch.int64)}, folder / BACKBONE_WEIGHTS)
    onnx.save(_cells(networks, features), str(folder / BACKBONE_GRAPH))
    Vocabulary(words).write(folder / VOCABULARY)
    (folder / MODEL_CARD).write_text("A bundle for tests.\n")
    config = BundleConfig(
        name=f"tiny-{seed}",
        dimension=DIMENSION,
        image=ImageConfig(
            backbone="+".join(["cells"] * networks),
            feature_dimension=features,
            views=views or ("whole",),
            preprocessing=Preprocessing(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        ),
        text=text,
        training_data="none",
    )
    write_graphs(folder, config)
    write_config(folder, config)
    return folder


def _cells(networks: int, features: int) -> ModelProto:
    """A graph that averages the pixels of each cell: (n, 3 networks, S, S) to (n, F)."""
    from onnx import TensorProto, helper

    step = SIDE // CELLS
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["cells"], kernel_shape=[step, step], strides=[step, step]),
        helper.make_node("Flatten", ["cells"], ["feature"], axis=1),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3 * networks, SIDE, SIDE])
    feature = helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["batch", features])
    graph = helper.make_graph(nodes, "cells", [pixels], [feature])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
