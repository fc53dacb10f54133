"""Several processes that serve one address and one library: what starts them, and what they share."""
