"""Distances between embeddings: smaller is always more alike."""
