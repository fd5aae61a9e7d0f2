"""Views: changed copies of an image whose embeddings are averaged at use.

They are always the same ones, so that an embedding stays a function of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

# dlib's jitter_image (dlib/image_transforms/interpolation.h): what its random copies are drawn
# from.
_DEGREES, _SMALLEST, _LARGEST, _SHIFT, _BORDER = 3.0, 0.97, 0.99999, 0.02, 3


def mean_over_views(
    embed: Callable[[Tensor], Tensor],
    views: Iterable[Tensor],
    *,
    unit_length: bool = False,
    at_once: bool = False,
) -> Tensor:
    """Embed several views of the same images and average; all test-time averaging is done here.

    Args:
        embed: (B, ...) to embeddings (B, D).
        views: (B, ...) each.
        unit_length: scale the mean to length 1.
        at_once: embed all views in one call: faster for few images, more memory for many.

    Returns:
        (B, D).
    """
    if at_once:
        every = list(views)
        embeddings = embed(torch.cat(every))
        mean = embeddings.view(len(every), -1, embeddings.shape[1]).mean(dim=0)
    else:
        embedded = [embed(view) for view in views]
        total = embedded[0]
        for one in embedded[1:]:
            total = total + one
        mean = total / len(embedded) if len(embedded) > 1 else total
    return F.normalize(mean, dim=1) if unit_length else mean


@functools.lru_cache(maxsize=8)
def jitter_maps(count: int, side: int) -> tuple[Tensor, Tensor]:
    """The changes of ``count`` jittered copies of images of ``side`` pixels.

    The range is that of dlib's ``jitter_image``: the image less 3 pixels on every side, moved by up
    to 2 % of its side along both axes, enlarged by up to 3 % and turned by up to 3 degrees, every
    other copy mirrored. dlib draws them at random, anew for every call; here they are the points of
    a Sobol sequence (Sobol, *USSR Computational Mathematics and Mathematical Physics* 7, 1967),
    which covers the range evenly: fewer copies are enough, and the same image always has the same
    embedding.

    Returns:
        (count, 2, 3) float32, from a copy's coordinates to the image's, both -1..1 from the
        outermost pixel centres, as ``affine_grid`` takes them; (count,) bool, which copies are
        mirrored.
    """
    with torch.inference_mode(False):  # they are kept, and a training may follow
        return _drawn_maps(count, side)


def _drawn_maps(count: int, side: int) -> tuple[Tensor, Tensor]:
    sobol = torch.quasirandom.SobolEngine(4, scramble=False)  # type: ignore[no-untyped-call]
    points = sobol.draw(count + 1, dtype=torch.float64)[1:]  # the first one is a corner
    angle = torch.deg2rad((2 * points[:, 0] - 1) * _DEGREES)
    shown = side - 2 * _BORDER
    scale = shown / (_SMALLEST + points[:, 1] * (_LARGEST - _SMALLEST)) / side
    shift = (2 * points[:, 2:] - 1) * _SHIFT * shown * 2 / side
    mirrored = torch.arange(count) % 2 == 1
    across = torch.where(mirrored, -scale, scale)
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([across * cos, -scale * sin, shift[:, 0]], dim=1)
    second = torch.stack([across * sin, scale * cos, shift[:, 1]], dim=1)
    return torch.stack([first, second], dim=1).float(), mirrored


def warp(images: Tensor, change: Tensor) -> Tensor:
    """Images (B, C, H, W), all changed alike by one (2, 3) map of :func:`jitter_maps`.

    Bilinear; black beyond the border.
    """
    size = [1, *images.shape[1:]]
    grid = F.affine_grid(change[None].to(images), size, align_corners=True).expand(
        images.shape[0], -1, -1, -1
    )
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def check_views(jitter: int) -> None:
    """Raise :class:`ValueError` for a number of copies that is not valid."""
    if isinstance(jitter, bool) or not isinstance(jitter, int) or not 0 <= jitter <= 10_000:
        raise ValueError(
            f"jitter must be a whole number of copies from 0 to 10,000, not {jitter!r}"
        )
