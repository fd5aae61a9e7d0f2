"""Runs of these tests draw no pictures: that takes longer than the training."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def no_pictures() -> Iterator[None]:
    """Leave pictures out; those of a run are looked at in tests/cli."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("siamese.report.plots.save", lambda figure, path: path)
        yield
