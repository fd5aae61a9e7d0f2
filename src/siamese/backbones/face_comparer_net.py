"""FaceComparerNet: the branch of aleju's face-comparer, six convolutions on small grey images."""

from __future__ import annotations

from torch import Tensor, nn

from siamese.backbones.base import BACKBONES, Backbone, to_unit_range
from siamese.backbones.layers.image_size import expect_size
from siamese.bounds import check_real

SIZE = 32


@BACKBONES.register("face_comparer_net")
class FaceComparerNet(Backbone):
    """The branch of the siamese network of https://github.com/aleju/face-comparer (2016).

    For :class:`siamese.LearnedDistance`. Six convolutions with leaky rectifiers (slope 0.33), no
    batch normalisation between them, then a dense layer with batch normalisation and tanh: an
    embedding lies in (-1, 1)^512. Images are 32 x 32; the network sees only their grey values
    (ITU-R BT.601 luma, 0..1). Weights start orthogonal (Saxe, McClelland and Ganguli, *Exact
    solutions to the nonlinear dynamics of learning in deep linear neural networks*, ICLR 2014),
    biases at 0.

    Args:
        dropout: probability of dropping a feature of the last maps while training, 0..1.

    Raises:
        ConfigError: ``dropout`` out of range; on a call, images of another size.
    """

    def __init__(self, dropout: float = 0.25) -> None:
        super().__init__()
        check_real("dropout", dropout, 0, 1)
        self.dropout = dropout
        self.embedding_size = 512
        self.maps = nn.Sequential(
            *_convolution(1, 32, 3),  # 32 -> 30
            *_convolution(32, 32, 3),  # -> 28
            *_convolution(32, 64, 5, stride=2, padding=2),  # -> 14
            *_convolution(64, 64, 3),  # -> 12
            *_convolution(64, 128, 5, stride=2, padding=2),  # -> 6
            *_convolution(128, 128, 3),  # -> 4
        )
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(128 * 4 * 4, self.embedding_size)
        self.norm = nn.BatchNorm1d(self.embedding_size)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        expect_size(images, SIZE, "face_comparer_net")
        red, green, blue = to_unit_range(images).unbind(dim=1)
        grey = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
        embeddings: Tensor = self.norm(self.head(self.drop(self.maps(grey)).flatten(1))).tanh()
        return embeddings


def _convolution(
    channels: int, width: int, kernel: int, stride: int = 1, padding: int = 0
) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, width, kernel, stride, padding), nn.LeakyReLU(0.33, inplace=True)
