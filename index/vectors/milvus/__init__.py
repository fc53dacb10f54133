"""The vector index on Milvus."""

from index.vectors.milvus.following import PUSH_AT, MilvusVectorIndex

__all__ = ["PUSH_AT", "MilvusVectorIndex"]
