"""Pictures for 05_your_own.ipynb: signs that nobody uses, written by an unsteady hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE, DRAWN = 32, 128  # pixels of a picture; of its drawing, which is then made smaller


def write_signs(folder: str | Path, signs: int = 60, each: int = 12, seed: int = 0) -> Path:
    """Write ``folder/<sign>/<number>.png``: 32 x 32 grey pictures, dark on light.

    A sign is two curves, each through four places. A picture of it shifts these places, turns and
    scales the whole, and takes another pen.

    Args:
        folder: where; made if it is not there, files of the same name are replaced.
        signs: how many, >= 1.
        each: pictures of each, >= 1.
        seed: the same seed gives the same pictures.
    """
    folder = Path(folder)
    for sign in range(signs):
        places = np.random.default_rng([seed, sign]).uniform(-1, 1, (2, 4, 2))
        (folder / f"sign_{sign:02}").mkdir(parents=True, exist_ok=True)
        for number in range(each):
            draw = np.random.default_rng([seed, sign, number])
            _write(places, draw).save(folder / f"sign_{sign:02}" / f"{number:02}.png")
    return folder


def _write(places: np.ndarray, draw: np.random.Generator) -> Image.Image:
    """One picture of a sign."""
    angle, size = draw.normal(0, 0.12), draw.uniform(0.75, 1.0)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (places + draw.normal(0, 0.09, places.shape)) @ turn + draw.normal(0, 0.05, 2)
    image = Image.new("L", (DRAWN, DRAWN), int(draw.integers(205, 256)))
    pen, width = ImageDraw.Draw(image), int(draw.integers(6, 11))
    # Bezier curves of degree three (Bernstein's polynomials).
    t = np.linspace(0, 1, 40)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    for curve in moved:
        points = (weights @ curve * 0.40 + 0.5) * DRAWN
        pen.line([tuple(p) for p in points.tolist()], int(draw.integers(0, 60)), width, "curve")
    small = image.filter(ImageFilter.GaussianBlur(1.5)).resize((SIDE, SIDE))
    noisy = np.asarray(small, dtype=float) + draw.normal(0, 6, (SIDE, SIDE))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
