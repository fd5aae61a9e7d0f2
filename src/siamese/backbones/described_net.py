"""DescribedNet: any network's embedding beside that of fixed descriptors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.base import BACKBONES, Backbone, as_backbone, own_network
from siamese.backbones.descriptor_net import DescriptorNet
from siamese.bounds import check_real
from siamese.errors import ConfigError


@BACKBONES.register("described_net")
class DescribedNet(Backbone):
    """A network, which is trained, beside a :class:`siamese.DescriptorNet`, which is fitted.

    While training the loss sees the network alone. At use both embeddings are brought to unit
    length and put side by side, and the whole is scaled to unit length: distances lie in 0..2.
    Networks and descriptors make different mistakes. Before :meth:`fit` the descriptors' part is
    zero.

    Args:
        network: what is trained; another module than a backbone is wrapped, see
            :class:`siamese.ModuleBackbone`.
        components: length of the descriptors' embedding, >= 1; with fewer than two training images
            for each, some stay zero.
        weight: of the descriptors beside the network, > 0: squared distances add up as ``network +
            weight**2 * descriptors``.
        mirror: whether the descriptors are averaged over the image and its mirror image; False
            where left and right matter.

    Raises:
        ConfigError: a setting out of range, or a network whose embedding's length is not known.
    """

    def __init__(
        self,
        network: nn.Module,
        components: int = 300,
        weight: float = 1.0,
        mirror: bool = True,
    ) -> None:
        super().__init__()
        check_real("weight", weight, 0, 1e6)
        if not weight > 0:
            raise ConfigError(f"weight must be above 0, not {weight}")
        if not isinstance(network, nn.Module):
            raise ConfigError(f"network must be a module, not {network!r:.60}")
        inner = as_backbone(network)
        if not isinstance(size := getattr(inner, "embedding_size", None), int):
            raise ConfigError(
                f"{type(network).__name__} has no embedding_size: set it to the length D of its "
                f"embeddings, network.embedding_size = D (in a class of your own, in __init__)"
            )
        self.inner = inner
        self.components, self.weight, self.mirror = components, weight, mirror
        self.descriptors = DescriptorNet(components, mirror)
        self.embedding_size = size + components

    @property
    def network(self) -> nn.Module:
        """The network, as it was given."""
        return own_network(self.inner)

    @property
    def trained_size(self) -> int:
        """Of the network."""
        return self.inner.trained_size

    @property
    def trained_parts(self) -> int:
        """Of the network."""
        return self.inner.trained_parts

    @property
    def same_at_use(self) -> bool:
        """Never: the descriptors are appended at use."""
        return False

    @property
    def unit_length(self) -> bool:
        """Embeddings have length 1."""
        return True

    def check(self, images: int) -> None:
        self.inner.check(images)

    def learning_rates(self, decay: float = 1.0) -> Iterator[tuple[nn.Parameter, float]]:
        """Of the network; see :meth:`siamese.Backbone.learning_rates`."""
        return self.inner.learning_rates(decay)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.inner(images)
        return found if self.training else self._beside(found, images)

    def embed_both(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :meth:`siamese.Backbone.embed_both`."""
        at_use, seen = self.inner.embed_both(images)
        return self._beside(at_use, images), seen

    def unfit(self) -> None:
        """See :meth:`siamese.Backbone.unfit`."""
        self.inner.unfit()
        self.descriptors.unfit()

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], labels: Tensor) -> None:
        """Fit both; see :meth:`siamese.Backbone.fit`."""
        self.inner.fit(batches, labels)
        self.descriptors.fit(batches, labels)

    def _beside(self, embeddings: Tensor, images: Tensor) -> Tensor:
        parts = [F.normalize(embeddings.float(), dim=1), self.descriptors(images) * self.weight]
        return torch.cat(parts, dim=1) / math.sqrt(1 + self.weight**2)
