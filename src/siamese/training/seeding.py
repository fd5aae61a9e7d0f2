"""Seeds of all random numbers: Lightning's function, under this package's name."""

from pytorch_lightning import seed_everything as seed_everything
