"""CLIP and SigLIP as transformers stores them: a folder of `config.json`, weights, preprocessing and tokenizer."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from model.runtime.torch_imported import TransformersImages, TransformersTexts
from model.towers.imported_config import Architecture, Cleaning, ImportedImageConfig, ImportedTextConfig, Pixels
from model.training.importing.source import (
    ImageSource,
    ImportingError,
    Source,
    TextSource,
    check_file,
    check_finite,
    settings_of,
)
from model.training.importing.tokenizer_folder import TokenizerFolder

_KINDS = ("clip", "siglip")
_FILTERS: dict[int, Literal["nearest", "lanczos", "bilinear", "bicubic"]] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def read_hugging_face(folder: Path) -> Source:
    """Read a folder. Errors: `ImportingError`."""
    network, architecture = _read_network(folder)
    name = folder.resolve().name
    return Source(
        name=name,
        origin=f"transformers, {name}",
        image=_image(folder, network, architecture),
        text=_text(folder, network, architecture),
    )


def read_hugging_face_images(folder: Path) -> ImageSource:
    """Read the image half of a folder, which needs no tokenizer. Errors: `ImportingError`."""
    return _image(folder, *_read_network(folder))


def _read_network(folder: Path) -> tuple[Any, Architecture]:
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in _KINDS:
        raise ImportingError(
            f"{folder / 'config.json'} is of the kind {kind!r}; Visem imports {' and '.join(_KINDS)} alone. "
            "Choose a model of one of these kinds."
        )
    network = _load(folder, kind)
    settings = json.loads(network.config.to_json_string(use_diff=True))
    return network, Architecture(library="transformers", settings=settings)


def _image(folder: Path, network: Any, architecture: Architecture) -> ImageSource:
    config = ImportedImageConfig(architecture=architecture, pixels=_pixels(folder))
    prepared = config.pixels.height, config.pixels.width
    with settings_of("images", folder / "config.json"):
        taken = int(network.config.vision_config.image_size)
    if prepared != (taken, taken):
        raise ImportingError(
            f"preprocessor_config.json in {folder} prepares images of {prepared[0]} x {prepared[1]} pixels, and its "
            f"config.json takes {taken} x {taken}. Download both from one place."
        )
    with settings_of("images", folder):
        reference = _image_reference(folder)

    def whole(pixels: Tensor) -> Tensor:
        vectors: Tensor = network.get_image_features(pixel_values=pixels).pooler_output
        return vectors

    return ImageSource(config, TransformersImages(network), reference, whole)


def read_json(file: Path) -> dict[str, Any]:
    """A configuration beside a model's weights. Errors: `ImportingError`."""
    if file.is_file():
        check_file(file)
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImportingError(
            f"There is no {file}. Download the whole model into one folder: config.json, the weights, "
            "preprocessor_config.json, tokenizer.json."
        ) from None
    except (OSError, ValueError) as error:
        raise ImportingError(f"{file} cannot be read: {error}. Download it again.") from error
    if not isinstance(read, dict):
        raise ImportingError(f"{file} is no configuration. Download it again.")
    return read


def _load(folder: Path, kind: str) -> Any:
    from transformers import CLIPModel, SiglipModel
    from transformers.utils.logging import disable_progress_bar

    found = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
    if not found:
        raise ImportingError(f"There are no weights in {folder}. Download the model's model.safetensors into it.")
    for file in (*found, *folder.glob("model-*.safetensors")):
        check_file(file)
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    disable_progress_bar()
    model: Any = CLIPModel if kind == "clip" else SiglipModel
    try:
        network, loading = model.from_pretrained(
            str(folder),
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # whatever a file may do to the reader
        if type(error).__name__ == "UnpicklingError":  # of the module that nothing here imports
            raise ImportingError(
                f"{found[0]} cannot be read without running code from it. Download the model's model.safetensors."
            ) from error
        reason = str(error).strip().split("\n")[0][:300].rstrip(".")
        raise ImportingError(f"The weights in {folder} cannot be read: {reason}. Download them again.") from error
    missing = sorted(str(one) for one in loading["missing_keys"] | {key for key, *_ in loading["mismatched_keys"]})
    if missing:
        raise ImportingError(
            f"The weights in {folder} are not those of its config.json: {missing[0]} and {len(missing) - 1} more are "
            "missing or of another size. Download both from one place."
        )
    check_finite(network, folder)
    return network.eval().requires_grad_(False)


def _pixels(folder: Path) -> Pixels:
    file = folder / "preprocessor_config.json"
    if not file.is_file() and (folder / "processor_config.json").is_file():
        file = folder / "processor_config.json"
    read = read_json(file)
    with settings_of("images", file):
        read = read.get("image_processor", read)
        size, crop = _size(read.get("size", 224)), _size(read.get("crop_size", read.get("size", 224)))
        cropped = read.get("do_center_crop", "shortest_edge" in size)
        if not read.get("do_resize", True) or not read.get("do_normalize", True):
            raise ImportingError(
                f"{file} neither resizes nor normalises images, which Visem cannot do. Choose another model."
            )
        if "shortest_edge" in size:
            if not cropped:
                raise ImportingError(f"{file} keeps the shape of images, which Visem cannot do. Choose another model.")
            height, width = crop.get("height", size["shortest_edge"]), crop.get("width", size["shortest_edge"])
            shape: dict[str, Any] = {"resize": "shortest", "shorter": size["shortest_edge"]}
        else:
            height, width, shape = size["height"], size["width"], {"resize": "squash"}
        return Pixels(
            height=height,
            width=width,
            interpolation=_FILTERS[int(read.get("resample", 3))],
            mean=tuple(read["image_mean"]),
            std=tuple(read["image_std"]),
            half="down",
            **shape,
        )


def _size(value: Any) -> dict[str, int]:
    return value if isinstance(value, dict) else {"shortest_edge": int(value)}


def _image_reference(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, backend="pil"
    )

    def read(images: Sequence[Image.Image]) -> Tensor:
        pixels: Tensor = processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels

    return read


def _text(folder: Path, network: Any, architecture: Architecture) -> TextSource:
    tokenizer = TokenizerFolder.read(folder)
    length = int(network.config.text_config.max_position_embeddings)
    cleaning: Cleaning = "none" if tokenizer.is_of_transformers or network.config.model_type == "clip" else "plain"
    encoder = TransformersTexts(network)
    if not encoder.padded:
        tokenizer.check_end(length, encoder.end, folder)

    def whole(tokens: Tensor) -> Tensor:
        vectors: Tensor = network.get_text_features(input_ids=tokens).pooler_output
        return vectors

    config = ImportedTextConfig(
        architecture=architecture,
        cleaning=cleaning,
        context_length=length,
        padding=tokenizer.padding,
        padded=encoder.padded,
    )
    return TextSource(config, encoder, tokenizer.tokenizer, tokenizer.reference(cleaning, length), whole)
