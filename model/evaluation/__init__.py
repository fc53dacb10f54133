"""How good a bundle is: the protocols of the field, on vectors and sentences alone."""
