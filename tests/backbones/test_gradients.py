"""The histogram of gradients against a loop over pixels.

And against what light may and may not change.
"""

import math

import numpy as np
import pytest
import torch

from siamese.backbones.layers.gradients import GradientHistogram
from siamese.backbones.small_res_net import SmallResNet


def by_pixel(image, cells, bins, softening):
    """The definition, written down pixel by pixel."""
    grey = image.double().mean(dim=0).numpy()
    height, width = grey.shape
    sums = np.zeros((bins, cells, cells))
    weights = [np.zeros((cells, n)) for n in (height, width)]
    for axis, n in enumerate((height, width)):
        for c in range(cells):
            centre = (c + 0.5) * n / cells - 0.5
            for p in range(n):
                weights[axis][c, p] = math.exp(-((p - centre) ** 2) / (2 * (n / cells / 2) ** 2))
            weights[axis][c] /= weights[axis][c].sum()
    for y in range(height):
        for x in range(width):
            dx = grey[y, min(x + 1, width - 1)] - grey[y, max(x - 1, 0)]
            dy = grey[min(y + 1, height - 1), x] - grey[max(y - 1, 0), x]
            position = math.atan2(dy, dx) % math.pi / math.pi * bins
            low = int(position) % bins
            for k, share in (
                (low, 1 - (position - int(position))),
                ((low + 1) % bins, position - int(position)),
            ):
                sums[k] += share * math.hypot(dx, dy) * np.outer(weights[0][:, y], weights[1][:, x])
    return (sums / np.sqrt((sums**2).sum(axis=0) + softening**2)).ravel()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (19, 24)])
@pytest.mark.parametrize(("cells", "bins"), [(2, 4), (4, 8)])
def test_against_a_loop_over_pixels(height, width, cells, bins):
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(cells))
    found = GradientHistogram(cells, bins)(image[None])[0]
    np.testing.assert_allclose(found.numpy(), by_pixel(image, cells, bins, 0.12), atol=2e-4)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (45, 2), (90, 4), (135, 6), (180, 0)])
def test_an_edge_votes_for_its_orientation(degrees, expected):
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    slope = x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))
    ramp = ((slope - slope.min()) / (slope.max() - slope.min())).expand(1, 3, 32, 32)
    votes = GradientHistogram(cells=1, bins=8)(ramp)[0]
    assert votes.argmax() == expected
    assert votes[expected] > 0.5 * votes.norm()


def test_brightness_changes_nothing_and_contrast_little():
    y, x = torch.meshgrid(torch.linspace(0, 6, 48), torch.linspace(0, 9, 48), indexing="ij")
    # Edges of all orientations, not noise.
    image = (torch.sin(x + y.square() / 3) * 0.25 + 0.25).expand(1, 3, 48, 48)
    histogram = GradientHistogram()
    torch.testing.assert_close(histogram(image + 0.3), histogram(image), atol=1e-4, rtol=0)
    near, fmr = histogram(image * 0.8), histogram(image.flip(3))
    assert (near - histogram(image)).norm() < 0.2 * (fmr - histogram(image)).norm()


def test_flat_images_have_finite_values_and_gradients():
    flat = torch.full((2, 3, 32, 32), 0.5, requires_grad=True)
    out = GradientHistogram()(flat)
    out.sum().backward()
    assert out.abs().max() < 1e-2
    assert flat.grad.isfinite().all()


def test_it_is_part_of_the_embedding_at_use_only():
    net = SmallResNet(widths=(8,), depths=(1,), learned_size=8, gradient_cells=4)
    images = torch.rand(6, 3, 32, 32)
    assert net(images).shape == (6, 8)
    embeddings = net.eval()(images)
    assert embeddings.shape == (6, net.embedding_size) == (6, 8 + 8 * 16)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(6))
    with pytest.raises(ValueError, match="needs whiten"):
        SmallResNet(whiten=False)
