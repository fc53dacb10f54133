"""Captions of images: the structure-content neural language model, decoding, and ranking.

`Captioner` is what everyone else calls.
"""

from model.captioner.captioner import Caption, Captioner
from model.captioner.wording import as_sentence

__all__ = ["Caption", "Captioner", "as_sentence"]
