"""Fixtures of the page's tests: a small bundle, a gallery, and a client."""

import pytest
from tests.app.stage import client_of, small_bundle, small_gallery

import siamese
from siamese.app.server import Loaded


@pytest.fixture(scope="module")
def verifier():
    return siamese.Verifier(small_bundle())


@pytest.fixture(scope="module")
def loaded(verifier):
    return Loaded(verifier, small_gallery(verifier))


@pytest.fixture
def client(loaded):
    return client_of(loaded)
