"""A captioner for tests: trained in seconds on the ten fixture photographs, added to a tiny bundle."""

from __future__ import annotations

from pathlib import Path

from model.training.captioner.config import CaptionerTraining
from tests.tiny import write_bundle

CAPTIONS = Path(__file__).parent / "fixtures" / "captions"
SMALL = CaptionerTraining(
    minimum_count=1,
    word_dimension=24,
    attribute_dimension=24,
    factors=32,
    hidden_dimension=32,
    structure_window=3,
    epochs=40,
    batch_captions=15,
    learning_rate=0.02,
    dropout=0.0,
    word_dropout=0.0,
    label_smoothing=0.0,
    average=0.8,
    noise=0.1,
    reward_steps=3,
    reward_images=4,
    reward_samples=3,
)


def write_captioner(folder: Path, config: CaptionerTraining = SMALL) -> Path:
    """A tiny bundle with a captioner in `folder`, which is returned."""
    from model.training.captioner.train import train_captioner

    write_bundle(folder, (CAPTIONS / "Flickr8k.token.txt").read_text())
    train_captioner(
        CAPTIONS, folder, config, work=folder.with_name(f"{folder.name}.work"), report=lambda progress: None
    )
    return folder
