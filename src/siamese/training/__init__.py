"""From data to a bundle: the LightningModule, its callbacks and metrics, and one run."""
