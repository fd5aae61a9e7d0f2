"""All pairs of an embedding matrix, counted exactly in tiles and never held in memory."""
