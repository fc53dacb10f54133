"""Encoders of other libraries in torch: for import, and for serving on a GPU. Needs the extra `clip`.

Each library builds its network from the configuration in the bundle; nothing is downloaded, and weights come from the
bundle alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.errors import BundleError, how_to_install
from model.runtime.torch_blocks import open_clip_token, transformers_token
from model.towers.imported_config import Architecture

_OLD_END = 2
"""What early configurations of CLIP in transformers name the end of a text, which it is not."""


def build_image_encoder(architecture: Architecture) -> nn.Module:
    """Pixels (n, 3, H, W) to vectors (n, D), of any length; random weights. Errors: `BundleError`."""
    if architecture.library == "timm":
        return build_timm(architecture.settings)
    if architecture.library == "open_clip":
        return OpenClipImages(build_open_clip(architecture.settings))
    return TransformersImages(build_transformers(architecture.settings))


def build_text_encoder(architecture: Architecture) -> nn.Module:
    """Tokens (n, T) int64 to vectors (n, D), of any length; random weights. Errors: `BundleError`."""
    if architecture.library == "open_clip":
        return OpenClipTexts(build_open_clip(architecture.settings))
    return TransformersTexts(build_transformers(architecture.settings))


def build_open_clip(settings: dict[str, Any]) -> nn.Module:
    """The network of an open_clip model configuration, as a `CustomTextCLIP`. Errors: `BundleError`.

    What a configuration would have downloaded is not: weights of its own are loaded later.
    """
    try:
        from open_clip.model import CustomTextCLIP
    except ModuleNotFoundError as error:
        raise _missing(error, "open_clip_torch") from error
    arguments = {name: value for name, value in settings.items() if name != "custom_text"}
    arguments["vision_cfg"] = {**settings["vision_cfg"], "timm_model_pretrained": False}
    if settings["text_cfg"].get("hf_model_name"):
        raise BundleError("bundle_unsupported", "The text encoder is one that open_clip would download.")
    network: nn.Module = CustomTextCLIP(**arguments)
    return network


def build_transformers(settings: dict[str, Any]) -> nn.Module:
    """The network of a `config.json` of CLIP or SigLIP in transformers. Errors: `BundleError`."""
    try:
        from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
    except ModuleNotFoundError as error:
        raise _missing(error, "transformers") from error
    if settings.get("model_type") == "clip":
        clip: nn.Module = CLIPModel(CLIPConfig.from_dict(settings))
        return clip
    siglip: nn.Module = SiglipModel(SiglipConfig.from_dict(settings))
    return siglip


def build_timm(settings: dict[str, Any]) -> nn.Module:
    """A network of timm without its classifier: `architecture` and, where it has some, `model_args`.

    Errors: `BundleError`, for what is no network of timm's own, and arguments that name files or addresses.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise _missing(error, "timm") from error
    architecture, arguments = settings["architecture"], settings.get("model_args", {})
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise BundleError("bundle_unsupported", f"timm {timm.__version__} has no network {architecture!r}.")
    if foreign := {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"} & set(arguments):
        raise BundleError("bundle_unsupported", f"A network is not built with {min(foreign)}.")
    network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
    return network


def _missing(error: ModuleNotFoundError, package: str) -> BundleError:
    return BundleError(
        "bundle_unsupported",
        f"On a GPU this bundle needs {package}, and {error.name} is not installed. {how_to_install('clip')} "
        "Or set VISEM_DEVICE=cpu.",
    )


class OpenClipImages(nn.Module):
    """The image tower of a model of open_clip."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.visual = network.visual
        self._has_class_token = _has_class_token(self.visual)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, H, W) to (n, D)."""
        visual = self.visual
        if not self._has_class_token:
            whole: Tensor = visual(pixels)
            return whole
        token = open_clip_token(visual.transformer.resblocks, visual._embeds(pixels), (slice(None), 0))
        vectors: Tensor = visual.ln_post(token) @ visual.proj
        return vectors


def _has_class_token(visual: nn.Module) -> bool:
    """Whether it is a plain vision transformer whose vector is made of its first token."""
    from open_clip.transformer import VisionTransformer

    plain = isinstance(visual, VisionTransformer) and _is_plain(visual.transformer)
    return plain and visual.attn_pool is None and visual.pool_type == "tok"


def _is_plain(transformer: Any) -> bool:
    from open_clip.transformer import ResidualAttentionBlock

    return all(isinstance(block, ResidualAttentionBlock) for block in transformer.resblocks)


class OpenClipTexts(nn.Module):
    """The text tower of a model of open_clip: its own transformer.

    Where tokens only look back, those behind the end of the text change nothing: a batch may be as short as its
    longest text, and costs as much less.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.text = text = network.text
        self.padded = text.attn_mask is None or text.cls_emb is not None or text.pool_type not in ("argmax", "eos")
        """Whether a text has to fill the whole context."""
        self.end: int | None = None if text.pool_type == "argmax" else text.eos_id
        """The token whose vector is taken where it has not; None: the highest one, as in CLIP's own words."""
        self._takes_last = text.attn_mask is None and text.cls_emb is None and text.pool_type == "last"
        self._is_plain = _is_plain(text.transformer)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) to (n, D)."""
        text = self.text
        if self.padded and not (self._takes_last and self._is_plain):
            whole: Tensor = text(tokens)
            return whole
        length = tokens.shape[1]
        states = text.token_embedding(tokens) + text.positional_embedding[:length]
        mask = None if text.attn_mask is None else text.attn_mask[:length, :length]
        place = (slice(None), -1) if self.padded else _ends(tokens, self.end)
        if self._is_plain:
            pooled = text.ln_final(open_clip_token(text.transformer.resblocks, states, place, mask))
        else:
            pooled = text.ln_final(text.transformer(states, attn_mask=mask))[place]
        projection = text.text_projection
        if isinstance(projection, nn.Linear):
            pooled = projection(pooled)
        elif projection is not None:
            pooled = pooled @ projection
        vectors: Tensor = pooled
        return vectors


class TransformersImages(nn.Module):
    """The image tower of CLIP or SigLIP in transformers; SigLIP has no projection behind it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.vision_model = network.vision_model
        self.visual_projection = getattr(network, "visual_projection", nn.Identity())
        self._has_class_token = network.config.model_type == "clip"

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, H, W) to (n, D)."""
        model = self.vision_model
        if self._has_class_token:
            states = model.pre_layrnorm(model.embeddings(pixels))
            pooled = model.post_layernorm(transformers_token(model.encoder.layers, states, (slice(None), 0)))
        else:
            pooled = model(pixel_values=pixels).pooler_output
        vectors: Tensor = self.visual_projection(pooled)
        return vectors


class TransformersTexts(nn.Module):
    """The text tower of CLIP or SigLIP in transformers; SigLIP has no projection behind it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.text_model = network.text_model
        self.text_projection = getattr(network, "text_projection", nn.Identity())
        self.padded = network.config.model_type != "clip"
        """Whether a text has to fill the whole context: CLIP's tokens only look back."""
        end = network.config.text_config.eos_token_id
        self.end: int | None = None if end == _OLD_END else end
        """The token whose vector is taken where it has not; None: the highest one."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) to (n, D)."""
        model, length = self.text_model, tokens.shape[1]
        states = model.embeddings(input_ids=tokens)
        if self.padded:
            pooled = model.final_layer_norm(transformers_token(model.encoder.layers, states, (slice(None), -1)))
            pooled = model.head(pooled)
        else:
            back = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
            place = _ends(tokens, self.end)
            pooled = model.final_layer_norm(transformers_token(model.encoder.layers, states, place, back))
        vectors: Tensor = self.text_projection(pooled)
        return vectors


def _ends(tokens: Tensor, end: int | None) -> tuple[Tensor, Tensor]:
    """The index of each row's first token `end`; None: of its highest one."""
    found = tokens if end is None else (tokens == end).int()
    return torch.arange(tokens.shape[0], device=tokens.device), found.argmax(dim=-1)
