"""Fixtures of the page's tests: a small bundle, a gallery, and a client."""

import pytest


@pytest.fixture(scope="module")
def verifier():
    from tests.app.stage import small_bundle

    import siamese

    return siamese.Verifier(small_bundle())


@pytest.fixture(scope="module")
def loaded(verifier):
    from tests.app.stage import small_gallery

    from siamese.app.server import Loaded

    return Loaded(verifier, small_gallery(verifier))


@pytest.fixture
def client(loaded):
    from tests.app.stage import client_of

    return client_of(loaded)
