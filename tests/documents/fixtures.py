"""Fixtures of the tests of the documentation: its world, as the working folder."""

import shutil

import pytest
from tests.documents.world import build

import siamese

REGISTRIES = (
    "BACKBONES", "CROPPERS", "DISTANCES", "LOSSES", "PAIR_RULES", "POLICIES", "SPLIT_PROTOCOLS",
)  # fmt: skip


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("documents") / "world")


@pytest.fixture
def world(built, tmp_path, monkeypatch):
    """A copy of the world as the working folder; what an example registers is forgotten."""
    folder = shutil.copytree(built, tmp_path / "world")
    monkeypatch.chdir(folder)
    yield folder
    for registry in REGISTRIES:
        classes = getattr(siamese, registry)._classes
        for own in [n for n, c in classes.items() if not c.__module__.startswith("siamese.")]:
            del classes[own]
