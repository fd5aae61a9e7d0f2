"""Fixtures of the tests of commands."""

import pytest
from tests.cli.stand_in import Training


@pytest.fixture
def training(monkeypatch, tmp_path):
    """A stand-in for training, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    stand_in = Training()
    monkeypatch.setattr("siamese.training.run.train", stand_in)
    return stand_in
