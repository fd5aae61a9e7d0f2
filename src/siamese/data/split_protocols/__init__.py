"""Split protocols: which images are for training, calibration and test."""
