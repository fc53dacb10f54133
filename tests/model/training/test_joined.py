"""Several backbones, each for a view of its own: joined, trained for real on the fixture's ten pictures, and served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from model.space import JointSpace
from model.towers.config import TextConfig
from model.towers.factory import build_towers
from model.training.presets import PRESETS
from model.training.progress import Progress
from model.training.space.config import SpaceTraining, Stage
from model.words import Vocabulary
from tests.conftest import KeptBundle
from tests.model.training.networks import weights_of


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global BackboneWeightsError, ImageProjection, Kinds, SentenceEncoders, TorchRuntime, TrainedParts
    global backbone_weights, join, load_file, nn, normalise, torch, training
    import torch
    from safetensors.torch import load_file
    from torch import nn

    from model.runtime.torch_encoders import ImageProjection, SentenceEncoders, normalise
    from model.runtime.torch_runtime import TorchRuntime
    from model.training.space import backbone_weights
    from model.training.space import train as training
    from model.training.space.backbone_weights import BackboneWeightsError
    from model.training.space.kinds import Kinds
    from model.training.space.schedule import join
    from model.training.space.stage import TrainedParts


CAPTIONS = Path(__file__).parents[2] / "fixtures" / "captions"
PAIR = SpaceTraining(
    preset="test",
    backbone="test_efficientnet+test_byobnet",
    image_views=("whole", "centre"),
    image_size=64,
    dimension=32,
    minimum_count=1,
    words=None,
    lstm_dimension=16,
    lstm_input_dimension=16,
    feature_dropout=0.0,
    stages=(
        Stage(
            name="frozen",
            epochs=10,
            batch_images=6,
            captions_per_image=1,
            encoders=("bag", "lstm"),
            learning_rate=0.01,
            views=("whole",),
        ),
        Stage(
            name="tune",
            epochs=1,
            batch_images=3,
            captions_per_image=2,
            encoders=("bag", "lstm"),
            learning_rate=0.01,
            backbone_learning_rate=1e-3,
            image_size=48,
        ),
        Stage(
            name="heads",
            epochs=30,
            batch_images=6,
            captions_per_image=2,
            encoders=("bag", "lstm"),
            learning_rate=0.01,
        ),
        Stage(
            name="polish",
            epochs=20,
            batch_images=6,
            captions_per_image=1,
            encoders=("bag", "lstm"),
            learning_rate=0.003,
            views=("whole", "centre"),
            frozen_sentences=True,
        ),
    ),
)


def test_joined_parts_give_the_mean_of_each_ones_vectors() -> None:
    torch.manual_seed(0)
    text = SentenceEncoders(TextConfig(words=3, grounded_words=3), 8)
    parts = [TrainedParts(nn.Flatten(), ImageProjection(size, 8, 5), text, None) for size in (6, 4)]
    parts[0].image.scale.fill_(0.5)
    parts[1].image.scale.fill_(2.0)
    first, second = torch.rand(7, 6), torch.rand(7, 4)
    joined = join(parts)
    assert joined.text is text
    classifier = parts[0].image.classifier
    assert classifier is not None
    told = classifier(first).softmax(dim=1)
    expected = torch.zeros(7, 8)
    for one, features in zip(parts, (first, second), strict=True):
        assert one.image.kinds is not None
        expected += one.image.linear(features * one.image.scale) + one.image.kinds(told)
    torch.testing.assert_close(joined.image(torch.cat([first, second], dim=1)), normalise(expected))


def test_made_features_of_a_kind_move_what_the_classifier_does_not_read() -> None:
    random = np.random.default_rng(0)
    read = random.normal(size=(400, 6))
    features = np.concatenate([read, read[:, :2] + 0.1 * random.normal(size=(400, 2))], axis=1)
    classifier = nn.Linear(6, 1000)
    kinds = Kinds.learn(features[:, None].astype(np.float16), classifier, Vocabulary(["dog"]))
    assert kinds.directions.shape == (1000, 8)
    torch.testing.assert_close(kinds.directions[:, 6:], kinds.directions[:, :2], atol=0.15, rtol=0.1)


def train(folder: Path) -> Path:
    """A bundle in `folder`, from a run that was stopped before it was written, and then went on."""
    folder.mkdir()
    seen: list[Progress] = []
    stops = ["writing the bundle"]

    def report(progress: Progress) -> None:
        seen.append(progress)
        if progress.stage in stops:
            stops.remove(progress.stage)
            raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone_weights, "_wheel_weights", weights_of)
        with pytest.raises(InterruptedError):
            training.train_space(CAPTIONS, folder / "bundle", PAIR, work=folder / "work", report=report)
        training.train_space(CAPTIONS, folder / "bundle", PAIR, work=folder / "work", report=report)
    assert [step.step for step in seen if step.stage == "heads"] == [10, 20, 30], "once, and for one network"
    return folder


@pytest.fixture(scope="module")
def trained(kept_bundle: KeptBundle) -> Path:
    return kept_bundle("joined", train)


def test_each_network_is_tuned_by_itself_and_then_both_are_joined(trained: Path) -> None:
    (work,) = (trained / "work").glob("test-*")
    stages = {file.stem: load_file(file) for file in work.glob("*.safetensors")}
    assert sorted(stages) == ["0-frozen-0", "0-frozen-1", "1-tune-0", "1-tune-1", "2-heads-0", "3-polish"]
    texts = {
        name: torch.cat([tensor.flatten() for key, tensor in sorted(stage.items()) if key.startswith("text.")])
        for name, stage in stages.items()
    }
    torch.testing.assert_close(texts["0-frozen-1"], texts["2-heads-0"], atol=0, rtol=0)
    assert not torch.equal(texts["1-tune-1"], texts["0-frozen-1"]), "the sentences learn from the second network, too"
    torch.testing.assert_close(texts["3-polish"], texts["1-tune-1"], atol=0, rtol=0)
    for place in range(2):
        tuned = {key: tensor for key, tensor in stages[f"1-tune-{place}"].items() if key.startswith("backbone.")}
        for key, tensor in tuned.items():
            joined = stages["3-polish"][key.replace("backbone.", f"backbone.networks.{place}.")]
            torch.testing.assert_close(joined, tensor, atol=1e-3, rtol=1e-3, msg=key)  # rounded to float16
    config = Bundle.load(trained / "bundle").config
    assert config.backbone.backbones == ("test_efficientnet", "test_byobnet")
    assert (config.backbone.feature_dimension, config.backbone.kinds_feature_dimension) == (512, 256)
    assert np.load(work / "3-features.npy").shape[1:] == (2, 512)
    assert "test_efficientnet+test_byobnet" in (trained / "bundle" / "MODEL_CARD.md").read_text()


def test_a_gpu_and_a_processor_give_the_same_vectors(trained: Path) -> None:
    space = JointSpace.load(trained / "bundle", device="cpu")
    runtime = TorchRuntime("cpu")
    tower, _ = build_towers(space.bundle, runtime)
    noise = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), dtype=np.uint8)
    images = [Image.fromarray(pixels) for pixels in noise]
    vectors = space.embed_images(images)
    np.testing.assert_allclose(vectors, tower.encode([*map(tower.prepare, images)]), atol=1e-4)
    bordered = noise.copy()
    bordered[:, :8], bordered[:, -8:] = 0, 255
    assert not np.allclose(space.embed_images([Image.fromarray(pixels) for pixels in bordered]), vectors, atol=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_views": ("whole",)}, "2 joined networks look at one view of an image each"),
        ({"backbone_weights": Path(__file__)}, "goes with one network"),
        ({"backbone": "tf_efficientnet_lite0+no_such_network"}, "timm knows no backbone 'no_such_network'"),
        ({"backbone": "tf_efficientnet_lite0+"}, "timm knows no backbone ''"),
    ],
)
def test_networks_that_cannot_be_joined(values: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BackboneWeightsError, match=message):
        training.train_space(
            CAPTIONS, tmp_path / "out", PAIR.model_copy(update=values), work=tmp_path / "work", report=lambda _: None
        )
    assert list(tmp_path.iterdir()) == []


def test_the_default_preset_polishes_on_the_views_that_serving_looks_at() -> None:
    space = PRESETS["default"].space
    assert space.stages[-1].views == space.image_views
    assert space.stages[-1].frozen_sentences
