"""The rule of arithmetic with images and words."""

from __future__ import annotations
