"""The library in a plane."""
