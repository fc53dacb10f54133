"""The structure-content network."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from model.captioner.scnlm import END_TAG, NO_TAG, START, tag_windows
from model.captioner_config import ScnlmConfig


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global StructureContentModel, torch
    import torch

    from model.runtime.torch_scnlm import StructureContentModel


Context = Literal["lstm", "log-bilinear"]


def small(context: Context) -> StructureContentModel:
    torch.manual_seed(1)
    config = ScnlmConfig(
        context=context,
        words=11,
        tags=6,
        content_dimension=8,
        word_dimension=5,
        attribute_dimension=4,
        factors=7,
        hidden_dimension=6,
        context_words=3,
        structure_window=2,
    )
    return StructureContentModel(config).eval()


@pytest.mark.parametrize("context", ["lstm", "log-bilinear"])
def test_word_by_word_is_the_same_as_all_at_once(context: Context) -> None:
    model = small(context)
    words = torch.tensor([[START, 4, 5, 6], [START, 7, 4, 3]])
    windows = torch.from_numpy(tag_windows(np.array([[2, 3, 4, END_TAG], [NO_TAG] * 4]), 2))
    content = torch.nn.functional.normalize(torch.randn(2, 8), dim=1)
    whole = model(words, windows, content)
    assert whole.shape == (2, 4, 11)
    state, projected, embeddings = model.start(2), model.project(content), model.embeddings()
    for place in range(4):
        logits, state = model.step(words[:, place], windows[:, place], projected, state, embeddings)
        torch.testing.assert_close(logits, whole[:, place], rtol=1e-4, atol=1e-5)


def test_the_papers_form_is_its_equations() -> None:
    model = small("log-bilinear")
    words, tags, content = torch.tensor([START, 4, 5]), [2, 3], torch.randn(8)
    embedded = model.context_factors.T @ model.words.T  # E = W_fk^T W_fv (K, V)
    r_hat = sum((embedded[:, words[2 - i]] @ model.context[i] for i in range(3)), torch.zeros(5))
    u_hat = torch.relu(model.tags[0, 2] + model.tags[1, 3] + model.content(content * 8**0.5))
    f = (model.context_factors @ r_hat) * (model.attribute_factors.weight @ u_hat)
    expected = model.words @ f + model.word_bias
    windows = torch.tensor([[[NO_TAG, NO_TAG], [NO_TAG, NO_TAG], tags]])
    torch.testing.assert_close(model(words[None], windows, content[None])[0, 2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", ["lstm", "log-bilinear"])
def test_structure_and_content_are_two_inputs(context: Context) -> None:
    model = small(context)
    words, content = torch.tensor([[START]]), torch.nn.functional.normalize(torch.randn(2, 8), dim=1)
    some, other = torch.tensor([[[2, 3]]]), torch.tensor([[[4, 3]]])
    base = model(words, some, content[:1])
    assert not torch.allclose(base, model(words, other, content[:1]))
    assert not torch.allclose(base, model(words, some, content[1:]))


def test_windows_run_beyond_the_end() -> None:
    windows = tag_windows(np.array([[2, 3, 4]]), 3)
    assert windows.tolist() == [[[2, 3, 4], [3, 4, END_TAG], [4, END_TAG, END_TAG]]]
