"""Training: the LightningModule, its callbacks and metrics, and one run from data to a bundle."""
