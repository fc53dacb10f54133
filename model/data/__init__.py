"""Captioned image sets, read from disk."""
