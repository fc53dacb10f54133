"""Folders in place: going through them, following what changes in them, and what they are."""
