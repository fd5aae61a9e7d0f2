"""Networks from pictures (B, 3, H, W) to embeddings (B, D); importing this package fills ``BACKBONES``."""

from siamese.backbones.base import BACKBONES, Backbone
from siamese.backbones.small_res_net import SmallResNet

__all__ = ["BACKBONES", "Backbone", "SmallResNet"]
