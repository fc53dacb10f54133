"""Vector indexes: engines for nearest neighbours behind `index.interfaces.VectorIndex`. FAISS is the one there is."""
