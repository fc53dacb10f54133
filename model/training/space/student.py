"""A smaller LSTM that learns the sentence vectors of the trained one from text alone.

An LSTM reads all of its weights again for every word, so a text of ten words takes as long as those take to come from
memory. A student with half of the units needs a third of the time. It sees many more sentences than there are captioned
photographs, since none of them needs a photograph, and ranks photographs as well as its teacher does.
Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531); here the vectors are what is imitated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.runtime.torch_encoders import LstmEncoder, SentenceEncoders, padded
from model.training.progress import Progress, Report, counting
from model.training.run import TrainingRun, save_tensors
from model.training.space.config import SpaceTraining
from model.training.space.stage import CLIP_NORM, denormals_as_zero

Sentences = Sequence[Sequence[int]]
Rows = npt.NDArray[np.int64]
NAME = "student"
_EMBEDDED = 256


def train_student(
    text: SentenceEncoders,
    sources: Sequence[tuple[Sentences, int]],
    config: SpaceTraining,
    folder: Path,
    report: Report,
) -> LstmEncoder:
    """Train a student of the LSTM of `text`, whose word vectors it shares; returns it.

    `sources`: sentences as word numbers, none empty, and how often an epoch has those.
    `folder`: where the teacher's vectors and checkpoints are kept. Errors: ValueError without an LSTM or a student.
    """
    if text.lstm is None or config.student is None:
        raise ValueError("without an LSTM, or settings of a student, there is nothing to learn")
    own = config.student
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student = LstmEncoder(text.lstm.output.out_features, own.lstm_input_dimension, own.lstm_dimension)
    finished = folder / f"{NAME}.safetensors"
    if finished.exists():
        student.load_state_dict(load_file(finished))
        return student.eval()
    sentences = [sentence for of_source, _ in sources for sentence in of_source]
    times = np.concatenate([np.full(len(of_source), often) for of_source, often in sources])
    taught = _teach(text, sentences, folder / f"{NAME}-taught.npy", report)  # (n, D)
    rows = np.arange(len(sentences)).repeat(times)
    lengths = np.array([len(sentence) for sentence in sentences])
    steps_per_epoch = max(1, len(rows) // own.batch)
    steps = own.epochs * steps_per_epoch
    optimizer = torch.optim.AdamW(student.parameters(), lr=own.learning_rate, weight_decay=0.0)
    checkpoint = folder / f"{NAME}.checkpoint"
    run = TrainingRun(student.parameters(), optimizer, steps, config.average, checkpoint, CLIP_NORM)
    losses: list[float] = []
    student.train()
    with denormals_as_zero():
        for step in range(run.finished, steps):
            epoch, place = divmod(step, steps_per_epoch)
            if place == 0 or step == run.finished:
                batches = _batches(rows, lengths[rows], own.batch, config.seed, epoch)
            batch = batches[place]
            vectors = _embed(text, student, [sentences[row] for row in batch])  # (B, D)
            told = (vectors * torch.from_numpy(taught[batch].astype(np.float32))).sum(dim=1)
            loss = 1 - told.mean()
            run.step(loss)
            losses.append(loss.item())
            if run.finished % 10 == 0 or run.finished == steps:
                report(Progress(NAME, run.finished, steps, f"loss {np.mean(losses[-50:]):.3f}"))
    run.finish()
    save_tensors(student.state_dict(), finished)
    checkpoint.unlink(missing_ok=True)
    return student.eval()


def _batches(rows: Rows, lengths: Rows, size: int, seed: int, epoch: int) -> list[Rows]:
    """Rows of an epoch in batches of sentences of about the same length, in random order."""
    random = np.random.default_rng((seed, epoch))
    # Random shares of a word mix those of one length, and a part of those of the next.
    order = rows[np.argsort(lengths + random.uniform(0, 1.5, len(rows)), kind="stable")]
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    full = batches[:-1] if len(batches) > 1 and len(batches[-1]) < size else batches
    return [full[place] for place in random.permutation(len(full))]


def _teach(text: SentenceEncoders, sentences: Sentences, cache: Path, report: Report) -> npt.NDArray[np.float16]:
    """What the trained LSTM makes of all sentences: float16 (n, D), kept in a file."""
    if cache.exists():
        cached: npt.NDArray[np.float16] = np.load(cache, mmap_mode="r")
        return cached
    counted = counting(report, f"{NAME}: what the LSTM says")
    order = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))
    taught = np.empty((len(sentences), text.words.own.embedding_dim), dtype=np.float16)
    for start in range(0, len(order), _EMBEDDED):
        places = order[start : start + _EMBEDDED]
        with torch.no_grad():
            (vectors,) = text.embed([sentences[place] for place in places], ("lstm",))
        taught[places] = vectors.numpy()
        counted(start + len(places), len(order))
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, taught)
    partial.replace(cache)
    return taught


def _embed(text: SentenceEncoders, student: LstmEncoder, sentences: Sentences) -> Tensor:
    """Unit vectors (n, D) by the student; the word vectors stay as they are."""
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    numbers = torch.tensor([number for sentence in sentences for number in sentence])
    different, places = numbers.unique(return_inverse=True)
    with torch.no_grad():
        words = text.words(different)  # (U, D)
    vectors: Tensor = student(words, padded(places, lengths), lengths)
    return vectors
