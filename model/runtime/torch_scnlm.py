"""The structure-content neural language model in torch: for training, and for writing on a GPU.

What it computes, and after whom: `model.captioner.scnlm`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.captioner.scnlm import NO_TAG
from model.captioner_config import ScnlmConfig

State = tuple[Tensor, ...]


class StructureContentModel(nn.Module):
    """The network. `forward` scores whole sentences, `start` and `step` write them word by word."""

    def __init__(self, config: ScnlmConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        k, a, f = config.word_dimension, config.attribute_dimension, config.factors
        self.words = nn.Parameter(torch.randn(config.words, f) * f**-0.5)  # W_fv, transposed
        self.context_factors = nn.Parameter(torch.randn(f, k) * k**-0.5)  # W_fk
        self.attribute_factors = nn.Linear(a, f)  # W_fd
        self.word_bias = nn.Parameter(torch.zeros(config.words))
        self.content = nn.Linear(config.content_dimension, a)  # T_u and b
        self.tags = nn.Parameter(torch.randn(config.structure_window, config.tags, a) * 0.1)  # T_i
        self.dropout = nn.Dropout(dropout)
        if config.context == "lstm":
            self.lstm = nn.LSTM(k + a, config.hidden_dimension, batch_first=True)
            self.output = nn.Linear(config.hidden_dimension, k, bias=False)
            nn.init.ones_(self.attribute_factors.bias)
        else:
            self.context = nn.Parameter(torch.randn(config.context_words, k, k) * (k * config.context_words) ** -0.5)
            nn.init.zeros_(self.attribute_factors.bias)
            self.attribute_factors.bias.requires_grad_(False)

    def embeddings(self) -> Tensor:
        """E transposed: a row for each context word (V, K)."""
        return self.words @ self.context_factors

    def forward(self, words: Tensor, windows: Tensor, content: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Logits of every next word (n, T, V), or of some `candidates` (C,) alone: (n, T, C).

        `words` (n, T): the words so far, `START` first. `windows` (n, T, k): tags of the word to come and of those
        after it (see `tag_windows`). `content` (n, D): unit vectors.
        """
        attributes = self._join(self.project(content)[:, None], windows)  # (n, T, A)
        embedded = self.dropout(nn.functional.embedding(words, self.embeddings()))  # (n, T, K)
        if self.config.context == "lstm":
            states, _ = self.lstm(torch.cat([embedded, attributes], dim=-1))
            predicted = self.output(self.dropout(states))
        else:
            predicted = torch.zeros_like(embedded)
            for back in range(min(self.config.context_words, words.shape[1])):
                earlier = embedded[:, : words.shape[1] - back] @ self.context[back]
                predicted = predicted + nn.functional.pad(earlier, (0, 0, back, 0))
        return self._logits(predicted, attributes, candidates)

    def start(self, rows: int) -> State:
        """The state before the first word, of `rows` sentences."""
        device = self.word_bias.device
        if self.config.context == "lstm":
            zeros = torch.zeros(rows, self.config.hidden_dimension, device=device)
            return zeros, zeros
        return (torch.zeros(rows, self.config.context_words, self.config.word_dimension, device=device),)

    def step(
        self, words: Tensor, windows: Tensor, projected: Tensor, state: State, embeddings: Tensor
    ) -> tuple[Tensor, State]:
        """Logits (n, V) of the next word after `words` (n,), and the state after them.

        `windows` (n, k) as in `forward`; `projected` (n, A) from `project`; `embeddings` (V, K) from `embeddings`.
        """
        attributes = self._join(projected, windows)
        embedded = embeddings[words]
        new_state: State
        if self.config.context == "lstm":
            hidden, cell = state
            of_input, of_state, input_bias, state_bias = self.lstm.all_weights[0]
            gates = nn.functional.linear(torch.cat([embedded, attributes], dim=-1), of_input, input_bias)
            gates = gates + nn.functional.linear(hidden, of_state, state_bias)
            admit, forget, update, show = gates.chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + admit.sigmoid() * update.tanh()
            hidden = show.sigmoid() * cell.tanh()
            predicted, new_state = self.output(hidden), (hidden, cell)
        else:
            window = torch.cat([embedded[:, None], state[0][:, :-1]], dim=1)  # the latest word first
            predicted, new_state = torch.einsum("nck,ckj->nj", window, self.context), (window,)
        return self._logits(predicted, attributes), new_state

    def project(self, content: Tensor) -> Tensor:
        """T_u u + b (n, A) of content (n, D): it stays the same through a sentence."""
        # Unit vectors have entries of about 1 / sqrt(D): brought to unit variance, every space learns at one rate.
        projected: Tensor = self.content(content * self.config.content_dimension**0.5)
        return projected

    def _join(self, projected: Tensor, windows: Tensor) -> Tensor:
        structure = torch.zeros((), device=projected.device)
        for place in range(self.config.structure_window):
            tags = windows[..., place]
            vectors = nn.functional.embedding(tags, self.tags[place])
            structure = structure + vectors * (tags != NO_TAG).unsqueeze(-1)
        return torch.relu(projected + structure)

    def _logits(self, predicted: Tensor, attributes: Tensor, candidates: Tensor | None = None) -> Tensor:
        factors = (predicted @ self.context_factors.T) * self.attribute_factors(attributes)
        some: Tensor | slice = slice(None) if candidates is None else candidates
        logits: Tensor = self.dropout(factors) @ self.words[some].T + self.word_bias[some]
        return logits
