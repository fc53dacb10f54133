"""A trained network to the files of a bundle.

`backbone.safetensors` holds the weights in float16, once. The ONNX graph leaves them out: `OnnxNetwork` hands ONNX
Runtime the same tensors that torch loads. So a bundle has half the size of the usual export, and the two runtimes
cannot disagree about the weights.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection
from pathlib import Path

import onnx
import torch
from onnxscript import optimizer
from safetensors.torch import save_file
from torch import nn

from model.towers.config import BACKBONE_GRAPH, BACKBONE_WEIGHTS


def export_backbone(network: nn.Module, image_size: int, folder: Path) -> None:
    """Write a headless timm network as `backbone.safetensors` and `backbone.onnx` into a folder, made if need be.

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
    graph = _trace(network, image_size)
    _leave_out_weights(graph, weights.keys())
    onnx.save_model(graph, str(folder / BACKBONE_GRAPH))


def _trace(network: nn.Module, image_size: int) -> onnx.ModelProto:
    example = torch.zeros(2, 3, image_size, image_size)
    with warnings.catch_warnings():
        # The exporter warns about its own dependencies; nothing here can act on that.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["pixels"],
            output_names=["feature"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx exported nothing")
    # Shapes and paddings become constants. The exporter's own optimiser would also fold batch norms into the
    # convolutions, and the weights would no longer be those of the network; ONNX Runtime folds them when it loads.
    optimizer.fold_constants(program.model, onnx_shape_inference=True, input_size_limit=16, output_size_limit=4096)
    optimizer.remove_unused_nodes(program.model)
    model: onnx.ModelProto = program.model_proto
    return model


def _leave_out_weights(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Mark the network's weights as kept elsewhere, so that the graph holds operations alone."""
    left_out = 0
    for tensor in model.graph.initializer:
        if tensor.name not in names:
            continue
        for field in ("raw_data", "float_data", "int64_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=BACKBONE_WEIGHTS)
        left_out += 1
    if not left_out:
        raise RuntimeError("the exported graph holds none of the network's weights by name")
    del model.graph.value_info[:]
    for node in model.graph.node:
        # The exporter notes each operation's place in the Python source: a megabyte that nothing reads.
        node.ClearField("doc_string")
        del node.metadata_props[:]
