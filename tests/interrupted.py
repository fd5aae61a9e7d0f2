"""Work that ends in the middle, as by Ctrl-C."""

from __future__ import annotations

from typing import Any

import pytest

from siamese.inference import looks


def stopped_after(monkeypatch: pytest.MonkeyPatch, n: int) -> list[Any]:
    """Let the photograph after the n-th end the program as Ctrl-C would; those that were read."""
    read, done = looks.read_image, []

    def reading(path: Any) -> Any:
        done.append(path)
        if len(done) > n:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(looks, "read_image", reading)
    return done
