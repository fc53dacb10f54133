"""A smaller LSTM learns what a trained one says, from text alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.towers.config import TextConfig
from model.training.presets import PRESETS
from model.training.progress import Progress
from model.training.space.config import SpaceTraining, StudentTraining


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global LstmEncoder, SentenceEncoders, torch, train_student, training_run
    import torch

    from model.runtime.torch_encoders import LstmEncoder, SentenceEncoders
    from model.training import run as training_run
    from model.training.space.student import train_student


WORDS, DIMENSION = 12, 24
CONFIG = PRESETS["quick"].space.model_copy(
    update={
        "average": 0.5,
        "student": StudentTraining(lstm_dimension=8, lstm_input_dimension=6, epochs=25, batch=16, learning_rate=0.02),
    }
)


def text_side() -> SentenceEncoders:
    torch.manual_seed(1)
    config = TextConfig(
        words=WORDS,
        grounded_words=WORDS,
        code_dimension=None,
        encoders=("bag", "lstm"),
        sentence_encoder="lstm",
        lstm_dimension=16,
        lstm_input_dimension=16,
    )
    text = SentenceEncoders(config, DIMENSION)
    torch.nn.init.normal_(text.words.own.weight, std=1.0)
    return text.eval()


def sentences(count: int, seed: int) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 5, (count,), generator=random).tolist()
    return [torch.randint(WORDS, (length,), generator=random).tolist() for length in lengths]


def ignore(progress: Progress) -> None:
    """No one watches."""


def likeness(text: SentenceEncoders, student: LstmEncoder) -> float:
    """The mean cosine between the two LSTMs' vectors of sentences that neither training saw."""
    unseen = sentences(100, seed=9)
    with torch.no_grad():
        (taught,) = text.embed(unseen, ("lstm",))
        text.lstm = student
        (told,) = text.embed(unseen, ("lstm",))
        return float((taught * told).sum(dim=1).mean())


def learn(text: SentenceEncoders, folder: Path, config: SpaceTraining = CONFIG) -> LstmEncoder:
    return train_student(text, [(sentences(60, seed=2), 2), (sentences(200, seed=3), 1)], config, folder, ignore)


def test_a_student_says_what_the_trained_lstm_says_of_sentences_that_it_never_saw(tmp_path: Path) -> None:
    text = text_side()
    before = {name: tensor.clone() for name, tensor in text.state_dict().items()}

    student = learn(text, tmp_path)

    assert (student.lstm.hidden_size, student.lstm.input_size) == (8, 6)
    assert all(torch.equal(before[name], tensor) for name, tensor in text.state_dict().items())  # it only learns
    untrained = LstmEncoder(DIMENSION, 6, 8)
    assert abs(likeness(text_side(), untrained)) < 0.5
    assert likeness(text, student) > 0.9


def test_an_interrupted_student_goes_on_and_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = learn(text_side(), whole).state_dict()

    def stop(run: training_run.TrainingRun, loss: torch.Tensor) -> None:
        if run.finished == 40:
            raise KeyboardInterrupt
        step(run, loss)

    step = training_run.TrainingRun.step
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(training_run.TrainingRun, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            learn(text_side(), parts)
    assert (parts / "student.checkpoint").exists()
    resumed = learn(text_side(), parts).state_dict()
    again = learn(text_side(), parts).state_dict()  # what is finished is read

    for name, tensor in expected.items():
        torch.testing.assert_close(resumed[name], tensor)
        assert torch.equal(again[name], resumed[name])
    assert not (parts / "student.checkpoint").exists()


def test_without_an_lstm_there_is_no_student(tmp_path: Path) -> None:
    text = text_side()
    text.lstm = None
    with pytest.raises(ValueError, match="nothing to learn"):
        learn(text, tmp_path)
