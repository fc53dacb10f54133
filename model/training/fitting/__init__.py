"""What is fitted to a trained space without changing a vector: arithmetic and calibration."""
