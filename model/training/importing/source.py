"""What is read of another library's files: two encoders, and all that they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn

from model.errors import ModelError
from model.towers.imported_config import ImportedImageConfig, ImportedTextConfig


class ImportingError(ModelError):
    """Files that cannot become a bundle: absent, of another architecture, incomplete. The message says what to do."""

    code = "import_failed"


@dataclass(frozen=True)
class ImageSource:
    """An image encoder with its weights; `reference` is how its own library prepares images: (n, 3, H, W)."""

    config: ImportedImageConfig
    network: nn.Module
    reference: Callable[[Sequence[Image.Image]], Tensor]


@dataclass(frozen=True)
class TextSource:
    """A text encoder with its weights; `reference` is how its own library reads texts: (n, context) int64."""

    config: ImportedTextConfig
    network: nn.Module
    tokenizer: Tokenizer
    reference: Callable[[Sequence[str]], Tensor]
    whole: Callable[[Tensor], Tensor]
    """How its own library embeds these tokens: (n, D)."""


@dataclass(frozen=True)
class Source:
    """Both encoders. `origin`: the library and the model, for people."""

    name: str
    origin: str
    image: ImageSource
    text: TextSource


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a torch checkpoint. Errors: `ImportingError`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ImportingError(f"There is no file of weights {file}.")
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise ImportingError(f"{file} cannot be read as safetensors: {error}. Download it again.") from error
    try:
        read: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # whatever a file may do to the reader
        raise ImportingError(
            f"{file} is no checkpoint that can be read without running code from it. Convert it to safetensors, or "
            "download the safetensors file of the model."
        ) from error
    state = read.get("state_dict", read) if isinstance(read, dict) else None
    tensors = {name: value for name, value in (state or {}).items() if isinstance(value, Tensor)}
    if not tensors:
        raise ImportingError(f"{file} holds no tensors by name. Choose the file with the model's weights.")
    prefix = "module."
    if all(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def misfit(file: Path, error: Exception, architecture: str) -> ImportingError:
    """What to say of weights that are not those of an architecture."""
    first = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
    first = first if len(first) <= 300 else f"{first[:300]}…"
    return ImportingError(f"{file} does not hold the weights of {architecture}. {first} Choose its own configuration.")
