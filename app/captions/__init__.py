"""Captions: writing them, now or in the background."""
