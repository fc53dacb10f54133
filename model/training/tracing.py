"""Networks of torch to ONNX graphs whose weights lie elsewhere, under the names that torch has for them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import onnx
import torch
from onnxscript import ir, optimizer
from torch import Tensor, nn


def trace(
    network: nn.Module, example: Tensor, input_name: str, output_name: str, dynamic: Mapping[int, Any]
) -> onnx.ModelProto:
    """The graph of a network of one input and one output; `dynamic`: axes of the input that may have any length."""
    with warnings.catch_warnings():
        # The exporter warns about its own dependencies; nothing here can act on that.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=(dict(dynamic),),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx exported nothing")
    # Shapes and paddings become constants. Weights stay as torch has them, neither transposed nor folded into each
    # other: ONNX Runtime does that when it loads.
    optimizer.fold_constants(
        program.model,
        onnx_shape_inference=True,
        input_size_limit=16,
        output_size_limit=4096,
        should_fold=_unless_it_transposes,
    )
    optimizer.remove_unused_nodes(program.model)
    model: onnx.ModelProto = program.model_proto
    return model


def _unless_it_transposes(node: ir.Node) -> bool | None:
    return False if node.op_type == "Transpose" else None


def leave_out_weights(model: onnx.ModelProto, names: Collection[str], file: str) -> None:
    """Mark the network's weights as kept in another file, so that the graph holds operations alone."""
    left_out = 0
    for tensor in model.graph.initializer:
        if tensor.name not in names:
            continue
        for field in ("raw_data", "float_data", "int64_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=file)
        left_out += 1
    if not left_out:
        raise RuntimeError("the exported graph holds none of the network's weights by name")
    strip_notes(model)


def strip_notes(model: onnx.ModelProto) -> None:
    """Take out what nothing reads: shapes in between, and each operation's place in the Python source, a megabyte."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
