"""What would go wrong at the end of a training, found out before its beginning."""

from __future__ import annotations

from siamese.backbones.base import BACKBONES, Backbone
from siamese.data.datamodule import ImageDataModule
from siamese.distances.base import DISTANCES, Distance
from siamese.errors import ConfigError, did_you_mean, first_line
from siamese.faces.croppers.base import CROPPERS
from siamese.training.module import SiameseModule

KEEP = ("best", "last")
MONITORS = ("val/eer", "val/auc", "val/f1", "val/accuracy", "val/loss", "train/loss")


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
    if type(module) is SiameseModule and monitor not in MONITORS:
        raise ConfigError(f"monitor={monitor!r} is not logged{did_you_mean(monitor, MONITORS)}")
    if monitor == "val/loss" and not getattr(module.loss, "open_set", True):
        raise ConfigError(
            f"{type(module.loss).__name__} classifies the training identities, so there is no "
            f"val/loss: monitor val/eer instead"
        )
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the optimizer cannot be made: {first_line(error)}; correct its settings"
        ) from error
    backbone = module.backbone
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"{type(backbone).__name__} is not a siamese.Backbone: derive it from that class and "
            f"register it in BACKBONES"
        )
    if not isinstance(getattr(backbone, "embedding_size", None), int):
        raise ConfigError(
            f"{type(backbone).__name__} has no embedding_size: set it to the length of its "
            f"embeddings, in the class or in __init__"
        )
    if module.distance.learned:
        _check_learned(module.distance, backbone)
    BACKBONES.settings(backbone)
    DISTANCES.settings(module.distance)
    CROPPERS.settings(data.cropper)


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
