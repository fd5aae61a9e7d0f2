"""Gallery: who is on a photograph, among people who were enrolled."""
