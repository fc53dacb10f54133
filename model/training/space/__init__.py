"""Training a joint space: backbone, projection and sentence encoders (`visem train space`)."""
