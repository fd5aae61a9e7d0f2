"""The command `siamese` and its sub-commands; the only place that knows Hydra."""
