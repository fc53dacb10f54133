"""Self-critical training: the model writes captions of training images and is moved towards those that score well.

The reward of a sampled caption is its CIDEr-D against the image's captions, the end of the sentence counted as a word
so that it is not left out; the baseline is the mean reward of the other samples of the same image. For half of the
images the structure of one of their captions is given, so that the model goes on to listen to it.

Rennie et al., "Self-critical Sequence Training for Image Captioning" (CVPR 2017); the baseline after Luo, "A Better
Variant of Self-Critical Sequence Training" (2020).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.captioner.scnlm import END, END_TAG, NO_TAG, RARE, START, tag_windows
from model.evaluation.captions import Cider
from model.runtime.torch_scnlm import StructureContentModel
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.contents import Contents
from model.training.captioner.data import CaptionSet
from model.training.captioner.likelihood import CLIP_NORM, with_noise
from model.training.progress import Progress, Report
from model.training.run import TrainingRun, seed_step

LONGEST = 18
FORBIDDEN = float("-inf")
LARGEST_AVERAGE = 0.98
"""Decay of the average of the weights: there are few steps."""


def train_reward(
    model: StructureContentModel,
    config: CaptionerTraining,
    captions: CaptionSet,
    tag_numbers: dict[str, int],
    contents: Contents,
    checkpoint: Path,
    report: Report,
) -> None:
    """Train in place for `config.reward_steps`; the model holds the averaged weights afterwards."""
    if not config.reward_steps:
        return
    optimizer = torch.optim.Adam(model.parameters(), lr=config.reward_learning_rate)
    average = min(config.average, LARGEST_AVERAGE)
    run = TrainingRun(model.parameters(), optimizer, config.reward_steps, average, checkpoint, CLIP_NORM)
    model.eval()  # no dropout: the captions are to be those that the model writes
    by_image = [[[*words, END] for words in own] for own in captions.of_images()]
    cider = Cider.of_references(by_image)
    references = [[cider.vector(words) for words in own] for own in by_image]
    structures: list[list[list[int]]] = [[] for _ in by_image]
    for tags, owner in zip(captions.tags, captions.owner.tolist(), strict=True):
        structures[owner].append([tag_numbers.get(tag, NO_TAG) for tag in tags[:LONGEST]])
    described = torch.tensor([row for row, own in enumerate(by_image) if own])
    rewards_seen: list[float] = []
    samples = config.reward_samples
    for step in range(run.finished, config.reward_steps):
        generator = seed_step(config.seed, "reward", step)
        chosen = described[torch.randperm(len(described), generator=generator)[: config.reward_images]]
        shapes = torch.full((len(chosen), LONGEST + 1), NO_TAG)
        for place, row in enumerate(chosen.tolist()):
            if place % 2:
                own = structures[row][int(torch.randint(len(structures[row]), (1,), generator=generator))]
                shapes[place] = END_TAG
                shapes[place, : len(own)] = torch.tensor(own)
        windows = torch.from_numpy(tag_windows(shapes.numpy(), config.structure_window))
        windows[::2] = NO_TAG
        windows = windows.repeat_interleave(samples, dim=0)
        content = with_noise(contents.photographs[chosen], config.noise, generator)
        content = content.repeat_interleave(samples, dim=0)
        written = _sample(model, content, windows, generator)  # (n samples, T)
        rewards = np.array(
            [
                cider.score(_with_end(sentence), references[row])
                for sentence, row in zip(written.tolist(), chosen.repeat_interleave(samples).tolist(), strict=True)
            ]
        ).reshape(-1, samples)
        others = (rewards.sum(axis=1, keepdims=True) - rewards) / (samples - 1)
        advantage = torch.from_numpy(rewards - others).float().flatten()
        inputs = torch.cat([torch.full_like(written[:, :1], START), written[:, :-1]], dim=1)
        logits = model(inputs, windows[:, : written.shape[1]], content)
        logits[..., [START, RARE]] = FORBIDDEN
        log_p = logits.log_softmax(dim=-1).gather(2, written[..., None])[..., 0]
        counted = ((written == END).cumsum(dim=1) - (written == END).long() == 0).float()  # up to the first end
        loss = -(advantage[:, None] * log_p * counted).sum() / counted.sum()
        run.step(loss)
        rewards_seen.append(float(rewards.mean()))
        if run.finished % 10 == 0 or run.finished == config.reward_steps:
            told = f"reward {np.mean(rewards_seen[-50:]):.3f}" if run.finished % 50 == 0 else ""
            report(Progress("self-critical training", run.finished, config.reward_steps, told))
    run.finish()


@torch.no_grad()
def _sample(model: StructureContentModel, content: Tensor, windows: Tensor, generator: torch.Generator) -> Tensor:
    """Captions (n, T) drawn from the model, `END` to the right of each."""
    embeddings, projected, state = model.embeddings(), model.project(content), model.start(len(content))
    words = torch.full((len(content),), START)
    done = torch.zeros(len(content), dtype=torch.bool)
    steps: list[Tensor] = []
    for place in range(LONGEST + 1):
        logits, state = model.step(words, windows[:, place], projected, state, embeddings)
        logits[:, [START, RARE]] = FORBIDDEN
        noise = torch.rand(logits.shape, generator=generator).clamp_min(1e-20)
        words = (logits - (-noise.log()).log()).argmax(dim=1)
        words = torch.where(done, torch.full_like(words, END), words)
        steps.append(words)
        done |= words == END
        if bool(done.all()):
            break
    return torch.stack(steps, dim=1)


def _with_end(sentence: list[int]) -> list[int]:
    """Words up to the first end, which is one of them; one that never ended has none."""
    return sentence[: sentence.index(END) + 1] if END in sentence else sentence
