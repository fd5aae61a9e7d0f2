"""Distances, thresholds and figures: tensors in, dataclasses out; knows no Lightning."""
