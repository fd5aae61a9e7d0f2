"""What a run leaves behind, and how it is used; imports no Lightning, Hydra or albumentations."""
