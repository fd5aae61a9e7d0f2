"""Policies: how a threshold is chosen; each policy is a file."""
