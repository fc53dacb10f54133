"""An encoder of torch to the files of a bundle: its weights, its graph, and the same graph in whole numbers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxscript import ir, optimizer
from safetensors.torch import save_file
from torch import Tensor, nn

from model import threads
from model.runtime.onnx_runtime import OnnxNetwork
from model.towers.imported_config import Precision
from model.training.tracing import leave_out_weights, strip_notes, trace


def export_encoder(
    network: nn.Module, name: str, example: Tensor, dynamic: Mapping[int, Any], folder: Path, *, input_name: str
) -> None:
    """Write NAME.safetensors, NAME.onnx and NAME.int8.onnx into a folder.

    Weights that half precision can hold exactly are stored in it: those of many releases are.
    """
    file = folder / f"{name}.safetensors"
    save_file({key: _shortest(tensor) for key, tensor in network.state_dict().items()}, file)
    graph = trace(network, example, input_name, "vectors", dynamic)
    _quantise(graph, folder / f"{name}.int8.onnx")
    floating = {key for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
    leave_out_weights(graph, floating, file.name)
    onnx.save_model(graph, str(folder / f"{name}.onnx"))


def load_encoder(name: str, folder: Path, precision: Precision) -> OnnxNetwork:
    """What `export_encoder` wrote, as a CPU runs it. Errors: `BundleError`."""
    if precision == "int8":
        return OnnxNetwork(folder / f"{name}.int8.onnx", None, count=threads.available())
    return OnnxNetwork(folder / f"{name}.onnx", folder / f"{name}.safetensors", count=threads.available())


def _shortest(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.contiguous().clone()
    half = tensor.half()
    return (half if torch.equal(half.float(), tensor.float()) else tensor.float()).contiguous().clone()


def _quantise(graph: onnx.ModelProto, file: Path) -> None:
    """Dynamic quantisation: activations as unsigned bytes, weights as signed numbers of 7 bits with a scale a column.

    On a CPU with AVX2 alone, products with signed weights are the fastest, but of 8 bits their sums saturate: that
    costs ViT-B/32 0.013 in cosine. Convolutions stay as they are, as they would be slower in whole numbers.
    """
    model = ir.serde.deserialize_model(graph)
    # Only a constant can be a quantised weight: what is transposed is folded here.
    optimizer.fold_constants(model, onnx_shape_inference=True, input_size_limit=16, output_size_limit=4096)
    optimizer.remove_unused_nodes(model)
    folded = ir.serde.serialize_model(model)
    strip_notes(folded)
    logger = logging.getLogger()  # that of the quantiser, which advises what was just done
    logger.addFilter(_is_error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_dynamic(
                folded,
                str(file),
                op_types_to_quantize=["MatMul", "Gather"],  # matrix products, and tables of tokens
                weight_type=QuantType.QInt8,
                reduce_range=True,
                per_channel=True,
            )
    finally:
        logger.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
