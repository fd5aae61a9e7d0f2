"""Split protocols, samplers and batches: which image is in which split and in which batch."""
