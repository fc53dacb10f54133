"""EfficientNet-Lite2 and Lite1, fine-tuned and joined; a linear encoder and an LSTM; an LSTM captioner."""

from __future__ import annotations

from model.training.captioner.config import CaptionerTraining
from model.training.space.config import SpaceTraining, Stage, StudentTraining

SPACE = SpaceTraining(
    preset="default",
    backbone="tf_efficientnet_lite2+tf_efficientnet_lite1",
    kinds_emphasis=3.0,
    image_views=("whole", "centre"),
    student=StudentTraining(lstm_dimension=256, lstm_input_dimension=192, epochs=7),
    stages=(
        Stage(
            name="frozen",
            epochs=20,
            batch_images=500,
            captions_per_image=1,
            encoders=("bag", "lstm"),
            learning_rate=1e-3,
            views=("whole",),
            kinds=200,
        ),
        Stage(
            name="tune",
            epochs=8,
            batch_images=96,
            captions_per_image=3,
            encoders=("bag", "lstm"),
            learning_rate=5e-4,
            backbone_learning_rate=2e-4,
            image_size=192,
            frozen_share=0.35,
        ),
        Stage(
            name="heads",
            epochs=18,
            batch_images=500,
            captions_per_image=2,
            encoders=("bag", "lstm"),
            learning_rate=8e-4,
            kinds=500,
            kinds_weight=1.0,
        ),
        Stage(
            name="polish",
            epochs=12,
            batch_images=500,
            captions_per_image=1,
            encoders=("bag", "lstm"),
            learning_rate=1e-3,
            views=("whole", "centre"),
            frozen_sentences=True,
        ),
    ),
)
CAPTIONER = CaptionerTraining(preset="default")
