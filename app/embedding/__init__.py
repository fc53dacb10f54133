"""Vectors of images and texts: batches, bounded queues, and what is remembered."""
