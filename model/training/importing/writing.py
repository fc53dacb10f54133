"""A bundle out of another library's encoders, and how near its vectors are to those of the library itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from safetensors.numpy import save_file

from model.bundle import MODEL_CARD, Bundle, BundleConfig, write_config
from model.runtime.onnx_runtime import OnnxRuntime
from model.space import JointSpace, space_on
from model.towers.imported_config import (
    CONCEPT_VECTORS,
    CONCEPT_WORDS,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TOKENIZER,
    Precision,
    Prompts,
)
from model.towers.imported_text import ImportedTextTower
from model.towers.tokens import TextTokenizer
from model.training.card import model_card
from model.training.importing.encoders import export_encoder
from model.training.importing.parity import check, compare_images, lowest_cosine, unit_rows
from model.training.importing.source import ImportingError, Source

TEXTS = (
    "a dog runs on the beach",
    "Two men in red shirts don't look at the camera!",
    "blue car",
    "naïve café — 3.5 km, 100% cotton",
    "猫 と 犬 🐈",
    "a " + "very " * 90 + "long sentence",
)
"""What the tokens and the vectors of an import are compared on."""


@dataclass(frozen=True)
class Parity:
    """The lowest cosines between the bundle's vectors and the library's own, by precision."""

    image: dict[Precision, float]
    text: dict[Precision, float]


def write_imported(
    source: Source,
    out: Path,
    *,
    precision: Precision = "fp32",
    prompts: Prompts | None = None,
    words: Sequence[str] = (),
    terms: str = "",
    report: Callable[[str], None] = lambda stage: None,
) -> tuple[BundleConfig, Parity]:
    """Write the bundle; `out` is replaced, once all is well. `words` name concepts; `terms`: those of the weights.

    `report(stage)` tells what is being done. Errors: `ImportingError`.
    """
    _check_tokenizer(source)
    staging = out.with_name(f"{out.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        config = _write(source, staging, precision, prompts or Prompts(), terms, report)
        report("comparing")
        _compare_tokens(source, staging, config)
        spaces = {one: in_precision(staging, config, one) for one in get_args(Precision)}
        parity = Parity(compare_images(source.image, staging), _compare_texts(source, spaces))
        if words:
            report("embedding words")
            config = _add_words(staging, config, words, spaces[precision])
        recipe = {"origin": source.origin, "cosines": {"image": parity.image, "text": parity.text}}
        config = config.model_copy(update={"recipe": recipe})
        (staging / MODEL_CARD).write_text(model_card(config), encoding="utf-8")
        config = write_config(staging, config)
        shutil.rmtree(out, ignore_errors=True)
        staging.replace(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return config, parity


def _check_tokenizer(source: Source) -> None:
    """Refuse a tokenizer with more tokens than the encoder has. Errors: `ImportingError`."""
    text = source.text
    try:
        with torch.inference_mode():
            text.whole(text.reference(TEXTS))
    except IndexError as error:
        raise ImportingError(
            f"The tokenizer has tokens that the text encoder of {source.name} has not: it is of another model. "
            "Download both from one place."
        ) from error


def _write(
    source: Source, folder: Path, precision: Precision, prompts: Prompts, terms: str, report: Callable[[str], None]
) -> BundleConfig:
    image, text = source.image, source.text
    example = torch.zeros(2, 3, image.config.pixels.height, image.config.pixels.width)
    batch = torch.export.Dim("batch")
    report("exporting the image encoder")
    with torch.inference_mode():
        dimension = int(image.network(example).shape[1])
    export_encoder(image.network, IMAGE_ENCODER, example, {0: batch}, folder, input_name="pixels")
    report("exporting the text encoder")
    tokens = text.reference(TEXTS[:2])
    axes = {0: batch}
    if not text.config.padded:
        length = torch.export.Dim("length", max=text.config.context_length)
        tokens, axes = tokens[:, :9].contiguous(), {0: batch, 1: length}
    export_encoder(text.network, TEXT_ENCODER, tokens, axes, folder, input_name="tokens")
    text.tokenizer.save(str(folder / TOKENIZER), pretty=False)
    (folder / MODEL_CARD).write_text("", encoding="utf-8")
    return write_config(
        folder,
        BundleConfig(
            name=source.name,
            dimension=dimension,
            image=image.config.model_copy(update={"precision": precision}),
            text=text.config.model_copy(update={"precision": precision, "prompts": prompts}),
            training_data=terms or "unknown: see where the weights came from for their data and terms of use",
        ),
    )


def _compare_tokens(source: Source, folder: Path, config: BundleConfig) -> None:
    text = source.text.config
    tokenizer = TextTokenizer(folder / TOKENIZER, text.cleaning, text.context_length, text.padding, padded=True)
    wanted = source.text.reference(TEXTS).numpy()
    made = tokenizer.batch([tokenizer.tokens(one) for one in TEXTS])
    for number, one in enumerate(TEXTS):
        if not np.array_equal(wanted[number], made[number]):
            raise ImportingError(
                f"The tokenizer of {config.name} splits {one!r} in another way than its own library does: it is of a "
                "kind that Visem does not know."
            )


def _compare_texts(source: Source, spaces: Mapping[Precision, JointSpace]) -> dict[Precision, float]:
    """The lowest cosine of each precision. Errors: `ImportingError` where fp32 differs."""
    with torch.inference_mode():
        wanted = unit_rows(source.text.whole(source.text.reference(TEXTS)))
    cosines = {
        precision: lowest_cosine(wanted, _imported_text(space).encode(TEXTS)) for precision, space in spaces.items()
    }
    check(cosines["fp32"], "text")
    return cosines


def in_precision(folder: Path, config: BundleConfig, precision: Precision) -> JointSpace:
    """The same bundle in another precision."""
    image = config.image.model_copy(update={"precision": precision})
    text = config.text.model_copy(update={"precision": precision})
    return space_on(Bundle(folder, config.model_copy(update={"image": image, "text": text})), OnnxRuntime())


def _imported_text(space: JointSpace) -> ImportedTextTower:
    if not isinstance(space.text, ImportedTextTower):
        raise TypeError("the bundle has no imported text tower")
    return space.text


def _add_words(folder: Path, config: BundleConfig, words: Sequence[str], space: JointSpace) -> BundleConfig:
    known = [word for word in dict.fromkeys(words) if space.knows(word)]
    vectors = space.embed_operands(known)
    (folder / CONCEPT_WORDS).write_text("".join(f"{word}\n" for word in known), encoding="utf-8")
    save_file({"vectors": vectors.astype(np.float16)}, folder / CONCEPT_VECTORS)
    return config.model_copy(update={"text": config.text.model_copy(update={"concepts": True})})
