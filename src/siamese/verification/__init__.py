"""Distances, thresholds and figures: tensors in, dataclasses out; imports no Lightning."""
