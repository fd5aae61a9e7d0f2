"""EnsembleNet: several networks side by side, each with its own view of the image."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.base import BACKBONES, Backbone, to_unit_range
from siamese.backbones.layers.scaling import centre_as_whole_numbers, centre_of, grey_of
from siamese.backbones.layers.tower import Tower
from siamese.bounds import (
    WIDEST,
    check_list,
    check_real,
    check_switch,
    check_whole,
)
from siamese.errors import ConfigError


@BACKBONES.register("ensemble_net")
class EnsembleNet(Backbone):
    """Networks that see more or less of the image.

    An embedding is the networks' embeddings, each of unit length, side by side, scaled to unit
    length: distances lie in 0..2. At use it is averaged over the image and its mirror image.
    Networks with different views make different mistakes. Give each its own loss with
    :class:`siamese.PartwiseLoss`, or they learn to rely on each other. Fixed descriptors beside
    them (:class:`siamese.DescribedNet`) make different mistakes again.

    It is made for aligned images, in which things have their places (see
    :class:`siamese.backbones.layers.tower.Tower`); for others take :class:`siamese.SmallResNet`.

    Args:
        views: what each network sees: the share of the image's side around the centre, in (0, 1];
            at least one.
        size: side of a view as the network sees it, pixels, >= 32.
        grey: whether the networks see grey images.
        width: channels of a network's first layer.
        learned_size: length of each network's embedding.
        dropout: before each network's last layer, 0..1.
        mirror: whether to average over the image and its mirror image at use; False where left and
            right matter.

    Raises:
        ConfigError: a setting out of range.
    """

    def __init__(
        self,
        views: Sequence[float] = (0.9,),
        size: int = 64,
        grey: bool = True,
        width: int = 32,
        learned_size: int = 256,
        dropout: float = 0.4,
        mirror: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(views, (int, float, str)) or not views:
            raise ConfigError(f"views is a list with one share or more, [0.9], not {views!r}")
        if not all(0 < share <= 1 for share in views):
            raise ConfigError(f"each of views must be above 0 and at most 1, not {list(views)}")
        if size < 32 or width < 1 or learned_size < 1:
            raise ConfigError(
                f"size must be at least 32, width and learned_size at least 1, not {size}, "
                f"{width} and {learned_size}"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, not {dropout}")
        check_list("views", views, 64)
        for share in views:
            check_real("each of views", share, 0, 1)
        check_whole("size", size, 32, 4096)
        check_whole("width", width, 1, WIDEST // 8)
        check_whole("learned_size", learned_size, 1, WIDEST)
        check_switch("grey", grey)
        check_switch("mirror", mirror)
        self.views, self.size, self.grey, self.width = list(views), size, grey, width
        self.learned_size, self.dropout, self.mirror = learned_size, dropout, mirror
        channels = 1 if grey else 3
        self.towers = nn.ModuleList(Tower(channels, width, learned_size, dropout) for _ in views)
        self.embedding_size = len(self.views) * learned_size
        self._scales_whole_numbers = True

    @property
    def trained_parts(self) -> int:
        """As many as there are networks."""
        return len(self.views)

    @property
    def unit_length(self) -> bool:
        """Embeddings have length 1."""
        return True

    @property
    def same_at_use(self) -> bool:
        """Not if embeddings are averaged at use, or several parts scaled to one length."""
        return not self.mirror and len(self.views) == 1

    def forward(self, images: Tensor) -> Tensor:
        views = self._views(images)
        return self._learned(views) if self.training else self._at_use(views)

    def embed_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`siamese.Backbone.embed_both`."""
        views = self._views(images)
        return self._at_use(views), self._learned(views)

    def fixed(self) -> EnsembleNet:
        """See :meth:`siamese.Backbone.fixed`: images are scaled in floating point."""
        other = copy.deepcopy(self)
        other._scales_whole_numbers = False
        return other

    def _views(self, images: Tensor) -> list[Tensor]:
        """Of each network, (B, channels, size, size), about -2..2."""
        if not self._scales_whole_numbers:
            scaled = [
                centre_as_whole_numbers(images, share, self.size) / 255 for share in self.views
            ]
            return [((grey_of(one) if self.grey else one) - 0.47) / 0.22 for one in scaled]
        if images.dtype == torch.uint8 and images.device.type == "cpu":
            # Scaled as whole numbers: a tenth of the time. Elsewhere torch cannot do it.
            images = images.contiguous(memory_format=torch.channels_last)
        else:
            images = to_unit_range(images)
        found = [to_unit_range(centre_of(images, share, self.size)) for share in self.views]
        return [((grey_of(one) if self.grey else one) - 0.47) / 0.22 for one in found]

    def _each(self, views: Sequence[Tensor]) -> list[Tensor]:
        return [
            F.normalize(tower(view).float(), dim=1)
            for tower, view in zip(self.towers, views, strict=True)
        ]

    def _learned(self, views: Sequence[Tensor]) -> Tensor:
        """(B, embedding_size), each network's part of unit length."""
        return torch.cat(self._each(views), dim=1)

    def _at_use(self, views: Sequence[Tensor]) -> Tensor:
        parts = self._each(views)
        if self.mirror:
            mirrored = self._each([view.flip(-1) for view in views])
            parts = [F.normalize(a + b, dim=1) for a, b in zip(parts, mirrored, strict=True)]
        return torch.cat(parts, dim=1) / math.sqrt(len(parts))
