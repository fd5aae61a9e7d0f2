"""A page in the browser to try a bundle: two photographs, a search, a folder's figures."""
