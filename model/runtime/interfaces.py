"""What runs a network, and what a network is: arrays in, arrays out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.runtime.networks import NetworkName

Array = npt.NDArray[Any]
Vectors = npt.NDArray[np.float32]


class Network(Protocol):
    """A network of a bundle, loaded. Thread-safe."""

    def __call__(self, *arrays: Array) -> list[Vectors]:
        """Its inputs, by position, to its outputs."""


class Runtime(Protocol):
    """Loads networks onto one device."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""

    def load(self, bundle: Bundle, name: NetworkName) -> Network:
        """A network of a verified bundle. Errors: `BundleError`."""
