"""From an image file to a crop; knows nothing of identities, splits or training."""
