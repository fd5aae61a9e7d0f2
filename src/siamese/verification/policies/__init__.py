"""Which threshold is wanted; each policy is a file."""
