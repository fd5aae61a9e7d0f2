"""Which pairs are compared: two row numbers of one embedding matrix and a label."""
