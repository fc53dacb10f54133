"""Kiros, Salakhutdinov and Zemel 2014 (arXiv 1411.2539), the whole system.

Encoder: VGG19's last layer before the classifier (fc7, 4096-d), frozen; a linear projection; an LSTM over word vectors
of the captions alone; 300 dimensions; the pairwise ranking loss with margin 0.2 and contrasts from the batch.
Decoder: the structure-content neural language model in its log-bilinear form with a context of five words, trained on
text alone: its content is the vector of the sentence that it learns to write.

VGG19's weights are in no package that training installs: they are given with `--backbone-weights`.

Chosen here, because a service needs it: sizes of the language model; the random vector added to its content, which
closes the gap to image vectors; and that half of the sentences are learned without their structure, so that captions
can be written without one. The ranking of candidates and their confidence are fitted on development images.
"""

from __future__ import annotations

from model.training.captioner.config import CaptionerTraining
from model.training.space.config import SpaceTraining, Stage

SPACE = SpaceTraining(
    preset="paper",
    backbone="vgg19",
    dimension=300,
    words=None,  # there is no text model to learn from
    kinds=False,
    guidance=0.0,
    consistency=0.0,
    lstm_dimension=300,
    lstm_input_dimension=300,
    loss="ranking",
    margin=0.2,
    feature_dropout=0.0,
    word_dropout=0.0,
    weight_decay=0.0,
    average=0.0,
    stages=(
        Stage(
            name="lstm",
            epochs=60,
            batch_images=128,
            captions_per_image=1,
            encoders=("lstm",),
            learning_rate=1e-3,
            views=("whole",),
        ),
    ),
)
CAPTIONER = CaptionerTraining(
    preset="paper", context="log-bilinear", context_words=5, image_share=0.0, wide_steps=0, reward_steps=0
)
