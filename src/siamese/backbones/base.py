"""Backbone: the base of all networks from images to embeddings; any other network is wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from siamese.errors import ConfigError, first_line
from siamese.registry import Registry


class Backbone(nn.Module):
    """A network from images to embeddings.

    A backbone takes RGB images as they come from the cropper and normalises them itself, so that
    training and use cannot differ in preprocessing. Subclasses keep each constructor argument in an
    attribute of its name and register in ``BACKBONES``; that is how a bundle finds them. A network
    that is no Backbone is wrapped, see :class:`ModuleBackbone`.

    Attributes:
        embedding_size: D, length of an embedding.
    """

    embedding_size: int

    @property
    def trained_size(self) -> int:
        """Length of what the loss sees while training; by default the whole embedding."""
        return self.embedding_size

    @property
    def trained_parts(self) -> int:
        """How many equal parts the loss sees, each the embedding of a network of its own."""
        return 1

    @property
    def same_at_use(self) -> bool:
        """Whether embeddings mean the same while training and at use.

        If so, a threshold or a learned distance of one serves the other.
        """
        return self.trained_size == self.embedding_size

    def embed_both(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings as they are at use, and what the loss sees of the same images.

        For a validation loss that can be compared with the training loss. In evaluation mode; a
        backbone whose :attr:`same_at_use` is False overrides it, or has no validation loss.

        Args:
            images: as for :meth:`forward`.

        Returns:
            (B, embedding_size) and (B, trained_size) floating point; None where that is not known.
        """
        embeddings = self(images)
        return embeddings, embeddings if self.same_at_use else None

    def check(self, images: int) -> None:
        """Check that :meth:`fit` can work with so many training images.

        Raises:
            ConfigError: it cannot.
        """

    def fit(self, batches: Iterable[Tensor], labels: Tensor) -> None:
        """Compute what follows from the training images in closed form; called after training.

        Args:
            batches: of the N training images, each once, in order and unaugmented: (B, 3, H, W)
                uint8. They can be gone through again.
            labels: (N,) int64, one number per identity.
        """

    def unfit(self) -> None:
        """Forget what :meth:`fit` computed: a training begins with it, so that another's is not
        validated with what was fitted to the images of the one before."""

    def for_inference(self) -> Backbone:
        """A network that gives the same embeddings, up to rounding, faster; by default this one."""
        return self

    def fixed(self) -> nn.Module:
        """A network for exporters: the same embeddings, up to rounding, in evaluation mode.

        Without what an exporter cannot follow: numbers that are worked out once and kept, choices
        that depend on weights. By default this one. Parts of a network that have such a method are
        replaced by what it gives, too.
        """
        return self

    def learning_rates(self, decay: float = 1.0) -> Iterator[tuple[nn.Parameter, float]]:
        """Each parameter with its share of the learning rate; by default 1.

        Args:
            decay: the learning rate of each layer as a share of the next layer's (Howard and Ruder,
                *Universal Language Model Fine-tuning for Text Classification*, ACL 2018, section
                3.2, where it is 1 / 2.6). A backbone that knows no order of its layers accepts 1
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
            (B, embedding_size) float in evaluation mode; while training, what the loss sees, which
            may be a part of that.
        """
        raise NotImplementedError


class ModuleBackbone(Backbone):
    """Any network from images to embeddings as a backbone: what a plain ``nn.Module`` becomes.

    Args:
        network: (B, 3, H, W) floating point 0..1 RGB to (B, D) floating point; it does any further
            normalisation itself.

    Attributes:
        embedding_size: D, known after the first call (or :meth:`probe`).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        if isinstance(size := getattr(network, "embedding_size", None), int):
            self.embedding_size = size
        self.unit_length = getattr(network, "unit_length", False)

    @property
    def same_at_use(self) -> bool:
        """Always, also before the first call, when its length is not known yet."""
        return True

    def forward(self, images: Tensor) -> Tensor:
        """See :meth:`Backbone.forward`.

        Raises:
            ConfigError: the network's output is no (B, D) tensor.
        """
        found = self.network(to_unit_range(images))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"{type(self.network).__name__} gives {shape} for {len(images)} images: a backbone "
                f"gives one embedding per image, (B, D); end the network with nn.Flatten() or "
                f"global pooling"
            )
        size = getattr(self, "embedding_size", found.shape[1])
        if size != found.shape[1]:
            raise ConfigError(
                f"{type(self.network).__name__} gives embeddings of {found.shape[1]} numbers here "
                f"and of {size} elsewhere: a network whose training and use differ must be a "
                f"siamese.Backbone (trained_size, same_at_use), not be wrapped in another module"
            )
        self.embedding_size = found.shape[1]
        return found

    def learning_rates(self, decay: float = 1.0) -> Iterator[tuple[nn.Parameter, float]]:
        """The network's own ``learning_rates(decay)``, or 1 for every parameter.

        Raises:
            ConfigError: another decay than 1, and the network has no such method.
        """
        own = getattr(self.network, "learning_rates", None)
        if callable(own):
            shares: Iterator[tuple[nn.Parameter, float]] = own(decay)
            return shares
        if decay != 1:
            raise ConfigError(
                f"layer_decay={decay}: {type(self.network).__name__} does not say which of its "
                f"layers come first; leave layer_decay out, or give the network a method "
                f"learning_rates (see siamese.Backbone)"
            )
        return super().learning_rates()

    def fixed(self) -> nn.Module:
        """See :meth:`Backbone.fixed`: without the checks of what the network gives."""
        return _Unchecked(self.network)

    @torch.no_grad()
    def probe(self, size: int) -> None:
        """Learn ``embedding_size`` from two black images of ``size`` x ``size`` pixels.

        Raises:
            ConfigError: the network takes no such images, or gives no embeddings.
        """
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        was_training = self.training
        self.eval()
        try:
            self(torch.zeros(2, 3, size, size, dtype=torch.uint8, device=device))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ConfigError(
                f"{type(self.network).__name__} does not take images of (B, 3, {size}, {size}), "
                f"floating point 0..1, as the cropper gives them ({first_line(error):.100}): set "
                f"the cropper's size, or change the network"
            ) from error
        finally:
            self.train(was_training)


class _Unchecked(nn.Module):
    """A plain network that takes images as a backbone does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(to_unit_range(images))
        return found


def as_backbone(network: nn.Module) -> Backbone:
    """A backbone as it is; any other network as a :class:`ModuleBackbone`.

    Raises:
        ConfigError: a backbone that ``torch.compile`` has wrapped.
    """
    if isinstance(getattr(network, "_orig_mod", None), Backbone):
        raise ConfigError(
            "torch.compile(backbone) hides the backbone: compile it in place, backbone.compile(), "
            "and give the backbone itself"
        )
    return network if isinstance(network, Backbone) else ModuleBackbone(network)


def own_network(backbone: nn.Module) -> nn.Module:
    """What a description names: the network that was wrapped, or else the backbone itself."""
    return backbone.network if isinstance(backbone, ModuleBackbone) else backbone


class BackboneRegistry(Registry[nn.Module]):
    """The registry of backbones, whose arguments may be another backbone.

    Classes of plain networks may be registered, too; they are wrapped when they are built.
    """

    def _described(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return {"backbone": self.settings(own_network(value))}
        return super()._described(value)

    def _restored(self, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"backbone"}:
            return self.build(value["backbone"])
        return super()._restored(value)


BACKBONES = BackboneRegistry("backbone", "BACKBONES", "siamese.backbones")


def to_unit_range(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 0..255 or floating point 0..1 -> floating point 0..1."""
    return images.to(torch.get_default_dtype()).div_(255) if images.dtype == torch.uint8 else images


def standardise(images: Tensor, eps: float = 1e-3) -> Tensor:
    """Bring each image to mean 0 and standard deviation 1 over its pixels and channels.

    This removes differences of brightness and contrast.
    """
    variance, mean = torch.var_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
    return (images - mean) * torch.rsqrt(variance + eps)
