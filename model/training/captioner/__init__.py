"""Training a captioner on a joint space (`visem train captioner`)."""
