"""Networks in ONNX Runtime: for CPUs.

A graph NAME.onnx holds operations alone. Its weights are tensors of the bundle's safetensors files, by name, and torch
loads the same: so the two runtimes cannot disagree about them. A graph NAME.int8.onnx holds its rounded weights itself:
they are for CPUs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from model import threads
from model.bundle import Bundle
from model.errors import BundleError
from model.runtime.interfaces import Array, Network, Vectors
from model.runtime.networks import WEIGHTS, NetworkName
from model.runtime.tensors import MappedTensors, singles

_LARGE = ("backbone", "captioner", "image_encoder", "text_encoder")
_ENCODERS = ("backbone", "image_encoder", "text_encoder")
_AT_A_TIME = 4
"""Images, or texts, that an encoder computes at a time. With 16, where decoders want the cores, too, each takes twice
as long. More than 4 bring nothing where nobody else does."""


class OnnxRuntime:
    """ONNX Runtime on the processor."""

    device = "cpu"

    def load(self, bundle: Bundle, name: NetworkName) -> Network:
        """A network of a verified bundle. Errors: `BundleError`."""
        graph = bundle.file(bundle.config.graph(name))
        if graph.name not in bundle.config.files:
            raise BundleError(
                "bundle_unsupported",
                f"The bundle {bundle.path} has format version {bundle.config.format_version}: it lacks {graph.name}, "
                f"and a CPU needs its networks as graphs. Add them once, with: visem train convert {bundle.path}",
            )
        file, prefixes = WEIGHTS[name]
        # The others are small: waking a second thread costs more than it brings, above all when others are busy. Those
        # who call at the same time are served at the same time.
        count = threads.available() if name in _LARGE else 1
        weights = None if bundle.config.is_int8(name) else bundle.file(file)
        at_a_time = _AT_A_TIME if name in _ENCODERS else None
        network = OnnxNetwork(
            graph,
            weights,
            prefixes,
            count,
            at_a_time,
            in_steps=name == "captioner",
            keeps_memory=name in _ENCODERS,  # without it an encoder is a third slower, and the others are as fast
        )
        if name in _LARGE:
            threads.trim_heap()  # of what loading took for a moment: three times the size of the weights
        return network


class OnnxNetwork:
    """A graph in a session of its own."""

    def __init__(
        self,
        graph: Path,
        weights: Path | None,
        prefixes: tuple[str, ...] = ("",),
        count: int = 1,
        at_a_time: int | None = None,
        *,
        in_steps: bool = False,
        keeps_memory: bool = True,
    ) -> None:
        """`weights`: a safetensors file; the graph names its tensors that begin with one of `prefixes`. None: the graph
        holds its weights itself.
        `count`: how many threads compute. `at_a_time`: how many rows of its inputs, each of which gives a row of the
        outputs; None for all. `in_steps`: it is called many times for one result, so each call is short,
        and made by the thread that asks. `keeps_memory`: in a store of ONNX Runtime's own, which never shrinks.
        Errors: `BundleError`.
        """
        self._at_a_time = at_a_time
        self._in_steps = in_steps
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = keeps_memory
        options.enable_mem_pattern = False  # it keeps a plan, and the memory for it, for every number of images
        # Threads that spin while they wait would take the cores from decoding, which runs at the same time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(singles(tensor))
            for name, tensor in ({} if weights is None else MappedTensors(weights)).items()
            if name.startswith(prefixes) and np.issubdtype(tensor.dtype, np.floating)
        }
        options.add_external_initializers(list(values), list(values.values()))
        # A weight that is not among them it would read from the start of the file itself. There is no such folder.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph / "none"))
        try:
            # Its threads have the priority of the one that makes them. `threads.compute` computes, too.
            with ThreadPoolExecutor(1, initializer=threads.give_way) as maker:
                self._session = maker.submit(
                    onnxruntime.InferenceSession, str(graph), options, providers=["CPUExecutionProvider"]
                ).result()
        except Exception as error:  # ONNX Runtime has a class of its own for each of its codes
            raise BundleError(
                "bundle_corrupted", f"{graph} does not fit its weights in {weights or 'itself'}: {error}"
            ) from error
        self._inputs = [one.name for one in self._session.get_inputs()]

    def __call__(self, *arrays: Array) -> list[Vectors]:
        """Its inputs, by position, to its outputs."""
        rows = len(arrays[0])
        if self._at_a_time is None or rows <= self._at_a_time:
            return self._run(arrays)
        starts = range(0, rows, self._at_a_time)
        parts = [self._run([array[start : start + self._at_a_time] for array in arrays]) for start in starts]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _run(self, arrays: Sequence[Array]) -> list[Vectors]:
        inputs = dict(zip(self._inputs, arrays, strict=True))
        run = self._session.run
        outputs: list[Vectors] = run(None, inputs) if self._in_steps else threads.compute(run, None, inputs)
        return outputs
