"""Pair rules: which pairs are compared."""
