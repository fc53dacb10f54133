"""Networks in torch: for GPUs. Needs the extra `gpu`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from safetensors import safe_open
from torch import Tensor, nn

from model.bundle import Bundle, BundleConfig
from model.captioner_config import ScnlmConfig
from model.errors import BundleError
from model.runtime.interfaces import Array, Network, Vectors
from model.runtime.networks import WEIGHTS, NetworkName
from model.runtime.torch_encoders import ImageProjection, LstmEncoder, create_backbone
from model.runtime.torch_imported import build_image_encoder, build_text_encoder
from model.runtime.torch_scnlm import StructureContentModel
from model.towers.imported_config import ImportedImageConfig, ImportedTextConfig

_MIXED = ("image_encoder", "text_encoder")
"""Large networks, which other libraries serve in mixed precision as well."""


class TorchRuntime:
    """torch on a GPU; or on the processor, where it is what ONNX Runtime is held to."""

    def __init__(self, device: str) -> None:
        self.device = device

    def load(self, bundle: Bundle, name: NetworkName) -> Network:
        """A network of a verified bundle. Errors: `BundleError`."""
        if bundle.config.is_int8(name):
            raise BundleError(
                "bundle_unsupported",
                f"The bundle {bundle.path} is to run in int8, which is for processors. Choose VISEM_DEVICE=cpu, or set "
                "`precision` to fp32 in its bundle.json and re-embed the library: visem reindex.",
            )
        build, prefix = _NETWORKS[name]
        module = build(bundle.config)
        file, prefixes = WEIGHTS[name]
        with safe_open(bundle.file(file), framework="pt") as stored:
            weights = {
                name.removeprefix(prefix): stored.get_tensor(name)
                for name in stored.keys()  # noqa: SIM118 - it is no dictionary
                if name.startswith(prefixes)
            }
        try:
            module.load_state_dict(
                {name: weight.float() if weight.is_floating_point() else weight for name, weight in weights.items()}
            )
        except RuntimeError as error:
            raise BundleError(
                "bundle_corrupted", f"{bundle.path / file} does not fit its configuration: {error}"
            ) from error
        return TorchNetwork(module, self.device, mixed=name in _MIXED and self.device != "cpu")


class TorchNetwork:
    """A module on a device, with arrays at both ends."""

    def __init__(self, module: nn.Module, device: str, *, mixed: bool = False) -> None:
        """`mixed`: compute in half precision where that is safe."""
        self._mixed = mixed
        self._module = module.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self._device = device

    @torch.inference_mode()
    def __call__(self, *arrays: Array) -> list[Vectors]:
        """Its inputs, by position, to its outputs."""
        with torch.autocast(torch.device(self._device).type, enabled=self._mixed):
            outputs = self._module(*(self._tensor(array) for array in arrays))
        tensors = outputs if isinstance(outputs, tuple) else (outputs,)
        return [tensor.float().cpu().numpy() for tensor in tensors]

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array).to(self._device)
        # Pixels go through convolutions faster with their channels last.
        return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def gpu_is_there() -> bool:
    """Whether torch finds a GPU that it can use."""
    return torch.cuda.is_available()


class _Words(nn.Module):
    """w = A c + d, of rows that are already gathered."""

    code_scale: Tensor

    def __init__(self, dimension: int, code_dimension: int) -> None:
        super().__init__()
        self.register_buffer("code_scale", torch.ones(()))
        self.map = nn.Linear(code_dimension, dimension, bias=False)

    def forward(self, own: Tensor, codes: Tensor) -> Tensor:
        mapped: Tensor = self.map(codes.float() * self.code_scale)
        return own + mapped


class _Lstm(LstmEncoder):
    def forward(self, word_vectors: Tensor, places: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Tensor:
        return super().forward(word_vectors, places, lengths.long().cpu(), keep)


class _Captioner(StructureContentModel):
    def __init__(self, config: ScnlmConfig) -> None:
        super().__init__(config)
        del self.content  # what it gives comes as an input

    def forward(self, words: Tensor, windows: Tensor, projected: Tensor, *state: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        logits, after = self.step(words, windows, projected, state, self.embeddings())
        return (logits.log_softmax(dim=-1), *after)


def _projection(config: BundleConfig) -> nn.Module:
    image = config.image
    return ImageProjection(config.projected, config.dimension, image.kinds, image.kinds_feature_dimension)


def _words(config: BundleConfig) -> nn.Module:
    if config.words.code_dimension is None:
        raise ValueError("words without codes need no network")
    return _Words(config.dimension, config.words.code_dimension)


def _lstm(config: BundleConfig) -> nn.Module:
    text = config.words
    if text.lstm_dimension is None:
        raise ValueError("the bundle has no LSTM")
    return _Lstm(config.dimension, text.lstm_input_dimension or config.dimension, text.lstm_dimension)


def _image_encoder(config: BundleConfig) -> nn.Module:
    if not isinstance(config.image, ImportedImageConfig):
        raise ValueError("the bundle has no imported image tower")
    return build_image_encoder(config.image.architecture)


def _text_encoder(config: BundleConfig) -> nn.Module:
    if not isinstance(config.text, ImportedTextConfig):
        raise ValueError("the bundle has no imported text tower")
    return build_text_encoder(config.text.architecture)


def _captioner(config: BundleConfig) -> nn.Module:
    if config.captioner is None:
        raise ValueError("the bundle has no captioner")
    return _Captioner(config.captioner.network)


_NETWORKS: Mapping[NetworkName, tuple[Callable[[BundleConfig], nn.Module], str]] = {
    "backbone": (lambda config: create_backbone(config.backbone.backbone), ""),
    "projection": (_projection, "image."),
    "words": (_words, "text.words."),
    "lstm": (_lstm, "text.lstm."),
    "captioner": (_captioner, "network."),
    "image_encoder": (_image_encoder, ""),
    "text_encoder": (_text_encoder, ""),
}
"""How each network is built, and how the names of its weights begin in the bundle."""
