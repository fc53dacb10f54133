"""A trained network to the files of a bundle.

`backbone.safetensors` holds the weights in float16, once. The ONNX graph leaves them out: `OnnxNetwork` hands ONNX
Runtime the same tensors that torch loads. So a bundle has half the size of the usual export, and the two runtimes
cannot disagree about the weights.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from model.towers.config import BACKBONE_GRAPH, BACKBONE_WEIGHTS
from model.training.tracing import leave_out_weights, trace


def export_backbone(network: nn.Module, image_size: int, folder: Path, joined: int = 1) -> None:
    """Write a headless timm network as `backbone.safetensors` and `backbone.onnx` into a folder, made if need be.

    `joined`: how many networks it is made of, each with pixels of its own.

    The network's weights are rounded to float16 in place first, so that what is evaluated afterwards is what was
    written. Its batch-norm statistics are rounded as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (BACKBONE_GRAPH, BACKBONE_WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    network.eval().cpu()
    weights = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
            weights[name] = tensor.half().contiguous()
        else:
            weights[name] = tensor.contiguous()
    save_file(weights, folder / BACKBONE_WEIGHTS)
    example = torch.zeros(2, 3 * joined, image_size, image_size)
    graph = trace(network, example, "pixels", "feature", {0: torch.export.Dim("batch")})
    leave_out_weights(graph, weights.keys(), BACKBONE_WEIGHTS)
    onnx.save_model(graph, str(folder / BACKBONE_GRAPH))
