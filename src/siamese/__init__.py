"""siamese: decide whether two images show the same identity, with a calibrated threshold.

Most users need these fifteen names; ``help(siamese.NAME)`` explains each::

    train                train, calibrate, test, and save a bundle
    TrainingRun          what that gives
    SiameseModule        the LightningModule: a backbone, a loss, a distance
    FolderDataModule     the LightningDataModule of pictures/<identity>/<picture>.jpg
    SmallResNet          a network that two cores can train from scratch
    ContrastiveLoss      the loss of Hadsell, Chopra and LeCun (2006)
    ThresholdCalibrator  the callback that chooses the threshold, in any Lightning project
    Verifier             compares two images: Verifier.pretrained(), Verifier.load(folder)
    Verification         its verdict
    Bundle               network, threshold and settings in two files
    calibrate            the threshold for embeddings of any network
    Calibration          that threshold with its curve, interval and probabilities
    evaluate_run         the figures of a run or bundle, on its own splits or on other data
    recalibrate          a bundle's threshold, chosen anew on people of your own
    seed_everything      makes weights and batches repeatable

The public names are loaded on first use: ``import siamese`` alone imports neither torch nor
Lightning nor Hydra. They stand once, in ``__init__.pyi``.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

_load, _names, _public = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_public, "__version__"]  # noqa: PLE0604

# Old name -> what to write now; until the next minor version.
_RENAMED = {
    "FaceDataModule": "ImageDataModule",
    "HeldOutPeople": "HeldOutIdentities",
    "Far": "Fmr",
    "RecallAtFar": "RecallAtFmr",
    "ComparedPairs": "BenchmarkDistances",
    "evaluate": "evaluate_pairs",
    "lfw": "load_lfw",
    "orl": "load_orl",
    "identity_disjoint": "split_identities",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("siamese-lightning")
    if name in _RENAMED:
        # Not an AttributeError: `from siamese import ...` would replace its message.
        raise ImportError(f"siamese.{name} is now siamese.{_RENAMED[name]}: write that name")
    if name not in _public:
        from siamese.errors import did_you_mean

        raise AttributeError(
            f"module 'siamese' has no attribute {name!r}{did_you_mean(name, __all__)}"
        )
    return _load(name)


def __dir__() -> list[str]:
    return sorted(__all__)
