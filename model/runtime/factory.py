"""The runtime for a device."""

from __future__ import annotations

import importlib.util

from model.errors import DeviceMissingError
from model.runtime.gpu import may_have_gpu
from model.runtime.interfaces import Runtime


def open_runtime(device: str) -> Runtime:
    """ONNX Runtime for `cpu`, torch for `cuda`, and for `auto` torch where it finds a GPU.

    torch takes a second to import, and is not there in every installation: it is only asked where there may be a GPU.
    Errors: `DeviceMissingError` where torch is missing, or finds no GPU.
    """
    if device == "auto" and not (may_have_gpu() and importlib.util.find_spec("torch")):
        device = "cpu"
    if device != "cpu":
        try:
            from model.runtime.torch_runtime import TorchRuntime, gpu_is_there
        except ModuleNotFoundError as error:
            raise DeviceMissingError(
                f"The device {device} needs the package {error.name}, which is not installed. `make serve DEVICE=cuda` "
                "installs it, in Visem's folder. Or choose `auto` or `cpu` (VISEM_DEVICE)."
            ) from error
        if gpu_is_there():
            return TorchRuntime("cuda" if device == "auto" else device)
        if device != "auto":
            raise DeviceMissingError(
                f"There is no {device}: torch finds no GPU that it can use. Choose `auto` or `cpu` (VISEM_DEVICE)."
            )
    from model.runtime.onnx_runtime import OnnxRuntime

    return OnnxRuntime()


def torch_on_cpu() -> Runtime | None:
    """torch on the processor, to compare with; None where it is not installed."""
    try:
        from model.runtime.torch_runtime import TorchRuntime
    except ModuleNotFoundError:
        return None
    return TorchRuntime("cpu")
