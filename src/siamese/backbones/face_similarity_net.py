"""FaceSimilarityNet: the network of face-similarity-pytorch, with summed convolutions."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from siamese.backbones.base import BACKBONES, Backbone, to_unit_range
from siamese.backbones.layers.image_size import expect_size

SIZE = 160
CHANNELS = (3, 32, 64, 64, 64, 128, 128)


@BACKBONES.register("face_similarity_net")
class FaceSimilarityNet(Backbone):
    """The network of https://github.com/anujkhare/face-similarity-pytorch (2019).

    Images are 160 x 160. Six stages with 2 x 2 maximum pooling between them bring an image to 5 x 5
    maps of 128 channels; two dense layers, each with a rectifier and then batch normalisation, turn
    them into an embedding of 128 numbers. Pixels enter as 0..1. The original gives its convolutions
    biases; here they have none, since the batch normalisation that follows cancels them.

    Raises:
        ConfigError: on a call, images of another size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding_size = 128
        stages: list[nn.Module] = []
        for channels, width in itertools.pairwise(CHANNELS):
            stages += [nn.MaxPool2d(2)] if stages else []
            stages.append(_Stage(channels, width))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(*_dense(128 * 5 * 5, 512), *_dense(512, self.embedding_size))

    def forward(self, images: Tensor) -> Tensor:
        expect_size(images, SIZE, "face_similarity_net")
        # Channels last: the same numbers in the order that convolutions on CPUs and tensor cores
        # read fastest.
        maps: Tensor = self.stages(
            to_unit_range(images).contiguous(memory_format=torch.channels_last)
        )
        embeddings: Tensor = self.head(maps.flatten(1))
        return embeddings


class _Stage(nn.Module):
    """Three convolutions; the outputs of the second and the third are added to their inputs."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = _convolution(channels, width)
        self.second = _convolution(width, width)
        self.third = _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)  # no sum here: the number of channels may change
        x = x + self.second(x)
        out: Tensor = x + self.third(x)
        return out


def _convolution(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _dense(size: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(size, width), nn.ReLU(inplace=True), nn.BatchNorm1d(width)
