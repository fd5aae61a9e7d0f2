"""What the tests of the page share: a small bundle, photographs, a gallery, a client."""

from __future__ import annotations

import asyncio
import io

import httpx
import numpy as np
import torch
from PIL import Image

import siamese
from siamese.app.server import Loaded, make_app

BODY = {"content-type": "application/octet-stream"}


def calibration():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 6)
    rows = rng.normal(size=(30, 4))[who] + 0.5 * rng.normal(size=(len(who), 4))
    return siamese.calibrate(rows, who)


def small_bundle(**parts):
    """A bundle that looks for no face, untrained, with a calibration of made-up embeddings."""
    torch.manual_seed(0)
    made = calibration()
    given = {
        "backbone": siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8),
        "distance": siamese.EuclideanDistance(),
        "cropper": siamese.NoCropper(32),
        "operating_point": made.point,
        "calibration": made,
    }
    return siamese.Bundle(**(given | parts))


def photograph(seed, kind="PNG", size=40, **settings):
    """The bytes of a photograph of noise."""
    array = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind, **settings)
    return content.getvalue()


def small_gallery(verifier):
    made = siamese.Gallery(verifier)
    for n, name in enumerate(("Ann", "Bob <b>")):
        made.enrol(name, [np.asarray(Image.open(io.BytesIO(photograph(n))))])
    return made


class Client:
    """Asks an application without a network."""

    def __init__(self, app):
        self.transport = httpx.ASGITransport(app)

    def get(self, path, **settings):
        return asyncio.run(self._ask("GET", path, settings))

    def post(self, path, **settings):
        return asyncio.run(self._ask("POST", path, settings))

    async def _ask(self, method, path, settings):
        place = {"transport": self.transport, "base_url": "http://127.0.0.1:8420"}
        async with httpx.AsyncClient(**place) as client:
            return await client.request(method, path, **settings)


def client_of(loaded: Loaded, host="127.0.0.1"):
    return Client(make_app(loaded, host))


def compare(client, one, other, **settings):
    address = f"/api/verify?first={len(one)}"
    return client.post(address, content=one + other, headers=BODY, **settings)
