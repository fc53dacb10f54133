"""The networks of a bundle as ONNX graphs, which serve on a CPU.

A graph holds operations alone: it names its weights as they are called in the bundle's safetensors files, where ONNX
Runtime and torch both take them from. What is constant (transposed weights, sums of tables) ONNX Runtime folds when it
loads. The backbone's graph is traced (`model.training.space.export`); the others are written down here, and compute
what the modules of `model.runtime.torch_encoders` and `model.runtime.torch_scnlm` do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.bundle import BundleConfig, write_config
from model.captioner.scnlm import NO_TAG
from model.runtime.networks import WEIGHTS, NetworkName
from model.runtime.tensors import MappedTensors
from model.runtime.torch_encoders import SMALLEST_PROBABILITY
from model.towers.vectors import EPSILON

_OPSET, _IR_VERSION = 20, 10
_TYPES = {"float": TensorProto.FLOAT, "int8": TensorProto.INT8, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


def write_graphs(folder: Path, config: BundleConfig, bundle: Path | None = None) -> list[Path]:
    """Write the graphs of a bundle's networks, but for its backbone's, into a folder; returns the files.

    `bundle`: where its weights lie; None: in the same folder. Errors: `BundleError`.
    """
    written = []
    for name in config.networks:
        if name in _GRAPHS:
            file, _ = WEIGHTS[name]
            graph = _Graph(file, MappedTensors((bundle or folder) / file))
            written.append(folder / f"{name}.onnx")
            onnx.save_model(_GRAPHS[name](graph, config), str(written[-1]))
    return written


def add_graphs(folder: Path, config: BundleConfig) -> BundleConfig:
    """Add its graphs to a bundle, in place: of an older format, it is then one of today's, in the same space.

    A kill at any moment leaves the old bundle or the new one. Returns the configuration as written.
    """
    with TemporaryDirectory() as directory:
        return write_config(folder, config, write_graphs(Path(directory), config, folder))


Shape = Sequence[str | int]


class _Graph:
    """A graph in the making: each method adds something, and returns its name."""

    def __init__(self, file: str, tensors: MappedTensors) -> None:
        self._file, self._tensors = file, tensors
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str) -> str:
        """A tensor of the bundle, as float32."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=self._tensors[name].shape)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=self._file)
        self._constants[name] = tensor
        return name

    def constant(self, value: npt.ArrayLike, kind: type[np.generic] = np.int64) -> str:
        """Numbers that stand in the graph itself."""
        name = f"constant{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.asarray(value, dtype=kind), name)
        return name

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """An operation with one output."""
        (output,) = self.add_many(operation, 1, *inputs, **attributes)
        return output

    def add_many(self, operation: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """An operation with several outputs."""
        names = [f"value{len(self._nodes)}.{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(operation, inputs, names, **attributes))
        return names

    def finish(self, inputs: Mapping[str, tuple[str, Shape]], outputs: Mapping[str, Shape]) -> onnx.ModelProto:
        """The model: its inputs with their types and shapes, its outputs, all float32, with their shapes."""
        graph = helper.make_graph(
            self._nodes,
            "visem",
            [helper.make_tensor_value_info(name, _TYPES[kind], shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            list(self._constants.values()),
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="visem"
        )


def _projection(graph: _Graph, config: BundleConfig) -> onnx.ModelProto:
    """`ImageProjection`."""
    scaled = graph.add("Mul", "features", graph.weight("image.scale"))
    weights = graph.weight("image.linear.weight"), graph.weight("image.linear.bias")
    vectors = graph.add("Gemm", scaled, *weights, transB=1)
    if config.image.kinds:
        weights = graph.weight("image.classifier.weight"), graph.weight("image.classifier.bias")
        classified = "features"
        if known := config.image.kinds_feature_dimension:
            first, last, axis = (graph.constant([value]) for value in (0, known, 1))
            classified = graph.add("Slice", "features", first, last, axis)
        probabilities = graph.add("Softmax", graph.add("Gemm", classified, *weights, transB=1), axis=1)
        counts = graph.add("Greater", probabilities, graph.constant(SMALLEST_PROBABILITY, np.float32))
        likely = graph.add("Mul", probabilities, graph.add("Cast", counts, to=TensorProto.FLOAT))
        vectors = graph.add("Gemm", likely, graph.weight("image.kinds.weight"), vectors, transB=1)
    norms = graph.add("ReduceL2", vectors, graph.constant([1]), keepdims=1)
    unit = graph.add("Div", vectors, graph.add("Max", norms, graph.constant(EPSILON, np.float32)))
    return graph.finish({"features": ("float", ["n", config.projected])}, {unit: ["n", config.dimension]})


def _words(graph: _Graph, config: BundleConfig) -> onnx.ModelProto:
    """A c + d of `WordVectors`, whose rows are gathered already."""
    codes = graph.add("Cast", "codes", to=TensorProto.FLOAT)
    scaled = graph.add("Mul", codes, graph.weight("text.words.code_scale"))
    vectors = graph.add("Gemm", scaled, graph.weight("text.words.map.weight"), "own", transB=1)
    inputs: dict[str, tuple[str, Shape]] = {
        "own": ("float", ["u", config.dimension]),
        "codes": ("int8", ["u", config.words.code_dimension or 0]),
    }
    return graph.finish(inputs, {vectors: ["u", config.dimension]})


def _lstm(graph: _Graph, config: BundleConfig) -> onnx.ModelProto:
    """`LstmEncoder`, but for the norm."""

    def reordered(name: str) -> str:
        # torch has the gates as input, forget, cell, output; ONNX as input, output, forget, cell.
        admit, forget, update, show = graph.add_many("Split", 4, graph.weight(name), axis=0, num_outputs=4)
        return graph.add("Concat", admit, show, forget, update, axis=0)

    first = graph.constant([0])
    weights, recurrent, *biases = (
        reordered(f"text.lstm.lstm.{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = graph.add("Gemm", "words", graph.weight("text.lstm.input.weight"), transB=1)  # (u, I)
    by_step = graph.add("Gather", inputs, graph.add("Transpose", "places", perm=[1, 0]))  # (T, n, I)
    _, last = graph.add_many(
        "LSTM",
        2,
        by_step,
        graph.add("Unsqueeze", weights, first),
        graph.add("Unsqueeze", recurrent, first),
        graph.add("Unsqueeze", graph.add("Concat", *biases, axis=0), first),
        "lengths",
        hidden_size=config.words.lstm_dimension,
    )
    vectors = graph.add("Gemm", graph.add("Squeeze", last, first), graph.weight("text.lstm.output.weight"), transB=1)
    return graph.finish(
        {
            "words": ("float", ["u", config.dimension]),
            "places": ("int64", ["n", "T"]),
            "lengths": ("int32", ["n"]),
        },
        {vectors: ["n", config.dimension]},
    )


def _captioner(graph: _Graph, config: BundleConfig) -> onnx.ModelProto:
    """`StructureContentModel.step`, with the logarithm of the softmax."""
    if config.captioner is None:
        raise ValueError("the bundle has no captioner")
    sizes = config.captioner.network
    word_factors, context_factors = graph.weight("network.words"), graph.weight("network.context_factors")
    embeddings = graph.add("MatMul", word_factors, context_factors)  # E transposed, (V, K)
    embedded = graph.add("Gather", embeddings, "words")

    seen = np.ones((1, sizes.tags, 1))
    seen[0, NO_TAG] = 0  # a structure left open adds nothing
    tables = graph.add("Mul", graph.weight("network.tags"), graph.constant(seen, np.float32))
    table = graph.add("Reshape", tables, graph.constant([-1, sizes.attribute_dimension]))
    starts = graph.constant(np.arange(sizes.structure_window) * sizes.tags)
    tags = graph.add("Gather", table, graph.add("Add", "windows", starts))  # (n, k, A)
    structure = graph.add("ReduceSum", tags, graph.constant([1]), keepdims=0)
    attributes = graph.add("Relu", graph.add("Add", "projected", structure))

    if sizes.context == "lstm":
        predicted, state = _lstm_step(graph, embedded, attributes)
        shapes: dict[str, Shape] = {"hidden": ["n", sizes.hidden_dimension], "cell": ["n", sizes.hidden_dimension]}
    else:
        predicted, state = _log_bilinear_step(graph, embedded, sizes.context_words, sizes.word_dimension)
        shapes = {"latest": ["n", sizes.context_words, sizes.word_dimension]}
    gated = graph.add(
        "Mul",
        graph.add("Gemm", predicted, context_factors, transB=1),
        graph.add(
            "Gemm",
            attributes,
            graph.weight("network.attribute_factors.weight"),
            graph.weight("network.attribute_factors.bias"),
            transB=1,
        ),
    )
    logits = graph.add("Gemm", gated, word_factors, graph.weight("network.word_bias"), transB=1)
    log_p = graph.add("LogSoftmax", logits, axis=1)
    return graph.finish(
        {
            "words": ("int64", ["n"]),
            "windows": ("int64", ["n", sizes.structure_window]),
            "projected": ("float", ["n", sizes.attribute_dimension]),
            **{name: ("float", shape) for name, shape in shapes.items()},
        },
        {log_p: ["n", sizes.words], **dict(zip(state, shapes.values(), strict=True))},
    )


def _lstm_step(graph: _Graph, embedded: str, attributes: str) -> tuple[str, list[str]]:
    """What the words so far predict, and the state after them: hidden, cell."""
    inputs = graph.add("Concat", embedded, attributes, axis=1)
    weights = [graph.weight(f"network.lstm.{name}_l0") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")]
    of_input = graph.add("Gemm", inputs, *weights[:2], transB=1)
    gates = graph.add("Add", of_input, graph.add("Gemm", "hidden", *weights[2:], transB=1))
    admit, forget, update, show = graph.add_many("Split", 4, gates, axis=1, num_outputs=4)
    kept = graph.add("Mul", graph.add("Sigmoid", forget), "cell")
    cell = graph.add("Add", kept, graph.add("Mul", graph.add("Sigmoid", admit), graph.add("Tanh", update)))
    hidden = graph.add("Mul", graph.add("Sigmoid", show), graph.add("Tanh", cell))
    return graph.add("Gemm", hidden, graph.weight("network.output.weight"), transB=1), [hidden, cell]


def _log_bilinear_step(graph: _Graph, embedded: str, words: int, dimension: int) -> tuple[str, list[str]]:
    """The same by the last words alone, the latest first: the state is their vectors."""
    latest = graph.add("Unsqueeze", embedded, graph.constant([1]))
    if words > 1:
        earlier = graph.add("Slice", "latest", graph.constant([0]), graph.constant([words - 1]), graph.constant([1]))
        latest = graph.add("Concat", latest, earlier, axis=1)
    flat = graph.add("Reshape", latest, graph.constant([-1, words * dimension]))
    weights = graph.add("Reshape", graph.weight("network.context"), graph.constant([words * dimension, dimension]))
    return graph.add("MatMul", flat, weights), [latest]


_GRAPHS: Mapping[NetworkName, Callable[[_Graph, BundleConfig], onnx.ModelProto]] = {
    "projection": _projection,
    "words": _words,
    "lstm": _lstm,
    "captioner": _captioner,
}
