"""Croppers: from a decoded image to the square that the network sees."""
