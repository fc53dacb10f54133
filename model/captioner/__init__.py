"""Captions of images: the structure-content neural language model, decoding, and ranking.

`Captioner` is what everyone else calls.
"""

from model.captioner.captioner import Caption, Captioner

__all__ = ["Caption", "Captioner"]
