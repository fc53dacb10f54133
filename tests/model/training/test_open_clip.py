"""Models of open_clip, imported: their vectors and tokens against those of open_clip itself."""

from __future__ import annotations

import json
import random
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.errors import EmptyTextError
from model.space import JointSpace, space_on
from model.towers.imported_config import TOKENIZER, ImportedImageConfig, ImportedTextConfig, Pixels
from model.towers.imported_image import fit, see
from model.towers.tokens import TextTokenizer
from model.towers.vectors import normalise
from tests.clip import VIT, write_model, write_unigram


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global ImportingError, SimpleTokenizer, TEXTS, TorchNetwork, TorchRuntime, build_image_encoder
    global build_text_encoder, clip_tokenizer, load_file, open_clip, read_open_clip, released_preprocessing
    global sample_pictures, save_file, torch
    import open_clip
    import torch
    from open_clip.tokenizer import SimpleTokenizer
    from safetensors.torch import load_file, save_file

    from model.runtime.torch_imported import build_image_encoder, build_text_encoder
    from model.runtime.torch_runtime import TorchNetwork, TorchRuntime
    from model.training.importing.open_clip import read_open_clip, released_preprocessing
    from model.training.importing.open_clip_tokens import clip_tokenizer
    from model.training.importing.parity import sample_pictures
    from model.training.importing.source import ImportingError
    from model.training.importing.writing import TEXTS


ODD = (
    *(
        "it's I'LL don't",
        "'ſ x",
        "I’ll",
        "a" * 300,
        "ﬁne ǅ",
        "\u200bzero",
        "e\u0301",
        "한국어",
        "👩‍👩‍👧‍👦",
        "²³½",
        "１２３",
    ),
    *("&amp;lt;b&gt;", "ã©", "\x1c\x1d x", "a\u00a0b", "‘quoted’", "Ⅷ", "ß ẞ İ", "_x_", "!!?...", "3.5km", "\x00"),
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    file = tmp_path_factory.mktemp("tokenizer") / TOKENIZER
    clip_tokenizer().save(str(file))
    return TextTokenizer(file, "lower", 77, 0, padded=True)


def test_tokens_are_those_of_open_clip(tokenizer: TextTokenizer) -> None:
    chance = random.Random(0)  # noqa: S311
    kinds = [(32, 126), (0, 0x2FF), (0x300, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0x1FFFF)]
    lengths = [chance.randint(1, 20) for _ in range(2000)]
    drawn = ["".join(chr(chance.randint(*chance.choice(kinds))) for _ in range(length)) for length in lengths]
    theirs = SimpleTokenizer()
    compared = 0
    for text in (*TEXTS, *ODD, *drawn):
        wanted = theirs([text])[0].tolist()
        try:
            made = tokenizer.batch([tokenizer.tokens(text)])[0].tolist()
        except EmptyTextError:
            assert wanted[1] == theirs.eot_token_id, text
        else:
            compared += 1
            assert made == wanted, ascii(text)
    assert compared > 2000


def test_marks_in_a_text_are_text(tokenizer: TextTokenizer) -> None:
    assert tokenizer.tokens("a <end_of_text> dog").count(49407) == 1


@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("side", [(32, 32), (32, 48)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_those_of_open_clip(resize: Any, side: tuple[int, int], interpolation: Any) -> None:
    if side[0] != side[1] and resize == "shortest" and interpolation == "bilinear":
        pytest.skip("open_clip resizes by bicubic there, whatever it is told")
    theirs = open_clip.image_transform(
        side, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=resize, interpolation=interpolation
    )
    pixels = Pixels(
        height=side[0], width=side[1], resize=resize, interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)
    )
    for image in (*sample_pictures(), Image.new("RGB", (30, 500)), Image.new("RGB", (501, 33), "red")):
        wanted = (theirs(image) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(fit(image, pixels)), wanted), image.size


@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1)])
def test_an_image_that_is_a_line(resize: Any, size: tuple[int, int]) -> None:
    pixels = Pixels(height=224, width=224, resize=resize, mean=(0, 0, 0), std=(1, 1, 1))
    assert fit(Image.new("RGB", size, "red"), pixels).size == (224, 224)


def test_a_name_brings_the_preprocessing_of_its_published_weights() -> None:
    siglip, mobile = released_preprocessing("ViT-B-16-SigLIP"), released_preprocessing("MobileCLIP-S1")
    assert (siglip["mean"], siglip["resize_mode"], siglip["interpolation"]) == ((0.5,) * 3, "squash", "bicubic")
    assert (mobile["mean"], mobile["std"], mobile["interpolation"]) == ((0.0,) * 3, (1.0,) * 3, "bilinear")


def test_vectors_are_those_of_open_clip(clip_bundle: Path, tmp_path: Path) -> None:
    config, weights = write_model(tmp_path)
    source = read_open_clip(str(config), weights)
    with torch.inference_mode():
        texts = torch.nn.functional.normalize(source.text.whole(source.text.reference(TEXTS)))
        images = torch.nn.functional.normalize(source.image.whole(source.image.reference(sample_pictures())))
    space = JointSpace.load(clip_bundle, device="cpu")
    for one in (space, space_on(space.bundle, TorchRuntime("cpu"))):
        assert (one.embed_texts(TEXTS) * texts.numpy()).sum(axis=1).min() > 0.99999
        assert (one.embed_images(sample_pictures()) * images.numpy()).sum(axis=1).min() > 0.99999
    assert space.config.recipe["cosines"]["image"]["fp32"] > 0.99999
    assert 0.98 < space.config.recipe["cosines"]["text"]["int8"] < 1


def test_mixed_precision_as_on_a_gpu(clip_bundle: Path) -> None:
    space = JointSpace.load(clip_bundle, device="cpu")
    image, text = space.config.image, space.config.text
    assert isinstance(image, ImportedImageConfig)
    assert isinstance(text, ImportedTextConfig)
    tokens = space.text._tokenizer
    inputs = {
        "image_encoder": (build_image_encoder(image.architecture), see(sample_pictures(), image.pixels)),
        "text_encoder": (build_text_encoder(text.architecture), tokens.batch([tokens.tokens(one) for one in TEXTS])),
    }
    for name, (module, array) in inputs.items():
        module.load_state_dict(
            {key: value.float() for key, value in load_file(clip_bundle / f"{name}.safetensors").items()}, strict=False
        )
        (half,) = TorchNetwork(module, "cpu", mixed=True)(array)
        (whole,) = space.runtime.load(space.bundle, name)(array)
        assert half.dtype == np.float32
        cosines = (normalise(half) * normalise(whole)).sum(axis=1)
        assert 0.99 < cosines.min() < 1
        assert cosines.max() < 0.9999999, "it computed in half precision"


def test_what_is_no_weights_of_this_model(tmp_path: Path) -> None:
    config, weights = write_model(tmp_path / "one")
    _, others = write_model(tmp_path / "other", {**VIT, "embed_dim": 32})
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"junk")
    empty = tmp_path / "empty.pt"
    empty.touch()
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_text("{")
    lists, numbers = tmp_path / "lists.json", tmp_path / "numbers.json"
    lists.write_text("[1]")
    numbers.write_text('{"embed_dim": 8, "vision_cfg": 3, "text_cfg": []}')
    for given, file, said in (
        (str(lists), weights, "not a JSON object"),
        (str(numbers), weights, "sections is not a JSON object"),
        (str(spoilt), weights, r"cannot be read: .*Download it again"),
        (str(tmp_path / "nothing.json"), weights, r"no configuration .*Download the model's"),
        (str(config), others, r"weights of tiny: \S+ is [\dx ]+, not [\dx ]+, and \d+ more differ"),
        (str(config), empty, "is empty. Download it again"),
        (str(config), junk, "no checkpoint that can be read"),
        (str(config), tmp_path / "nothing.safetensors", "no file of weights"),
        ("ViT-Z-99", weights, r"open_clip\.list_models"),
        ("ViT-B-16-SigLIP", others, "does not hold the weights"),
        ("coca_ViT-B-32", weights, "CoCa"),
        ("ViT-H-14", weights, r"open_clip_config\.json"),
        ("xlm-roberta-base-ViT-B-32", weights, "would download"),
    ):
        with pytest.raises(ImportingError, match=said) as error:
            read_open_clip(given, file)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "settings", "said"),
    [
        ("preprocess_cfg", {"mean": "grey"}, "of images cannot be used"),
        ("preprocess_cfg", {"mean": [0.5, 0.5]}, "of images cannot be used"),
        ("preprocess_cfg", {"std": [0.5, 0.0, 0.5]}, "of images cannot be used"),
        ("preprocess_cfg", {"resize_mode": "fold"}, "of images cannot be used"),
        ("preprocess_cfg", {"interpolation": 7}, "of images cannot be used"),
        ("preprocess_cfg", {"fill_color": "red"}, "of images cannot be used"),
        ("preprocess_cfg", {"fill_color": 999}, "of images cannot be used"),
        ("vision_cfg", {"image_size": "large"}, "of the network cannot be used"),
        ("vision_cfg", {"image_size": [32, 32, 32]}, "of the network cannot be used|does not hold the weights"),
        ("vision_cfg", {"layers": -1, "patch_size": 0}, "of the network cannot be used"),
        ("vision_cfg", {"width": 2**50}, "of the network cannot be used"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "magic"}}, "of texts cannot be used"),
        ("text_cfg", {"tokenizer_kwargs": [3]}, "of texts cannot be used"),
        ("text_cfg", {"context_length": "long"}, "of the network cannot be used"),
        ("text_cfg", {"hf_tokenizer_name": "../../etc"}, "--tokenizer DIR"),
    ],
)
def test_settings_that_make_no_sense(section: str, settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    _, weights = write_model(tmp_path)
    document: dict[str, Any] = {"model_cfg": deepcopy(VIT), "preprocess_cfg": {}}
    (document if section == "preprocess_cfg" else document["model_cfg"])[section].update(settings)
    config = tmp_path / "open_clip_config.json"
    config.write_text(json.dumps(document))
    with pytest.raises(ImportingError, match=said) as error:
        read_open_clip(str(config), weights)
    assert "\n" not in str(error.value)


def test_hostile_weights(tmp_path: Path) -> None:
    """Headers that promise too much, values that are no numbers, archives that unpack to gigabytes."""
    config, weights = write_model(tmp_path)
    tensors = load_file(weights)
    huge, numbers, nothing, bomb = (
        tmp_path / name for name in ("huge.safetensors", "nan.safetensors", "no.pt", "b.pt")
    )
    huge.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}, numbers)
    torch.save({"state_dict": {}}, nothing)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/data.pkl", b"\0" * 50_000_000)
    link = tmp_path / "link.safetensors"
    link.symlink_to(tmp_path / "absent")
    wrong = tmp_path / "wrong.safetensors"
    save_file({name: tensor.to(torch.int8) for name, tensor in tensors.items()}, wrong)
    for file, said in (
        (huge, "cannot be read as safetensors"),
        (nothing, "holds no tensors"),
        (bomb, "no checkpoint that can be read"),
        (link, "no file of weights"),
        (wrong, "are whole numbers"),
        (numbers, "no numbers"),
    ):
        with pytest.raises(ImportingError, match=said) as error:
            read_open_clip(str(config), file)
        assert "\n" not in str(error.value)


def test_a_tokenizer_that_ends_texts_in_another_way(tmp_path: Path) -> None:
    config, weights = write_model(tmp_path)
    with pytest.raises(ImportingError, match="does not end texts as the text encoder wants it"):
        read_open_clip(str(config), weights, write_unigram(tmp_path))
