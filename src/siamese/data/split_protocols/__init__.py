"""Which images are trained on, calibrated on and tested on."""
