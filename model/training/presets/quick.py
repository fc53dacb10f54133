"""The linear encoder on frozen features alone: minutes instead of an hour, to compare backbones or data by."""

from __future__ import annotations

from model.training.captioner.config import CaptionerTraining
from model.training.space.config import SpaceTraining, Stage

SPACE = SpaceTraining(
    preset="quick",
    lstm_dimension=None,
    stages=(
        Stage(
            name="frozen",
            epochs=60,
            batch_images=500,
            captions_per_image=2,
            encoders=("bag",),
            learning_rate=1e-3,
            views=("whole",),
            kinds=200,
        ),
    ),
)
CAPTIONER = CaptionerTraining(preset="quick", epochs=2, wide_steps=300)
