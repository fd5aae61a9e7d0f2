"""From an image file to a crop; knows nothing of people, splits or training."""
