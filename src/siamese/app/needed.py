"""Packages that the page needs, in extra ``app``; imported by nothing else."""

from __future__ import annotations

import importlib.util

from siamese.errors import MissingDependencyError


def require_packages() -> None:
    """Check that they are installed.

    Raises:
        MissingDependencyError: one is not.
    """
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"the page needs the package {name}, which is not installed; run: pip install "
                f"'siamese-lightning[app]'"
            )
