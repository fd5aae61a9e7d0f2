"""Losses over embeddings: ``loss(embeddings, labels)`` or ``loss(embeddings, labels, pairs)``."""
