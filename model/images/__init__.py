"""Files of pictures, as people have them, to upright 8-bit sRGB pictures within limits."""

from model.images.decoding import DecodedImage, decode_image
from model.images.facts import PhotoFacts
from model.images.limits import DEFAULT_LIMITS, ImageLimits

__all__ = ["DEFAULT_LIMITS", "DecodedImage", "ImageLimits", "PhotoFacts", "decode_image"]
