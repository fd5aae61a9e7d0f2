"""What every backbone shares: images in, embeddings out, its own normalisation of the input included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from siamese.errors import ConfigError
from siamese.registry import Registry


class Backbone(nn.Module):
    """A network from images to embeddings.

    A backbone takes RGB images as they come from the cropper and normalises them itself, so that
    nothing about preprocessing can get lost between training and use. Subclasses keep each
    constructor argument in an attribute of its name and register in ``BACKBONES``; that is how a
    bundle finds them.

    Attributes:
        embedding_size: D, length of an embedding.
    """

    embedding_size: int

    @property
    def trained_size(self) -> int:
        """Length of what the loss sees while training; by default the whole embedding."""
        return self.embedding_size

    @property
    def same_at_use(self) -> bool:
        """Whether embeddings mean the same while training and at use: a threshold, or a learned
        distance, of one serves the other.
        """
        return self.trained_size == self.embedding_size

    def check(self, images: int) -> None:
        """Raise :class:`siamese.errors.ConfigError` now if :meth:`fit` will not do with so many
        training images.
        """

    def fit(self, batches: Iterable[Tensor], labels: Tensor) -> None:
        """Work out what can be had from the training images in closed form; called once, when
        training has ended.

        Args:
            batches: of the N training images, each once, in order and unaugmented: (B, 3, H, W)
                uint8.
            labels: (N,) int64, one number per identity.
        """

    def for_inference(self) -> Backbone:
        """A network that gives the same embeddings, up to rounding, as fast as can be; by default
        this one.
        """
        return self

    def learning_rates(self, decay: float = 1.0) -> Iterator[tuple[nn.Parameter, float]]:
        """Each parameter with its share of the learning rate; by default 1.

        Args:
            decay: what each layer learns at, as a share of the next one's rate (Howard and Ruder,
                *Universal Language Model Fine-tuning for Text Classification*, ACL 2018, section
                3.2, where it is 1 / 2.6). A backbone that knows no order of its layers takes 1
                only.

        Raises:
            ConfigError: another decay than 1, by default.
        """
        if decay != 1:
            raise ConfigError(
                f"{type(self).__name__} has one learning rate for all layers: leave out "
                f"module.layer_decay, or use dlib_res_net"
            )
        return ((parameter, 1.0) for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (B, 3, H, W), uint8 0..255 or floating point 0..1.

        Returns:
            (B, embedding_size) float in evaluation mode; while training, what the loss is to see:
            it may be a part of that.
        """
        raise NotImplementedError


BACKBONES: Registry[Backbone] = Registry("backbone", "BACKBONES", "siamese.backbones")


def to_unit_range(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 0..255 or floating point 0..1 -> floating point 0..1."""
    return images.to(torch.get_default_dtype()).div_(255) if images.dtype == torch.uint8 else images


def standardise(images: Tensor, eps: float = 1e-3) -> Tensor:
    """Bring each image to mean 0 and standard deviation 1 over its pixels and channels: undoes
    brightness and contrast.
    """
    variance, mean = torch.var_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
    return (images - mean) * torch.rsqrt(variance + eps)
