"""seed_everything, Lightning's function that seeds all random numbers."""

from pytorch_lightning import seed_everything as seed_everything
