"""The vector index on Milvus."""

from index.vectors.milvus.index import PUSH_AT, MilvusVectorIndex

__all__ = ["PUSH_AT", "MilvusVectorIndex"]
