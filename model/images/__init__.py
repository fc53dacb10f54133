"""Files of pictures, as people have them, to upright 8-bit sRGB pictures within limits."""
