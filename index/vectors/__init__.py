"""Vector indexes: engines for nearest neighbours behind `index.interfaces.VectorIndex`. FAISS and Milvus."""

EXACT_UP_TO = 10_000
"""How many vectors are searched exhaustively by default."""

SEAL_AT = 8192
"""How many new records become a segment."""
