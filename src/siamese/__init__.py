"""siamese: decide whether two pictures show the same person, with a threshold that was calibrated, not guessed.

The public names are loaded on first use: ``import siamese`` alone imports neither torch nor Lightning nor Hydra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "siamese.backbones": (
        "BACKBONES",
        "Backbone",
        "DlibFile",
        "DlibResNet",
        "FaceComparerNet",
        "FaceSimilarityNet",
        "HybridNet",
        "SmallResNet",
    ),
    "siamese.bundle": ("Bundle",),
    "siamese.comparing": ("ComparedPairs", "compare_pairs"),
    "siamese.callbacks": ("ThresholdCalibrator",),
    "siamese.data.datamodule": ("CsvDataModule", "FaceDataModule", "FolderDataModule", "LfwDataModule", "OrlDataModule"),
    "siamese.data.lfw": ("download_lfw", "lfw", "lfw_view1", "lfw_view2"),
    "siamese.data.orl": ("orl",),
    "siamese.data.pairs_file": ("PairsFile",),
    "siamese.data.manifest": ("SplitManifest",),
    "siamese.data.samplers": ("BalancedPairSampler", "ChosenPairSampler", "IdentitySampler", "OrderedPairSampler"),
    "siamese.data.splits": ("HeldOutPeople", "IdentityDisjoint", "ImageDisjoint", "identity_disjoint"),
    "siamese.data.transforms": ("Augmentation",),
    "siamese.distances": ("CosineDistance", "Distance", "EuclideanDistance", "LearnedDistance", "is_match"),
    "siamese.errors": (
        "BundleError",
        "CalibrationError",
        "ConfigError",
        "DataError",
        "FaceError",
        "ImageError",
        "MissingDependencyError",
        "SiameseError",
        "SplitError",
        "WeightsError",
    ),
    "siamese.faces.croppers": ("CROPPERS", "Cropper", "DlibCnnCropper", "DlibHogCropper", "FixedBoxCropper", "NoCropper"),
    "siamese.faces.crops": ("crop_files",),
    "siamese.faces.images": ("read_image",),
    "siamese.identities": ("IdentityTable",),
    "siamese.losses": (
        "CombinedLoss",
        "ContrastiveLoss",
        "EmbeddingLoss",
        "MarginSoftmaxLoss",
        "PairCrossEntropyLoss",
        "SupervisedContrastiveLoss",
        "TripletLoss",
    ),
    "siamese.metrics": (
        "EqualErrorRate",
        "PairMetric",
        "PairVerification",
        "RecallAtFar",
        "VerificationCurve",
        "VerificationThreshold",
    ),
    "siamese.module": ("SiameseModule", "WarmupCosine"),
    "siamese.pairs": ("AllPairs", "BalancedPairs", "FixedPairs", "OrderedPairs", "Pairs"),
    "siamese.pretrained": ("pretrained_backbone", "pretrained_bundle"),
    "siamese.training": ("TrainingRun", "train"),
    "siamese.verification": (
        "POLICIES",
        "Calibration",
        "Cost",
        "Eer",
        "Far",
        "FoldedEvaluation",
        "MaxAccuracy",
        "MaxF1",
        "OperatingPoint",
        "Policy",
        "ProbabilityMap",
        "Recall",
        "SplitEvaluation",
        "ThresholdCurve",
        "calibrate",
        "compare",
        "cross_validate",
        "evaluate",
        "max_f1",
    ),
    "siamese.verifier": ("Verification", "Verifier"),
    "pytorch_lightning": ("seed_everything",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME, "__version__"])  # noqa: PLE0605

if TYPE_CHECKING:
    from pytorch_lightning import seed_everything as seed_everything

    from siamese.backbones import BACKBONES as BACKBONES
    from siamese.backbones import Backbone as Backbone
    from siamese.backbones import DlibFile as DlibFile
    from siamese.backbones import DlibResNet as DlibResNet
    from siamese.backbones import FaceComparerNet as FaceComparerNet
    from siamese.backbones import FaceSimilarityNet as FaceSimilarityNet
    from siamese.backbones import HybridNet as HybridNet
    from siamese.backbones import SmallResNet as SmallResNet
    from siamese.bundle import Bundle as Bundle
    from siamese.callbacks import ThresholdCalibrator as ThresholdCalibrator
    from siamese.comparing import ComparedPairs as ComparedPairs
    from siamese.comparing import compare_pairs as compare_pairs
    from siamese.data.datamodule import CsvDataModule as CsvDataModule
    from siamese.data.datamodule import FaceDataModule as FaceDataModule
    from siamese.data.datamodule import FolderDataModule as FolderDataModule
    from siamese.data.datamodule import LfwDataModule as LfwDataModule
    from siamese.data.datamodule import OrlDataModule as OrlDataModule
    from siamese.data.lfw import download_lfw as download_lfw
    from siamese.data.lfw import lfw as lfw
    from siamese.data.lfw import lfw_view1 as lfw_view1
    from siamese.data.lfw import lfw_view2 as lfw_view2
    from siamese.data.manifest import SplitManifest as SplitManifest
    from siamese.data.orl import orl as orl
    from siamese.data.pairs_file import PairsFile as PairsFile
    from siamese.data.samplers import BalancedPairSampler as BalancedPairSampler
    from siamese.data.samplers import ChosenPairSampler as ChosenPairSampler
    from siamese.data.samplers import IdentitySampler as IdentitySampler
    from siamese.data.samplers import OrderedPairSampler as OrderedPairSampler
    from siamese.data.splits import HeldOutPeople as HeldOutPeople
    from siamese.data.splits import IdentityDisjoint as IdentityDisjoint
    from siamese.data.splits import ImageDisjoint as ImageDisjoint
    from siamese.data.splits import identity_disjoint as identity_disjoint
    from siamese.data.transforms import Augmentation as Augmentation
    from siamese.distances import CosineDistance as CosineDistance
    from siamese.distances import Distance as Distance
    from siamese.distances import EuclideanDistance as EuclideanDistance
    from siamese.distances import LearnedDistance as LearnedDistance
    from siamese.distances import is_match as is_match
    from siamese.errors import BundleError as BundleError
    from siamese.errors import CalibrationError as CalibrationError
    from siamese.errors import ConfigError as ConfigError
    from siamese.errors import DataError as DataError
    from siamese.errors import FaceError as FaceError
    from siamese.errors import ImageError as ImageError
    from siamese.errors import MissingDependencyError as MissingDependencyError
    from siamese.errors import SiameseError as SiameseError
    from siamese.errors import SplitError as SplitError
    from siamese.errors import WeightsError as WeightsError
    from siamese.faces.croppers import CROPPERS as CROPPERS
    from siamese.faces.croppers import Cropper as Cropper
    from siamese.faces.croppers import DlibCnnCropper as DlibCnnCropper
    from siamese.faces.croppers import DlibHogCropper as DlibHogCropper
    from siamese.faces.croppers import FixedBoxCropper as FixedBoxCropper
    from siamese.faces.croppers import NoCropper as NoCropper
    from siamese.faces.crops import crop_files as crop_files
    from siamese.faces.images import read_image as read_image
    from siamese.identities import IdentityTable as IdentityTable
    from siamese.losses import CombinedLoss as CombinedLoss
    from siamese.losses import ContrastiveLoss as ContrastiveLoss
    from siamese.losses import EmbeddingLoss as EmbeddingLoss
    from siamese.losses import MarginSoftmaxLoss as MarginSoftmaxLoss
    from siamese.losses import PairCrossEntropyLoss as PairCrossEntropyLoss
    from siamese.losses import SupervisedContrastiveLoss as SupervisedContrastiveLoss
    from siamese.losses import TripletLoss as TripletLoss
    from siamese.metrics import EqualErrorRate as EqualErrorRate
    from siamese.metrics import PairMetric as PairMetric
    from siamese.metrics import PairVerification as PairVerification
    from siamese.metrics import RecallAtFar as RecallAtFar
    from siamese.metrics import VerificationCurve as VerificationCurve
    from siamese.metrics import VerificationThreshold as VerificationThreshold
    from siamese.module import SiameseModule as SiameseModule
    from siamese.module import WarmupCosine as WarmupCosine
    from siamese.pairs import AllPairs as AllPairs
    from siamese.pairs import BalancedPairs as BalancedPairs
    from siamese.pairs import FixedPairs as FixedPairs
    from siamese.pairs import OrderedPairs as OrderedPairs
    from siamese.pairs import Pairs as Pairs
    from siamese.pretrained import pretrained_backbone as pretrained_backbone
    from siamese.pretrained import pretrained_bundle as pretrained_bundle
    from siamese.training import TrainingRun as TrainingRun
    from siamese.training import train as train
    from siamese.verification import POLICIES as POLICIES
    from siamese.verification import Calibration as Calibration
    from siamese.verification import Cost as Cost
    from siamese.verification import Eer as Eer
    from siamese.verification import Far as Far
    from siamese.verification import FoldedEvaluation as FoldedEvaluation
    from siamese.verification import MaxAccuracy as MaxAccuracy
    from siamese.verification import MaxF1 as MaxF1
    from siamese.verification import OperatingPoint as OperatingPoint
    from siamese.verification import Policy as Policy
    from siamese.verification import ProbabilityMap as ProbabilityMap
    from siamese.verification import Recall as Recall
    from siamese.verification import SplitEvaluation as SplitEvaluation
    from siamese.verification import ThresholdCurve as ThresholdCurve
    from siamese.verification import calibrate as calibrate
    from siamese.verification import compare as compare
    from siamese.verification import cross_validate as cross_validate
    from siamese.verification import evaluate as evaluate
    from siamese.verification import max_f1 as max_f1
    from siamese.verifier import Verification as Verification
    from siamese.verifier import Verifier as Verifier

    __version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("siamese-lightning")
    if name not in _HOME:
        from siamese.errors import did_you_mean

        raise AttributeError(f"module 'siamese' has no attribute {name!r}{did_you_mean(name, __all__)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
