"""Searching: from an expression or an image to hits. Knows no HTTP."""
