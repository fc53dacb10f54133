"""Sentence encoders trained to image towers of other libraries, which stay as they are."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from model.captioner.captioner import Captioner
from model.errors import BundleError
from model.space import JointSpace, space_on
from model.towers.imported_config import IMAGE_ENCODER, ImportedImageConfig
from model.training.space.config import SpaceTraining, Stage
from tests.captioning import CAPTIONS, SMALL
from tests.clip import write_clip_folder, write_model
from tests.conftest import KeptBundle


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global ImportingError, TorchRuntime, load_file, read_image_tower, sample_pictures, save_file, timm, torch
    global train_captioner, train_space
    import timm
    import torch
    from safetensors.torch import load_file, save_file

    from model.runtime.torch_runtime import TorchRuntime
    from model.training.captioner.train import train_captioner
    from model.training.importing.image_tower import read_image_tower
    from model.training.importing.parity import sample_pictures
    from model.training.importing.source import ImportingError
    from model.training.space.train import train_space


SPACE = SpaceTraining(
    preset="test",
    dimension=24,
    minimum_count=1,
    words=None,
    guidance=0.0,
    lstm_dimension=None,
    stages=(
        Stage(name="frozen", epochs=40, batch_images=6, captions_per_image=5, encoders=("bag",), learning_rate=0.02),
        Stage(
            name="tune",
            epochs=1,
            batch_images=2,
            captions_per_image=1,
            encoders=("bag",),
            learning_rate=0.1,
            backbone_learning_rate=0.1,
        ),
    ),
)


def write_timm(folder: Path, name: str = "test_vit", **preparation: object) -> Path:
    """A network of timm as it publishes them."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    logging.getLogger("timm").setLevel(logging.ERROR)
    network = timm.create_model(name, pretrained=False, num_classes=7)
    save_file(network.state_dict(), folder / "model.safetensors")
    seen = {"input_size": [3, 160, 160], "crop_pct": 0.95, "crop_mode": "center", "interpolation": "bicubic"}
    seen |= {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.5, 0.6], "classifier": network.pretrained_cfg["classifier"]}
    settings = {"architecture": name, "num_classes": 7, "pretrained_cfg": {**seen, **preparation}}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def write_open_clip(folder: Path) -> Path:
    config, weights = write_model(folder)
    settings = {"model_cfg": json.loads(config.read_text()), "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    weights.rename(folder / "open_clip_model.safetensors")
    return folder


def train(folder: Path) -> Path:
    """A bundle in `folder`, beside the tower it was trained to."""
    settings = SPACE.model_copy(update={"image_tower": write_timm(folder / "tiny")})
    stages = set[str]()
    out, work = folder / "bundle", folder / "work"
    train_space(CAPTIONS, out, settings, work=work, report=lambda progress: stages.add(progress.stage))
    assert "tune" not in stages, "the tower stays as it is"
    return folder


@pytest.fixture(scope="module")
def trained(kept_bundle: KeptBundle) -> Path:
    return kept_bundle("tower", train) / "bundle"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "timm": lambda folder: write_timm(folder, "test_convnext", crop_mode="squash", crop_pct=1.0),
    "open_clip": write_open_clip,
    "transformers": write_clip_folder,
}


def read(folder: Path, library: str) -> Path:
    """A tower of a library, read and copied into `folder`, with what is known about it."""
    tower = read_image_tower(WRITERS[library](folder / "tiny"), folder / "work")
    tower.copy_to(folder)
    (folder / "known.json").write_text(json.dumps([tower.config.feature_dimension, tower.origin]))
    return folder


@pytest.mark.parametrize(("library", "dimension"), [("timm", 64), ("open_clip", 48), ("transformers", 48)])
def test_towers_of_every_library_are_read(kept_bundle: KeptBundle, library: str, dimension: int) -> None:
    folder = kept_bundle(f"tower-{library}", read, library)
    known, origin = json.loads((folder / "known.json").read_text())
    assert known == dimension
    assert "tiny" in origin
    assert (folder / f"{IMAGE_ENCODER}.int8.onnx").is_file()


def test_the_image_half_of_a_bundle_is_a_tower(clip_bundle: Path, tmp_path: Path) -> None:
    tower = read_image_tower(clip_bundle, tmp_path / "work")
    assert tower.config.feature_dimension == 48
    assert tower.folder == clip_bundle


def test_the_space_is_served_without_torch_and_the_tower_is_untouched(trained: Path) -> None:
    space = JointSpace.load(trained, device="cpu")
    image = space.config.image
    assert isinstance(image, ImportedImageConfig)
    assert image.architecture.library == "timm"
    source = load_file(trained.parent / "tiny" / "model.safetensors")
    for name, tensor in load_file(trained / f"{IMAGE_ENCODER}.safetensors").items():
        torch.testing.assert_close(tensor.float(), source[name])
    pictures = [*sample_pictures(), Image.new("RGB", (3, 500), "red")]
    vectors = space.embed_images(pictures)
    assert vectors.shape == (6, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    in_torch = space_on(space.bundle, TorchRuntime("cpu"))
    np.testing.assert_allclose(in_torch.embed_images(pictures), vectors, atol=1e-4)
    assert "timm, tiny" in (trained / "MODEL_CARD.md").read_text()
    assert "--image-tower DIR" in (trained / "MODEL_CARD.md").read_text()
    assert space.config.calibration is not None


def add_captioner(folder: Path, trained: Path) -> Path:
    """The same bundle with a captioner."""
    bundle = shutil.copytree(trained, folder / "bundle")
    train_captioner(CAPTIONS, bundle, SMALL, work=folder / "work", report=lambda progress: None)
    return folder


def test_a_captioner_learns_on_it(trained: Path, kept_bundle: KeptBundle) -> None:
    bundle = kept_bundle("tower-captioner", add_captioner, trained) / "bundle"
    assert Bundle.load(bundle).config.space_id == Bundle.load(trained).config.space_id
    space = JointSpace.load(bundle, device="cpu")
    assert Captioner.load(bundle, device="cpu").caption(space.embed_images(sample_pictures()[:1]), n=2)[0]


def _change(folder: Path, **settings: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def _nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor * torch.nan for name, tensor in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "no folder"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: _change(folder, architecture="hf-hub:somebody/something"), "has no network"),
        (lambda folder: _change(folder, architecture=["test_vit"]), "has no network"),
        (lambda folder: _change(folder, architecture="test_resnet"), "does not hold the weights of test_resnet"),
        (lambda folder: _change(folder, model_args={"checkpoint_path": "/etc/passwd"}), "checkpoint_path"),
        (lambda folder: _change(folder, model_args={"depth": "many"}), "of the network cannot be used"),
        (lambda folder: _change(folder, model_args=["depth"]), "of the network cannot be used"),
        (lambda folder: _change(folder, pretrained_cfg={"input_size": [3, -5, "x"]}), "of images cannot be used"),
        (lambda folder: _change(folder, pretrained_cfg={"input_size": [3, 10**6, 10**6]}), "of images cannot be used"),
        (lambda folder: _change(folder, pretrained_cfg={"crop_pct": "much"}), "of images cannot be used"),
        (lambda folder: _change(folder, pretrained_cfg={"interpolation": "magic"}), "of images cannot be used"),
        (lambda folder: _change(folder, pretrained_cfg=[1]), "of images cannot be used"),
        (lambda folder: _change(folder, pretrained_cfg={"crop_mode": "border"}), "crop_mode"),
        (_nan, "no numbers"),
    ],
)
def test_what_is_no_image_tower(spoil: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    folder = write_timm(tmp_path / "tiny")
    spoil(folder)
    with pytest.raises((ImportingError, BundleError), match=said) as raised:
        read_image_tower(folder, tmp_path / "work")
    assert "\n" not in str(raised.value)
