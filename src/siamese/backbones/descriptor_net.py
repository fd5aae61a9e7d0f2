"""DescriptorNet: fixed descriptors of an image, fitted in closed form; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from siamese.backbones.base import BACKBONES, Backbone, to_unit_range
from siamese.backbones.descriptor_cache import described
from siamese.backbones.layers.binary_patterns import BinaryPatterns
from siamese.backbones.layers.discriminant import Discriminant
from siamese.backbones.layers.edge_histograms import EdgeHistograms
from siamese.backbones.layers.scaling import grey_of
from siamese.bounds import WIDEST, check_real, check_switch, check_whole
from siamese.errors import ConfigError

# Images that it is fitted to at most, in whole identities: more cost memory, 70 KB each, and change
# little.
IMAGES = 12_000
# Raised whenever the same settings give other numbers: then kept descriptors are no longer found.
FORMAT = 1


@BACKBONES.register("descriptor_net")
class DescriptorNet(Backbone):
    """Local binary patterns and edge histograms on several scales, then a discriminant.

    See :class:`siamese.backbones.layers.binary_patterns.BinaryPatterns`,
    :class:`siamese.backbones.layers.edge_histograms.EdgeHistograms` and
    :class:`siamese.backbones.layers.discriminant.Discriminant`. No weight is trained: what it knows
    comes from :meth:`fit`, in closed form; before that every embedding is zero. It is the baseline
    that a trained network has to beat, and stands beside networks in
    :class:`siamese.DescribedNet`. Cells have fixed places, so things must have theirs: aligned
    faces, say, in crops of about 200 pixels.

    Args:
        components: length of the embedding, >= 1; with fewer than two training images for each,
            some stay zero.
        mirror: average over the image and its mirror image; False where left and right matter.
        shrinkage: of the discriminant's within-class variances, > 0.

    Raises:
        ConfigError: a setting out of range.
    """

    def __init__(self, components: int = 300, mirror: bool = True, shrinkage: float = 0.3) -> None:
        super().__init__()
        check_whole("components", components, 1, WIDEST)
        check_switch("mirror", mirror)
        check_real("shrinkage", shrinkage, 0, 1e6)
        self.components, self.mirror, self.shrinkage = components, mirror, shrinkage
        self.patterns, self.edges = BinaryPatterns(mirror), EdgeHistograms(mirror)
        self.size = self.patterns.size + self.edges.size
        self.discriminant = Discriminant(self.size, components, shrinkage)
        self.embedding_size = components

    @property
    def unit_length(self) -> bool:
        """Embeddings have length 1."""
        return True

    def forward(self, images: Tensor) -> Tensor:
        if not bool(self.discriminant.fitted):  # while networks beside it are trained
            return images.new_zeros((len(images), self.components), dtype=torch.float32)
        found: Tensor = self.discriminant(self.describe(images).float())
        return found

    @torch.no_grad()
    def describe(self, images: Tensor) -> Tensor:
        """The descriptors alone.

        Args:
            images: as for :meth:`siamese.Backbone.forward`.

        Returns:
            (B, size) float16.
        """
        # Devices round differently.
        kind = images.device.type
        key = f"patterns and edges, format {FORMAT}, mirror {self.mirror}, {kind}"
        return described(images, self._count, self.size, key)

    def fixed(self) -> nn.Module:
        """See :meth:`siamese.Backbone.fixed`: whether it is fitted is no choice any more."""
        return _Fitted(self) if bool(self.discriminant.fitted) else _Zeros(self.components)

    def _count(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            grey = grey_of(to_unit_range(images).float()) * 255
            return torch.cat([self.patterns(grey), self.edges(grey)], dim=1)

    def unfit(self) -> None:
        """See :meth:`siamese.Backbone.unfit`."""
        self.discriminant.unfit()

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], labels: Tensor) -> None:
        """Fit the discriminant, to up to 12,000 images; see :meth:`siamese.Backbone.fit`."""
        device, kept = self.discriminant.mean.device, _sample(labels)
        found = torch.empty(int(kept.sum()), self.size, dtype=torch.half, device=device)
        seen = filled = 0
        for batch in batches:
            chosen = kept[seen : seen + len(batch)]
            seen += len(batch)
            if seen <= len(labels) and bool(chosen.any()):
                wanted = self.describe(batch[chosen].to(device))
                found[filled : filled + len(wanted)] = wanted
                filled += len(wanted)
        if seen != len(labels):
            raise ConfigError(
                f"fit was given {seen} images and {len(labels)} labels: give as many, in batches "
                f"that can be passed through again (a list of tensors)"
            )
        self.discriminant.fit(found, labels[kept].to(device))


class _Fitted(nn.Module):
    """A fitted :class:`DescriptorNet` at use; nothing is kept in files."""

    def __init__(self, net: DescriptorNet) -> None:
        super().__init__()
        self.patterns, self.edges, self.discriminant = net.patterns, net.edges, net.discriminant

    def forward(self, images: Tensor) -> Tensor:
        grey = grey_of(to_unit_range(images).float()) * 255
        # Rounded, as kept descriptors are.
        found = torch.cat([self.patterns(grey), self.edges(grey)], dim=1).half().float()
        embeddings: Tensor = self.discriminant(found)
        return embeddings


class _Zeros(nn.Module):
    """A :class:`DescriptorNet` that is not fitted."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros((len(images), self.size), dtype=torch.float32)


def _sample(labels: Tensor) -> Tensor:
    """(N,) bool: of as many identities as there is room for, always the same ones.

    All images of each, but for identities with more than a tenth of the room.
    """
    _, who, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    order = torch.argsort(who, stable=True)
    place = torch.empty_like(order)  # of each image among those of its identity
    place[order] = torch.arange(len(who)) - (torch.cumsum(sizes, 0) - sizes)[who[order]]
    most = max(2, IMAGES // 10)
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(len(sizes)))
    chosen = torch.zeros(len(sizes), dtype=torch.bool)
    chosen[shuffled[torch.cumsum(sizes.clamp(max=most)[shuffled], 0) <= IMAGES]] = True
    return chosen[who] & (place < most)
