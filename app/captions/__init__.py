"""Captions: writing them."""
