"""The vector index on FAISS: compressed segments in files, an exact head in memory, building in the background.

FAISS itself is imported once there are segments, or where they are built: a small library needs none.
"""
