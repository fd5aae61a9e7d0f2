"""Samplers: which images are together in which training batch."""
