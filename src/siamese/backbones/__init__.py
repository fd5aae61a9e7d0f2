"""Networks from images (B, 3, H, W) to embeddings (B, D)."""
