"""The structure-content neural language model: what to say from a vector, how to say it from parts of speech.

    P(w_n | w_1..w_{n-1}, t_n..t_{n+k-1}, u)

`u` (the content, D) is a vector of the joint space, `t` (the structure) the parts of speech of the next k words. The
two stay separate inputs and meet in the attribute vector (A):

    u_hat = ReLU(sum_i T_i t_{n+i} + T_u u + b)

Words are a tensor in F factors, gated by the attributes; V words, K numbers for a context word, G = A:

    E     = W_fk^T W_fv                              (K, V)  a column for each context word
    f     = (W_fk r_hat) * (W_fd u_hat + b_fd)       (F,)
    P     = softmax(W_fv^T f + b_v)                  (V,)

What predicts, r_hat (K), comes from the words so far, in one of two forms (`ScnlmConfig.context`):

    log-bilinear    r_hat = sum_i C_i E[:, w_{n-i}] over the last words: the paper's form, b_fd zero and fixed
    lstm            r_hat = W_o h_n,  h_n = LSTM(E[:, w_{n-1}], u_hat): the whole sentence so far

Kiros, Salakhutdinov, Zemel, "Unifying Visual-Semantic Embeddings with Multimodal Neural Language Models",
arXiv 1411.2539 (2014); the multiplicative form also in Kiros et al., "Multimodal Neural Language Models" (ICML 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.captioner_config import ScnlmConfig

START, END, RARE = 0, 1, 2
"""Word numbers that are no words: before the first, after the last, and too rare to be written."""
SPECIAL_WORDS = ("<start>", "<end>", "<rare>")
NO_TAG, END_TAG = 0, 1
"""Tag numbers that are no parts of speech: structure left open, and after the last word."""
SPECIAL_TAGS = ("<open>", "<end>")

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

    def forward(self, words: Tensor, windows: Tensor, content: Tensor) -> Tensor:
        """Logits of every next word (n, T, V).

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
        return self._logits(predicted, attributes)

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

    def _logits(self, predicted: Tensor, attributes: Tensor) -> Tensor:
        factors = (predicted @ self.context_factors.T) * self.attribute_factors(attributes)
        logits: Tensor = self.dropout(factors) @ self.words.T + self.word_bias
        return logits


def tag_windows(tags: Tensor, window: int) -> Tensor:
    """Tags of every word (n, T) to the windows that start there (n, T, window); `END_TAG` beyond the last."""
    beyond = torch.full((tags.shape[0], window - 1), END_TAG, dtype=tags.dtype, device=tags.device)
    return torch.cat([tags, beyond], dim=1).unfold(1, window, 1)
