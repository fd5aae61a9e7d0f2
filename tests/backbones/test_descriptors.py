"""Fixed descriptors: against loops over pixels, mirrored, kept in files, and fitted."""

import math

import numpy as np
import pytest
import torch
from tests.helpers import random_image

from siamese.backbones import descriptor_net
from siamese.backbones.base import BACKBONES
from siamese.backbones.descriptor_cache import descriptors_kept
from siamese.backbones.descriptor_net import DescriptorNet
from siamese.backbones.layers.binary_patterns import BinaryPatterns, PatternScale
from siamese.backbones.layers.edge_histograms import EdgeHistograms, EdgeScale
from siamese.backbones.layers.scaling import centre_of

RING = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]


def grey(seed, side):
    """Noise in whole numbers: scaling to the same size changes nothing."""
    return np.random.default_rng(seed).integers(0, 256, (side, side)).astype(np.float64)


def as_batch(*images):
    return torch.from_numpy(np.stack(images))[:, None].float()


def naive_patterns(image, cell, radius):
    """Histograms by loops: each cell's patterns by name, the two grids one after the other."""
    side = len(image)
    named = {}
    for y in range(radius, side - radius):
        for x in range(radius, side - radius):
            bits = tuple(image[y + radius * dy, x + radius * dx] >= image[y, x] for dy, dx in RING)
            changes = sum(bits[i] != bits[i - 1] for i in range(8))
            named[y - radius, x - radius] = bits if changes <= 2 else "other"
    shown, grids = side - 2 * radius, []
    for first in (0, cell // 2):
        cells = (shown - first) // cell
        counts = [[{} for _ in range(cells)] for _ in range(cells)]
        for (y, x), name in named.items():
            row, column = (y - first) // cell, (x - first) // cell
            if y >= first and x >= first and row < cells and column < cells:
                counts[row][column][name] = counts[row][column].get(name, 0) + 1
        grids.append(counts)
    return grids


@pytest.mark.parametrize("radius", [1, 2])
def test_patterns_are_counted_in_their_cells(radius):
    image, cell = grey(0, 16 + 2 * radius), 8
    patterns = BinaryPatterns(mirror=False, scales=[PatternScale(1, len(image), cell, radius)])
    found = patterns(as_batch(image))[0].numpy() ** 2
    start = 0
    for grid in naive_patterns(image, cell, radius):
        for row in grid:
            for expected in row:
                histogram = found[start : start + 59]
                # The bins' order is a convention: what counts is how often which pattern occurs.
                assert histogram[58] == pytest.approx(expected.get("other", 0))
                uniform = sorted(n for name, n in expected.items() if name != "other")
                assert sorted(n for n in histogram[:58] if n) == pytest.approx(uniform)
                assert histogram.sum() == pytest.approx(cell**2)
                start += 59
    assert start == patterns.size == found.size


def test_patterns_do_not_see_light_and_contrast():
    patterns = BinaryPatterns(scales=[PatternScale(1, 36, 8, 2)])
    image = grey(1, 36) // 3
    assert torch.equal(patterns(as_batch(image)), patterns(as_batch(2 * image + 40)))


def test_edges_vote_for_the_two_nearest_directions():
    side, cell = 16, 8
    image = grey(2, side)
    found = EdgeHistograms(mirror=False, scales=[EdgeScale(1, side, cell)])(as_batch(image))[0]
    votes = np.zeros((2, 2, 18))
    for y in range(side):
        for x in range(side):
            right = image[y, x + 1] - image[y, x - 1] if 0 < x < side - 1 else 0
            down = image[y + 1, x] - image[y - 1, x] if 0 < y < side - 1 else 0
            bins = math.degrees(math.atan2(down, right)) % 360 / 20
            lower, share = int(bins) % 18, bins - int(bins)
            votes[y // cell, x // cell, lower] += math.hypot(right, down) * (1 - share)
            votes[y // cell, x // cell, (lower + 1) % 18] += math.hypot(right, down) * share
    energy = (votes**2).sum(axis=2).mean()  # all four cells are around each
    expected = np.minimum(votes / (math.sqrt(energy) + 1e-3), 0.4) * 8
    assert np.allclose(found.numpy(), expected.ravel(), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "scales"),
    [
        (BinaryPatterns, [PatternScale(1, 34, 8, 1), PatternScale(1, 34, 16, 1)]),
        (EdgeHistograms, [EdgeScale(1, 34, 17), EdgeScale(1, 34, 34)]),
    ],
)
def test_folding_is_the_average_over_an_image_and_its_mirror_image(kind, scales):
    images = as_batch(*(grey(seed, 34) for seed in range(5)))
    whole, folded = kind(mirror=False, scales=scales), kind(mirror=True, scales=scales)
    average = (whole(images) + whole(images.flip(-1))) / 2
    halves = folded(images)
    assert halves.shape[1] == folded.size < 0.8 * whole.size
    torch.testing.assert_close(halves @ halves.T, average @ average.T, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(folded(images.flip(-1)), halves, rtol=1e-5, atol=1e-4)


def test_a_view_is_the_middle_and_is_averaged_when_it_shrinks():
    images = torch.rand(2, 3, 100, 100)
    changed = images.clone()
    changed[..., :10, :], changed[..., :, 90:] = 0, 1
    assert torch.equal(centre_of(images, 0.8, 32), centre_of(changed, 0.8, 32))
    assert not torch.equal(centre_of(images, 0.9, 32), centre_of(changed, 0.9, 32))
    board = (torch.arange(96)[:, None] + torch.arange(96)) % 2 * 1.0  # finer than 16 pixels show
    assert (centre_of(board[None, None], 1, 16) - 0.5).abs().max() < 0.02


def images_of(identities=8, each=4, side=64):
    """One picture for each identity, with noise of its own on every copy."""
    rng = np.random.default_rng(0)
    base = [random_image(i, side, side).astype(int) for i in range(identities)]
    noisy = [b + rng.integers(-60, 61, b.shape) for b in base for _ in range(each)]
    pixels = np.clip(np.stack(noisy), 0, 255).astype(np.uint8)
    labels = torch.arange(identities).repeat_interleave(each)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), labels


@pytest.fixture(scope="module")
def fitted():
    images, labels = images_of()
    net = DescriptorNet(components=12)
    net.eval().fit([images[:20], images[20:]], labels)
    return net


def test_it_tells_identities_apart_once_it_is_fitted(fitted):
    images, labels = images_of()
    assert not DescriptorNet(components=12)(images).any()
    found = fitted(images)
    assert found.shape == (32, 12)
    assert torch.allclose(found.norm(dim=1), torch.ones(32), atol=1e-5)
    same = labels[:, None] == labels
    distances = torch.cdist(found, found)
    assert distances[same].max() < distances[~same].quantile(0.01)
    assert not list(fitted.parameters())


def test_a_bundle_can_build_it_again(fitted):
    images, _ = images_of()
    again = BACKBONES.build(BACKBONES.settings(fitted))
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(again.eval()(images), fitted(images))


def test_floating_point_images_are_the_same_images(fitted):
    images, _ = images_of(2)
    assert torch.equal(fitted.describe(images), fitted.describe(images.float() / 255))


def test_kept_descriptors_are_the_same_and_are_computed_once(fitted, tmp_path, monkeypatch):
    images, _ = images_of(3)
    computed = []
    count = fitted._count
    monkeypatch.setattr(fitted, "_count", lambda x: computed.append(len(x)) or count(x))
    plain = fitted.describe(images)
    with descriptors_kept(tmp_path):
        first, second = fitted.describe(images[:8]), fitted.describe(images)
    assert computed == [12, 8, 4]
    assert torch.equal(first, plain[:8])
    assert torch.equal(second, plain)
    files = sorted(tmp_path.rglob("*.f16"))
    assert len(files) == 12
    files[3].write_bytes(files[3].read_bytes()[:-2])  # cut short
    nan = np.frombuffer(files[5].read_bytes(), dtype=np.float16).copy()
    nan[7] = np.nan
    files[5].write_bytes(nan.tobytes())
    with descriptors_kept(tmp_path):
        assert torch.equal(fitted.describe(images), plain)
    assert computed == [12, 8, 4, 2]
    # Other settings and later formats find nothing there.
    monkeypatch.setattr(descriptor_net, "FORMAT", descriptor_net.FORMAT + 1)
    with descriptors_kept(tmp_path):
        fitted.describe(images)
    assert computed[-1] == 12


def test_of_many_images_whole_identities_are_taken(fitted, monkeypatch):
    images, labels = images_of()
    monkeypatch.setattr(descriptor_net, "IMAGES", 40)
    kept = descriptor_net._sample(torch.arange(9).repeat_interleave(100))
    assert torch.equal(kept.view(9, 100).sum(dim=1), torch.full((9,), 4))  # of each a tenth
    assert int(descriptor_net._sample(torch.arange(60).repeat_interleave(3)).sum()) == 39
    monkeypatch.setattr(descriptor_net, "_sample", lambda labels: labels != 3)
    described = []
    few = DescriptorNet(components=12)
    describe = few.describe
    monkeypatch.setattr(few, "describe", lambda x: described.append(len(x)) or describe(x))
    few.fit([images[:5], images[5:20], images[20:]], labels)
    assert sum(described) == 28  # seven identities of four
    kept = labels != 3
    monkeypatch.undo()
    alone = DescriptorNet(components=12)
    alone.fit([images[kept]], labels[kept])
    assert torch.allclose(alone(images), few(images), atol=1e-5)


def test_a_full_disk_costs_time_only(fitted, tmp_path):
    images, _ = images_of(2)
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made here")
    with descriptors_kept(blocked):
        assert torch.equal(fitted.describe(images), fitted.describe(images))


def test_of_few_images_some_components_stay_zero():
    images, labels = images_of(4)
    few = DescriptorNet(components=40)
    few.fit([images], labels)
    found = few(images)
    assert found.shape == (16, 40)
    assert not found[:, 8:].any()  # half as many as there are images
    exact = DescriptorNet(components=8)
    exact.fit([images], labels)
    assert torch.allclose(found[:, :8], exact(images), atol=1e-5)
