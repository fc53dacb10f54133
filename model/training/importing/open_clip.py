"""Models of open_clip: a configuration that it knows by name, or a file of one, and a file of weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from model.runtime.torch_imported import OpenClipImages, OpenClipTexts, build_open_clip
from model.towers.imported_config import Architecture, Cleaning, ImportedImageConfig, ImportedTextConfig, Pixels
from model.training.importing.open_clip_tokens import clip_tokenizer
from model.training.importing.source import (
    ImageSource,
    ImportingError,
    Source,
    TextSource,
    check_file,
    load_weights,
    read_weights,
    settings_of,
)
from model.training.importing.tokenizer_folder import TokenizerFolder

_DEFAULT_CONTEXT = 77


def read_open_clip(config: str, weights: Path, tokenizer: Path | None = None) -> Source:
    """Read a model. `config`: a name of open_clip's, or an `open_clip_config.json` or a file of its `model_cfg`.

    `tokenizer`: a folder with `tokenizer.json`, for models that do not use CLIP's own. Errors: `ImportingError`.
    """
    logging.getLogger("timm").setLevel(logging.ERROR)
    name, settings, preprocessing = _read_config(config)
    network = _load(name, settings, weights)
    architecture = Architecture(library="open_clip", settings=settings)
    return Source(
        name=name,
        origin=f"open_clip, {name}, weights from {weights.name}",
        image=_image(network, architecture, settings, preprocessing, name),
        text=_text(network, architecture, settings, tokenizer, name),
    )


def read_open_clip_images(config: Path, weights: Path) -> ImageSource:
    """Read the image half of a model, which needs no tokenizer. Errors: `ImportingError`."""
    logging.getLogger("timm").setLevel(logging.ERROR)
    name, settings, preprocessing = _read_config(str(config))
    network = _load(name, settings, weights)
    return _image(network, Architecture(library="open_clip", settings=settings), settings, preprocessing, name)


def _read_config(config: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The name, the settings of the model and those of its preprocessing."""
    import open_clip

    file = Path(config)
    if file.suffix == ".json" or file.is_file():
        if not file.is_file():
            raise ImportingError(f"There is no configuration {file}. Download the model's, open_clip_config.json.")
        check_file(file)
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ImportingError(f"The configuration {file} cannot be read: {error}. Download it again.") from error
        if not isinstance(read, dict):
            raise ImportingError(f"{file} is no configuration of open_clip: it is not a JSON object.")
        settings = read.get("model_cfg", read)
        name, preprocessing = file.parent.name if "model_cfg" in read else file.stem, read.get("preprocess_cfg", {})
    else:
        found = open_clip.get_model_config(config)
        if found is None:
            raise ImportingError(
                f"open_clip knows no model {config!r}, and there is no such file. Names are those of "
                "open_clip.list_models(), such as ViT-B-32 or ViT-B-16-SigLIP; or give a model's open_clip_config.json."
            )
        name, settings, preprocessing = config, deepcopy(found), released_preprocessing(config)
    if not isinstance(settings, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= settings.keys():
        raise ImportingError(f"{config} is no configuration of open_clip: it lacks embed_dim, vision_cfg or text_cfg.")
    if not all(isinstance(one, dict) for one in (settings["vision_cfg"], settings["text_cfg"], preprocessing)):
        raise ImportingError(f"{config} is no configuration of open_clip: one of its sections is not a JSON object.")
    if "multimodal_cfg" in settings:
        raise ImportingError(f"{name} is a CoCa model, which Visem cannot import. Choose a model with two towers.")
    if settings["text_cfg"].get("hf_model_name"):
        raise ImportingError(
            f"The text encoder of {name} is one of transformers, which open_clip would download. Choose a model with a "
            "text encoder of open_clip's own, or import a folder of transformers: visem import hugging-face."
        )
    settings["vision_cfg"].pop("timm_model_pretrained", None)
    settings.pop("custom_text", None)
    return name, settings, preprocessing


def released_preprocessing(name: str) -> dict[str, Any]:
    """How the published weights of a model see images: the name alone does not say it."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    released: list[dict[str, Any]] = [
        merge_preprocess_dict(PreprocessCfg(), {**get_pretrained_cfg(name, tag), "size": None})
        for tag in list_pretrained_tags_by_model(name)
    ]
    if any(one != released[0] for one in released):
        raise ImportingError(
            f"Published weights of {name} prepare images in different ways. Give the open_clip_config.json "
            "that came with yours instead of the name."
        )
    return released[0] if released else {}


def _load(name: str, settings: dict[str, Any], weights: Path) -> nn.Module:
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    tensors = read_weights(weights)
    with settings_of("the network", f"the configuration {name}"):
        network = build_open_clip(deepcopy(settings))
    # OpenAI's own files, and those of releases in other forms.
    for extra in ("input_resolution", "context_length", "vocab_size"):
        tensors.pop(extra, None)
    tensors = convert_state_dict(network, tensors)
    if "positional_embedding" in tensors:
        tensors = convert_to_custom_text_state_dict(tensors)
    own = network.state_dict()
    for scale in ("logit_scale", "logit_bias"):  # they do not matter to vectors
        tensors.pop(scale, None)
        if scale in own:
            tensors[scale] = own[scale]
    tensors.pop("text.transformer.embeddings.position_ids", None)
    load_weights(network, tensors, weights, name)
    return network.eval().requires_grad_(False).float()


def _image(
    network: Any, architecture: Architecture, settings: dict[str, Any], preprocessing: dict[str, Any], name: str
) -> ImageSource:
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    with settings_of("images", f"the configuration {name}"):
        size = settings["vision_cfg"].get("image_size", 224)
        of_model = {**getattr(network.visual, "preprocess_cfg", {}), **preprocessing, "size": size}
        chosen = PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(), of_model))
        height, width = (size, size) if isinstance(size, int) else size
        transform = image_transform_v2(chosen, is_train=False)
        pixels = Pixels(
            height=height,
            width=width,
            resize=chosen.resize_mode,
            interpolation="bilinear" if chosen.interpolation == "bilinear" else "bicubic",
            fill=chosen.fill_color,
            mean=chosen.mean,
            std=chosen.std,
        )
    return ImageSource(
        ImportedImageConfig(architecture=architecture, pixels=pixels),
        OpenClipImages(network),
        lambda images: torch.stack([transform(image) for image in images]),
        network.encode_image,
    )


def _text(
    network: Any, architecture: Architecture, settings: dict[str, Any], folder: Path | None, name: str
) -> TextSource:
    text = settings["text_cfg"]
    with settings_of("texts", f"the configuration {name}"):
        special = text.get("tokenizer_kwargs") or {}
        length = int(text.get("context_length", _DEFAULT_CONTEXT))
        cleaning: Cleaning = special.get("clean", "whitespace" if folder else "lower")
        if cleaning not in get_args(Cleaning):
            raise ValueError(f"there is no way {cleaning!r} to clean them")
    encoder = OpenClipTexts(network)
    if text.get("tokenizer_mode"):
        raise ImportingError(f"{name} marks its texts as CLIPS does, which Visem cannot do. Choose another model.")
    if text.get("hf_tokenizer_name") or folder is not None:
        if folder is None:
            raise ImportingError(
                f"{name} needs its tokenizer, {text['hf_tokenizer_name']}: download its tokenizer.json and "
                "tokenizer_config.json into a folder, and name that with --tokenizer DIR."
            )
        read = TokenizerFolder.read(folder)
        if special.get("strip_sep_token"):
            raise ImportingError(f"{name} takes a mark out of its texts, which Visem cannot do. Choose another model.")
        if not encoder.padded:
            read.check_end(length, encoder.end, folder)
        tokenizer, padding = read.tokenizer, read.padding
        reference = read.reference(cleaning, length)
    else:
        from open_clip.tokenizer import SimpleTokenizer

        if special.get("reduction_mask"):
            raise ImportingError(f"{name} thins out long texts, which Visem cannot do. Choose another model.")
        tokenizer, padding = clip_tokenizer(), 0
        simple = SimpleTokenizer(context_length=length, clean=cleaning)

        def reference(texts: Sequence[str]) -> Tensor:
            tokens: Tensor = simple(list(texts))
            return tokens

    config = ImportedTextConfig(
        architecture=architecture,
        cleaning=cleaning,
        context_length=length,
        padding=padding,
        padded=encoder.padded,
    )
    return TextSource(config, encoder, tokenizer, reference, network.encode_text)
