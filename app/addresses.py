"""Addresses of images that the service may be asked to fetch."""

MAX_URL_LENGTH = 2048
"""Characters that one may have."""
