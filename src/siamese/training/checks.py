"""What would go wrong at the end of a training, found out before its beginning."""

from __future__ import annotations

import warnings

from siamese.backbones.base import BACKBONES, Backbone, ModuleBackbone, own_network
from siamese.backbones.descriptor_net import DescriptorNet
from siamese.data.datamodule import ImageDataModule
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES, Distance
from siamese.errors import ConfigError, did_you_mean, first_line
from siamese.faces.croppers.base import CROPPERS
from siamese.training.module import SiameseModule
from siamese.training.monitors import MONITORS, short_monitor

KEEP = ("best", "last")


def has_weights(module: SiameseModule) -> bool:
    """Whether there is anything to train; a backbone may be fitted in closed form alone.

    What only the loss has, as the classifier of a margin softmax, is of no use without.
    """
    parts = (module.backbone, module.distance)
    return any(weight.requires_grad for part in parts for weight in part.parameters())


def check_run(
    module: SiameseModule, data: ImageDataModule, max_epochs: int, keep: str, monitor: str
) -> None:
    """Refuse now what would fail after hours of training.

    Raises:
        ConfigError: says which argument, and what to give instead.
    """
    for given, wanted in ((module, SiameseModule), (data, ImageDataModule)):
        if not isinstance(given, wanted):
            raise ConfigError(
                f"siamese.train takes a siamese.{wanted.__name__} here, not a "
                f"{type(given).__name__}: train(module, data, folder)"
            )
    if keep not in KEEP:
        raise ConfigError(f"keep={keep!r} is not known{did_you_mean(keep, KEEP)}")
    if not isinstance(max_epochs, int) or max_epochs < 1:
        raise ConfigError(f"max_epochs must be a whole number of at least 1, not {max_epochs!r}")
    watched = short_monitor(monitor)
    if type(module) is SiameseModule and watched not in MONITORS:
        raise ConfigError(f"monitor={monitor!r} is not logged{did_you_mean(watched, MONITORS)}")
    if watched == "loss" and not getattr(module.loss, "open_set", True):
        raise ConfigError(
            f"{type(module.loss).__name__} classifies the training identities, so it has no loss "
            f"on others: monitor eer instead"
        )
    try:
        if has_weights(module):
            module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the optimizer cannot be made: {first_line(error)}; correct its settings"
        ) from error
    backbone = module.backbone
    if isinstance(backbone, ModuleBackbone) and isinstance(size := data.cropper.size, int):
        backbone.probe(size)
    if not isinstance(getattr(backbone, "embedding_size", None), int):
        raise ConfigError(
            f"{type(backbone).__name__} has no embedding_size: set it to the length D of its "
            f"embeddings, network.embedding_size = D (in a class of your own, in __init__)"
        )
    _warn_of_mirroring(backbone, data.augmentation)
    module.distance.check_size(backbone.embedding_size)
    if module.distance.learned:
        _check_learned(module.distance, backbone)
    DISTANCES.settings(module.distance)
    CROPPERS.settings(data.cropper)
    if unnamed(backbone) is None:
        BACKBONES.settings(own_network(backbone))


def _warn_of_mirroring(backbone: Backbone, augmentation: object) -> None:
    """Who mirrors no image in training has a reason; of an albumentations pipeline nobody knows."""
    known = augmentation is None or isinstance(augmentation, Augmentation)
    if not known or getattr(augmentation, "flip", 0.0) > 0:
        return
    names = [
        type(part).__name__
        for part in backbone.modules()
        if isinstance(part, Backbone)
        and getattr(part, "mirror", False)
        and getattr(part, "whiten", True)
        # Inside another network it is told what that one was told.
        and (part is backbone or not isinstance(part, DescriptorNet))
    ]
    if names:
        warnings.warn(
            f"training mirrors no image, but {' and '.join(names)} averages over the mirror image "
            f"at use: where left and right matter, give it mirror=False",
            stacklevel=4,
        )


def unnamed(backbone: Backbone) -> str | None:
    """Why no bundle can be written for a plain network; None where one can."""
    if not isinstance(backbone, ModuleBackbone):
        return None
    try:
        BACKBONES.name(backbone.network)
    except ConfigError:
        name = type(backbone.network).__name__
        return (
            f"no bundle is saved, since a file cannot say how to build a {name}: put "
            f"@siamese.BACKBONES.register('a_name') above a class of your own that makes the "
            f"network (docs/extending.md); run.verifier works in this process"
        )
    return None


def _check_learned(distance: Distance, backbone: Backbone) -> None:
    """A learned distance is for embeddings of one length, in training as at use."""
    if not backbone.same_at_use:
        raise ConfigError(
            f"{type(backbone).__name__} gives other embeddings at use than while training, but a "
            f"learned distance is trained on the "
            f"ones and measures the others: for SmallResNet set module.backbone.gradient_cells=0 "
            f"and module.backbone.whiten=false"
        )
    size = getattr(distance, "embedding_size", backbone.embedding_size)
    if size != backbone.embedding_size:
        raise ConfigError(
            f"the learned distance compares embeddings of {size} numbers, "
            f"{type(backbone).__name__} gives "
            f"{backbone.embedding_size}: set distance.embedding_size={backbone.embedding_size}"
        )
