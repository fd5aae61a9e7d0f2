"""Components: what a bundle and an unfinished run are built from, described in plain JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from siamese.backbones.base import BACKBONES, Backbone, as_backbone, own_network
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES, Distance
from siamese.errors import UnknownNameError
from siamese.faces.croppers.base import CROPPERS, Cropper
from siamese.inference.room import check_room
from siamese.inference.stored_bundle import check_all_given, check_complete
from siamese.registry import Registry


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
            ConfigError: a component of a class that is not registered, or that does not keep its
                arguments.
        """
        network = own_network(self.backbone)
        origins = {
            "backbone": BACKBONES.origin(network),
            "distance": DISTANCES.origin(self.distance),
            "cropper": CROPPERS.origin(self.cropper),
        }
        return {
            "backbone": BACKBONES.settings(network),
            "distance": DISTANCES.settings(self.distance),
            "cropper": CROPPERS.settings(self.cropper),
            "augmentation": asdict(self.augmentation) if self.augmentation else None,
            # For people to read, where a class is not ours and is not installed.
            "origins": {part: origin for part, origin in origins.items() if origin},
        }

    @classmethod
    def build(
        cls,
        description: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        whole: bool = False,
    ) -> Components:
        """From :meth:`describe`, with fresh weights; names are looked up, nothing is executed.

        Args:
            description: names and settings.
            shapes: of the weights that will be loaded, by name. Where they are given, a network
                of ours that is larger than they are is refused before memory is taken for it.
            whole: refuse a description that lacks a setting.

        Raises:
            ValueError: a network that is too large, or a setting that lacks.
            UnknownNameError: a component that is not installed, and where it comes from.
            ConfigError, KeyError, TypeError: not such a description.
        """
        try:
            if whole:
                _check_all_given(description)
            if shapes is not None and _is_own(description):
                check_room(lambda: _modules(description), shapes)
            return cls._build(description)
        except UnknownNameError as error:
            origins = description.get("origins")
            known = origins.items() if isinstance(origins, dict) else ()
            named = ", ".join(f"its {part} is {origin}" for part, origin in known)
            raise UnknownNameError(
                f"{error}: {named or 'it is no component of ours'}; install the package that "
                f"brings it, or give the file that defines it: --plugin FILE (in Python import "
                f"that file first)"
            ) from error

    @classmethod
    def _build(cls, description: Mapping[str, Any]) -> Components:
        changes = description.get("augmentation")
        cropper = CROPPERS.build(description["cropper"])
        augmentation = Augmentation(**changes) if changes else None
        return cls(*_modules(description), cropper, augmentation)

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

    def __repr__(self) -> str:
        parts = (self.backbone, self.distance, self.cropper)
        return f"Components({', '.join(type(part).__name__ for part in parts)})"


def _modules(description: Mapping[str, Any]) -> tuple[Backbone, Distance]:
    network = BACKBONES.build(description["backbone"])
    return as_backbone(network), DISTANCES.build(description["distance"])


def _is_own(description: Mapping[str, Any]) -> bool:
    """Whether all modules are of classes of ours, which are imported by looking them up."""
    wanted: list[tuple[Registry[Any], Any]] = [
        (BACKBONES, description["backbone"]),
        (DISTANCES, description["distance"]),
    ]
    for registry, settings in wanted:
        if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
            return False
        if registry[settings["name"]].__module__.partition(".")[0] != "siamese":
            return False
        wanted += [
            (BACKBONES, value["backbone"])
            for value in settings.values()
            if isinstance(value, dict) and value.keys() == {"backbone"}
        ]
    return True


def _check_all_given(description: Mapping[str, Any]) -> None:
    registries: tuple[tuple[str, Registry[Any]], ...] = (
        ("backbone", BACKBONES),
        ("distance", DISTANCES),
        ("cropper", CROPPERS),
    )
    for part, registry in registries:
        check_all_given(part, registry, description[part])
    if changes := description["augmentation"]:
        check_complete("augmentation", changes, tuple(f.name for f in fields(Augmentation)))


def tensors_of(
    part: str, tensors: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one part, by their names in it."""
    return ((k.removeprefix(f"{part}."), v) for k, v in tensors.items() if k.startswith(f"{part}."))
