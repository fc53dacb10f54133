"""The vector index on FAISS: compressed segments in files, an exact head in memory, building in the background."""

from index.vectors.faiss.building import Builder, BuildOptions
from index.vectors.faiss.following import BuilderProcess, FaissVectorIndex

__all__ = ["BuildOptions", "Builder", "BuilderProcess", "FaissVectorIndex"]
