"""Training a joint space from captioned photographs (`visem train space`). Needs the extra `train`."""
