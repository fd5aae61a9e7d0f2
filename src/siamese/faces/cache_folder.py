"""Where the cache lies, unless a folder is given."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """``$SIAMESE_CACHE``, or ``siamese`` in the user's cache folder."""
    if folder := os.environ.get("SIAMESE_CACHE"):
        return Path(folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("siamese", appauthor=False))
