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
    known = {name: dict(getattr(siamese, name)._classes) for name in REGISTRIES}
    yield folder
    for name, before in known.items():
        classes = getattr(siamese, name)._classes
        # Other tests of the same process have registered theirs when they were collected.
        for own in [n for n, c in classes.items() if not c.__module__.startswith("siamese.")]:
            if own in before:
                classes[own] = before[own]
            else:
                del classes[own]
