"""Components: what a bundle and an unfinished run are built from, described in plain JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from siamese.backbones.base import BACKBONES, Backbone
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES, Distance
from siamese.faces.croppers.base import CROPPERS, Cropper


@dataclass(frozen=True)
class Components:
    """What turns images into distances.

    Attributes:
        backbone: images to embeddings, its own normalisation included.
        distance: between embeddings, with its weights if it is learned.
        cropper: from an image to what the backbone sees.
        augmentation: how training changed the images; None where it had none.
    """

    backbone: Backbone
    distance: Distance
    cropper: Cropper
    augmentation: Augmentation | None = None

    def describe(self) -> dict[str, Any]:
        """Plain JSON values: names and settings, without weights.

        Raises:
            ConfigError: a component of a class that is not registered.
        """
        return {
            "backbone": BACKBONES.settings(self.backbone),
            "distance": DISTANCES.settings(self.distance),
            "cropper": CROPPERS.settings(self.cropper),
            "augmentation": asdict(self.augmentation) if self.augmentation else None,
        }

    @classmethod
    def build(cls, description: Mapping[str, Any]) -> Components:
        """From :meth:`describe`, with fresh weights; names are looked up, nothing is executed.

        Raises:
            ConfigError, KeyError, TypeError: not such a description.
        """
        changes = description.get("augmentation")
        return cls(
            BACKBONES.build(description["backbone"]),
            DISTANCES.build(description["distance"]),
            CROPPERS.build(description["cropper"]),
            Augmentation(**changes) if changes else None,
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights by name, as :meth:`load_tensors` takes them."""
        parts = {"backbone": self.backbone, "distance": self.distance}
        return {
            f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()
        }

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Load weights; names of other parts are ignored.

        Raises:
            RuntimeError: weights are missing, or of another shape.
        """
        for name, part in (("backbone", self.backbone), ("distance", self.distance)):
            part.load_state_dict(dict(tensors_of(name, tensors)), strict=True)


def tensors_of(
    part: str, tensors: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one part, by their names in it."""
    return ((k.removeprefix(f"{part}."), v) for k, v in tensors.items() if k.startswith(f"{part}."))
