"""Networks from pictures (B, 3, H, W) to embeddings (B, D); importing this package fills ``BACKBONES``."""

from siamese.backbones.base import BACKBONES, Backbone
from siamese.backbones.dlib_file import DlibFile
from siamese.backbones.dlib_res_net import DlibResNet
from siamese.backbones.face_comparer_net import FaceComparerNet
from siamese.backbones.face_similarity_net import FaceSimilarityNet
from siamese.backbones.hybrid_net import HybridNet
from siamese.backbones.small_res_net import SmallResNet

__all__ = [
    "BACKBONES",
    "Backbone",
    "DlibFile",
    "DlibResNet",
    "FaceComparerNet",
    "FaceSimilarityNet",
    "HybridNet",
    "SmallResNet",
]
