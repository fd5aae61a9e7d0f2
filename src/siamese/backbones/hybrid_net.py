"""HybridNet: a learned residual network beside gradient histograms, which need no training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.base import BACKBONES, Backbone, to_unit_range
from siamese.backbones.layers.discriminant import Discriminant
from siamese.backbones.layers.gradients import GradientHistogram
from siamese.backbones.layers.likeness import Likeness
from siamese.backbones.layers.views import mean_over_views
from siamese.backbones.small_res_net import SmallResNet
from siamese.errors import ConfigError

# Views of the image whose edges are counted: share of its side around the centre, cells along each
# side, and the factor by which it is made smaller first.
VIEWS = ((1.0, 14, 1.0), (0.72, 12, 1.0), (0.85, 10, 0.6))
BINS = 8


@BACKBONES.register("hybrid_net")
class HybridNet(Backbone):
    """A :class:`SmallResNet`'s embedding beside what is computed in closed form after training.

    The network's last layer is batch-normalised and brought to unit length. In evaluation mode the
    image and its mirror image are embedded and averaged, and two more vectors of about unit length
    are appended: a :class:`Discriminant` of histograms of oriented gradients over three views of
    the image, and the :class:`Likeness` of the network's embedding to training identities. Both are
    fitted after training, see :meth:`fit`; before that they are zero. The whole is scaled to unit
    length: distances lie in 0..2.

    Args:
        widths, depths, stem_stride, dropout: as :class:`SmallResNet` takes them.
        learned_size: length of the network's embedding.
        components: length of the discriminant's vector; 0 for none.
        weight: of the discriminant beside the network, > 0: squared distances add up as ``network +
            weight**2 * discriminant``.
        likenesses: training identities that an image is compared with; 0 for none. Their squared
            distances count like the network's.
        mirror: whether the embedding is averaged over the image and its mirror image.

    Raises:
        ConfigError: a setting out of range; from :meth:`check`, too few training images for
            ``components``.
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 192, 384),
        depths: Sequence[int] = (1, 1, 1, 1),
        stem_stride: int = 2,
        dropout: float = 0.1,
        learned_size: int = 256,
        components: int = 400,
        weight: float = 0.8,
        likenesses: int = 1000,
        mirror: bool = True,
    ) -> None:
        super().__init__()
        if components < 0 or likenesses < 0 or not weight > 0:
            raise ConfigError(
                f"components and likenesses must be at least 0 and weight above 0, not "
                f"{components}, {likenesses} and {weight}"
            )
        self.widths, self.depths = list(widths), list(depths)
        self.stem_stride, self.dropout = stem_stride, dropout
        self.learned_size, self.components, self.weight = learned_size, components, weight
        self.likenesses, self.mirror = likenesses, mirror
        self.network = SmallResNet(
            widths, depths, learned_size, stem_stride, dropout, whiten=False, gradient_cells=0
        )
        self.norm = nn.BatchNorm1d(learned_size, affine=False)
        self.embedding_size = learned_size + components + likenesses
        if components:
            self.histograms = nn.ModuleList(GradientHistogram(cells, BINS) for _, cells, _ in VIEWS)
            self.discriminant = Discriminant(
                sum(BINS * cells**2 for _, cells, _ in VIEWS), components
            )
        if likenesses:
            self.likeness = Likeness(learned_size, likenesses)

    @property
    def trained_size(self) -> int:
        """Length of the network's embedding."""
        return self.learned_size

    @property
    def unit_length(self) -> bool:
        """Embeddings have length 1."""
        return True

    @property
    def same_at_use(self) -> bool:
        """Not if anything is averaged in or appended at use."""
        return not (self.mirror or self.components or self.likenesses)

    def check(self, images: int) -> None:
        if 2 * images <= self.components:  # each image and its mirror image
            raise ConfigError(
                f"{images} training images are too few for {self.components} components of the "
                f"discriminant: add images, or set "
                f"module.backbone.components={max(0, 2 * images // 4)} (0 leaves it out)"
            )

    def forward(self, images: Tensor) -> Tensor:
        pixels = to_unit_range(images)
        if self.training:
            return self._learned_features(pixels)
        views = (pixels, pixels.flip(-1)) if self.mirror else (pixels,)
        learned = mean_over_views(self._learned_features, views, unit_length=len(views) > 1)
        parts, square = [learned], 1.0
        if self.components:
            counted = mean_over_views(self._discriminate, views, unit_length=len(views) > 1)
            parts.append(counted * self.weight)
            square += self.weight**2
        if self.likenesses:
            parts.append(self.likeness(learned))
            square += 1
        return torch.cat(parts, dim=1) / math.sqrt(square)

    def embed_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`siamese.Backbone.embed_both`."""
        return self(images), self._learned_features(to_unit_range(images))

    def _learned_features(self, pixels: Tensor) -> Tensor:
        learned: Tensor = F.normalize(self.norm(self.network(pixels).float()), dim=1)
        return learned

    def _discriminate(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.discriminant(self._count(pixels))
        return found

    def _count(self, pixels: Tensor) -> Tensor:
        """(B, size of a descriptor): histograms of gradients of all views."""
        found = []
        for (share, _, scale), histogram in zip(VIEWS, self.histograms, strict=True):
            height, width = (round(n * share) for n in pixels.shape[-2:])
            top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
            view = pixels[..., top : top + height, left : left + width].float()
            if scale < 1:
                size = [max(8, round(n * scale)) for n in (height, width)]
                view = F.interpolate(
                    view, size=size, mode="bilinear", antialias=True, align_corners=False
                )
            found.append(histogram(view))
        return torch.cat(found, dim=1)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], labels: Tensor) -> None:
        """Fit the discriminant, then remember training identities.

        The discriminant is fitted to the training images and their mirror images.
        """
        device = labels.device if self.norm.running_mean is None else self.norm.running_mean.device
        was_training = self.training
        self.eval()
        counted, learned = [], []
        try:
            for images in batches:
                views = [pixels := to_unit_range(images.to(device)), pixels.flip(-1)]
                used = views if self.mirror else views[:1]
                learned.append(
                    mean_over_views(self._learned_features, used, unit_length=self.mirror)
                )
                if self.components:
                    # In half precision: all are held in memory.
                    counted.append(torch.stack([self._count(view) for view in views]).half())
        finally:
            self.train(was_training)
        if self.components:
            self.discriminant.fit(
                torch.cat(counted, dim=1).flatten(0, 1), labels.to(device).repeat(2)
            )
        if self.likenesses:
            self.likeness.fit(torch.cat(learned), labels)
