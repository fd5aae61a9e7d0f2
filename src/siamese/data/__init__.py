"""Which identity is in which split, and which image in which batch."""
