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

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from model.captioner_config import ScnlmConfig
from model.runtime.interfaces import Array, Network, Vectors

START, END, RARE = 0, 1, 2
"""Word numbers that are no words: before the first, after the last, and too rare to be written."""
SPECIAL_WORDS = ("<start>", "<end>", "<rare>")
NO_TAG, END_TAG = 0, 1
"""Tag numbers that are no parts of speech: structure left open, and after the last word."""
SPECIAL_TAGS = ("<open>", "<end>")

State = tuple[Vectors, ...]


class LanguageModel:
    """The network, ready for writing word by word, on either runtime. Thread-safe."""

    def __init__(
        self,
        config: ScnlmConfig,
        network: Network,
        content: Vectors,
        bias: Vectors,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`content` (A, D) and `bias` (A,) are T_u and b; `network` is the bundle's `captioner`.

        `check` is called before each step; what it raises ends the writing.
        """
        self.config = config
        self._check = check
        self._network = network
        # Unit vectors have entries of about 1 / sqrt(D): brought to unit variance, every space learns at one rate.
        self._content = np.ascontiguousarray(content.T * np.float32(config.content_dimension**0.5))
        self._bias = bias

    def project(self, contents: Vectors) -> Vectors:
        """T_u u + b (n, A) of contents (n, D): it stays the same through a sentence."""
        projected: Vectors = contents @ self._content + self._bias
        return projected

    def start(self, rows: int) -> State:
        """The state before the first word, of `rows` sentences."""
        config = self.config
        if config.context == "lstm":
            zeros = np.zeros((rows, config.hidden_dimension), dtype=np.float32)
            return zeros, zeros
        return (np.zeros((rows, config.context_words, config.word_dimension), dtype=np.float32),)

    def step(
        self, words: npt.NDArray[np.int64], windows: npt.NDArray[np.int64], projected: Vectors, state: State
    ) -> tuple[Vectors, State]:
        """log P (n, V) of the next word after `words` (n,), and the state after them.

        `windows` (n, k): tags of the word to come and of those after it (see `tag_windows`); `projected` (n, A).
        """
        self._check()
        log_p, *after = self._network(words, windows, projected, *state)
        return log_p, tuple(after)


def tag_windows(tags: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.int64]:
    """Tags of every word (n, T) to the windows that start there (n, T, window); `END_TAG` beyond the last."""
    beyond = np.full((len(tags), window - 1), END_TAG, dtype=tags.dtype)
    padded: Array = np.concatenate([tags, beyond], axis=1)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, window, axis=1))
