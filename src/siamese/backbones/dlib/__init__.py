"""dlib's file of weights, read and written."""
