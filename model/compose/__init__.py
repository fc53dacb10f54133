"""Arithmetic with images and texts: the rule of a sum, its attributes, and the probability that a hit is relevant."""
