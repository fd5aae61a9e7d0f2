"""The result of a run, and how to use it; imports no Lightning, Hydra or albumentations."""
