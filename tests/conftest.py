"""Fixtures that all tests share.

A crop cache of their own and a small folder of invented identities.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.cli.stand_in import Training
from tests.helpers import write_identities

from siamese.notices import forget_what_was_said

# A second conftest.py would be another module of that name.
pytest_plugins = ["tests.app.page_fixtures", "tests.documents.fixtures"]

# The same examples every time: a red test means that the code has changed, not the dice.
settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Crops made by tests go to a temporary folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIAMESE_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def nothing_was_said() -> None:
    """Every test hears the warnings that are said once in a process."""
    forget_what_was_said()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Hydra logs to a file of the run; after the test its folder may be gone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers and isinstance(handler, logging.FileHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Training:
    """A stand-in for training, in an empty working folder, for tests of commands."""
    monkeypatch.chdir(tmp_path)
    stand_in = Training()
    monkeypatch.setattr("siamese.training.run.train", stand_in)
    return stand_in


@pytest.fixture
def identity_folder(tmp_path: Path) -> Path:
    """Twelve identities with four images each, in the real layout."""
    return write_identities(tmp_path / "identities", [4] * 12)
