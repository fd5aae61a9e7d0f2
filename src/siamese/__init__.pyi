"""The public names of ``siamese``, once: ``siamese/__init__.py`` loads them from here, lazily."""

# the fifteen names that most users need
from .training.run import train as train
from .training.training_run import TrainingRun as TrainingRun
from .training.module import SiameseModule as SiameseModule
from .data.datamodule import FolderDataModule as FolderDataModule
from .backbones.small_res_net import SmallResNet as SmallResNet
from .losses.contrastive import ContrastiveLoss as ContrastiveLoss
from .training.callbacks import ThresholdCalibrator as ThresholdCalibrator
from .inference.verifier import Verifier as Verifier
from .inference.verdict import Verification as Verification
from .inference.bundle import Bundle as Bundle
from .verification.thresholds import calibrate as calibrate
from .verification.calibration import Calibration as Calibration
from .evaluation.run import evaluate_run as evaluate_run
from .evaluation.recalibration import recalibrate as recalibrate
from .training.seeding import seed_everything as seed_everything

# lists of pairs
from .inference.pair_lists import verify_list as verify_list
from .inference.pair_verdicts import PairVerdicts as PairVerdicts
from .inference.pair_verdicts import PairVerdict as PairVerdict
from .datasets.pair_list import PairList as PairList
from .datasets.pair_list import ListedPair as ListedPair

# who is on a photograph, among people who were enrolled
from .inference.gallery.gallery import Gallery as Gallery
from .inference.gallery.results import Enrolment as Enrolment
from .inference.gallery.results import Identification as Identification
from .inference.gallery.results import Candidate as Candidate
from .inference.gallery.search_threshold import SearchThreshold as SearchThreshold
from .evaluation.search_run import evaluate_gallery as evaluate_gallery
from .evaluation.search_run import GalleryEvaluation as GalleryEvaluation
from .evaluation.search_run import SearchMistake as SearchMistake

# a heap of photographs, by person
from .evaluation.sorting import sort_photographs as sort_photographs
from .evaluation.folder_sorting import sort_folder as sort_folder
from .evaluation.sorting import Sorting as Sorting
from .evaluation.sorting import SortedFace as SortedFace

# embeddings in files
from .evaluation.embedding_parts import embed_files as embed_files
from .evaluation.embedding_parts import EmbeddedFiles as EmbeddedFiles
from .evaluation.embedding_reading import read_embeddings as read_embeddings

# work divided over the processes of torch.distributed
from .processes import across_processes as across_processes
from .processes import Processes as Processes

# what evaluating gives
from .evaluation.stages import RunEvaluation as RunEvaluation
from .evaluation.recalibration import Recalibration as Recalibration
from .evaluation.data import EvaluationData as EvaluationData
from .inference.components import Components as Components
from .inference.seen import Seen as Seen
from .inference.engine import Engine as Engine
from .inference.engine import Verifiable as Verifiable

# a bundle for others: one .onnx file, which onnxruntime runs without torch
from .inference.onnx.export import export_onnx as export_onnx
from .inference.onnx.check import OnnxExport as OnnxExport
from .inference.onnx.model import OnnxModel as OnnxModel
from .inference.dlib_export import export_dlib as export_dlib
from .inference.dlib_export import DlibExport as DlibExport

# two networks on the same pairs
from .evaluation.comparison import compare as compare
from .evaluation.comparison import Comparison as Comparison
from .evaluation.paired_folds import FoldedDifference as FoldedDifference
from .verification.paired import compare_pairs as compare_pairs
from .verification.paired import PairedComparison as PairedComparison
from .verification.paired import PairedFigure as PairedFigure
from .verification.mcnemar import McNemar as McNemar

# pictures for notebooks
from .report.sheets import plot_images as plot_images
from .report.sheets import plot_thresholds as plot_thresholds
from .report.sheets import plot_groups as plot_groups
from .evaluation.drawing import plot_verdicts as plot_verdicts

# a run, or several, as one page
from .report.run_report import write_report as write_report

# what is doubtful about data
from .evaluation.audit import audit_data as audit_data
from .evaluation.audit import Audit as Audit
from .evaluation.audit import Doublet as Doublet
from .evaluation.audit import Doubt as Doubt
from .evaluation.suspicions import Suspicions as Suspicions
from .evaluation.suspicions import Suspect as Suspect
from .evaluation.suspicions import TwoNames as TwoNames
from .data.accounts import Accounts as Accounts

# data
from .data.datamodule import ImageDataModule as ImageDataModule
from .data.datamodule import CsvDataModule as CsvDataModule
from .data.datamodule import LfwDataModule as LfwDataModule
from .data.datamodule import OrlDataModule as OrlDataModule
from .data.datamodule import ParquetDataModule as ParquetDataModule
from .datasets.identities import IdentityTable as IdentityTable
from .data.manifest import SplitManifest as SplitManifest
from .data.cache import cache_parts as cache_parts
from .data.cache import CachePart as CachePart
from .data.cache import clear_cache as clear_cache
from .data.cache import pack_cache as pack_cache
from .data.prepared import PreparedData as PreparedData
from .data.prepared import PreparedSplit as PreparedSplit
from .data.dataset import CropDataset as CropDataset
from .datasets.pairs_file import PairsFile as PairsFile
from .datasets.lfw import load_lfw as load_lfw
from .datasets.orl import load_orl as load_orl
from .datasets.lfw import download_lfw as download_lfw
from .datasets.lfw import lfw_view1 as lfw_view1
from .datasets.lfw import lfw_view2 as lfw_view2
from .data.transforms import Augmentation as Augmentation
from .data.tta import TestTimeAugmentation as TestTimeAugmentation
from .data.split_protocols.base import SPLIT_PROTOCOLS as SPLIT_PROTOCOLS
from .data.split_protocols.base import SplitProtocol as SplitProtocol
from .data.split_protocols.base import Split as Split
from .data.split_protocols.identity_disjoint import IdentityDisjoint as IdentityDisjoint
from .data.split_protocols.held_out_identities import HeldOutIdentities as HeldOutIdentities
from .data.split_protocols.image_disjoint import ImageDisjoint as ImageDisjoint
from .data.split_protocols.benchmark_folds import BenchmarkFolds as BenchmarkFolds
from .data.split_protocols.identity_disjoint import split_identities as split_identities
from .data.samplers.base import Sampler as Sampler
from .data.samplers.base import BatchPlan as BatchPlan
from .data.samplers.base import IdentityRows as IdentityRows
from .data.samplers.base import PlannedBatches as PlannedBatches
from .data.adapters import TorchBatches as TorchBatches
from .data.samplers.divided_batches import DividedBatches as DividedBatches
from .data.samplers.identity_sampler import IdentitySampler as IdentitySampler
from .data.samplers.balanced_pair_sampler import BalancedPairSampler as BalancedPairSampler
from .data.samplers.chosen_pair_sampler import ChosenPairSampler as ChosenPairSampler
from .data.samplers.ordered_pair_sampler import OrderedPairSampler as OrderedPairSampler

# images and crops
from .faces.croppers.base import CROPPERS as CROPPERS
from .faces.croppers.base import Cropper as Cropper
from .faces.croppers.base import Crop as Crop
from .faces.croppers.base import Face as Face
from .faces.croppers.base import Look as Look
from .faces.align import Box as Box
from .faces.quality import Quality as Quality
from .faces.quality import QualityLimits as QualityLimits
from .faces.croppers.dlib_croppers import DlibCnnCropper as DlibCnnCropper
from .faces.croppers.dlib_croppers import DlibHogCropper as DlibHogCropper
from .faces.croppers.fixed_box import FixedBoxCropper as FixedBoxCropper
from .faces.croppers.none import NoCropper as NoCropper
from .faces.crops import crop_files as crop_files
from .faces.crops import CropResult as CropResult
from .faces.images import read_image as read_image

# networks
from .backbones.base import BACKBONES as BACKBONES
from .backbones.base import Backbone as Backbone
from .backbones.base import ModuleBackbone as ModuleBackbone
from .backbones.dlib_res_net import DlibResNet as DlibResNet
from .backbones.face_comparer_net import FaceComparerNet as FaceComparerNet
from .backbones.face_similarity_net import FaceSimilarityNet as FaceSimilarityNet
from .backbones.ensemble_net import EnsembleNet as EnsembleNet
from .backbones.descriptor_net import DescriptorNet as DescriptorNet
from .backbones.described_net import DescribedNet as DescribedNet
from .backbones.dlib.weights import DlibFile as DlibFile
from .backbones.dlib.weights import DlibLayer as DlibLayer

# losses
from .losses.base import LOSSES as LOSSES
from .losses.base import EmbeddingLoss as EmbeddingLoss
from .losses.combined import CombinedLoss as CombinedLoss
from .losses.margin_softmax import MarginSoftmaxLoss as MarginSoftmaxLoss
from .losses.cross_entropy import PairCrossEntropyLoss as PairCrossEntropyLoss
from .losses.supervised_contrastive import SupervisedContrastiveLoss as SupervisedContrastiveLoss
from .losses.partwise import PartwiseLoss as PartwiseLoss
from .losses.triplet import TripletLoss as TripletLoss

# distances and pairs
from .distances.base import DISTANCES as DISTANCES
from .distances.base import Distance as Distance
from .distances.euclidean import EuclideanDistance as EuclideanDistance
from .distances.cosine import CosineDistance as CosineDistance
from .distances.learned import LearnedDistance as LearnedDistance
from .distances.plda import PldaDistance as PldaDistance
from .distances.verdict import is_match as is_match
from .pairs.base import PAIR_RULES as PAIR_RULES
from .pairs.base import PairRule as PairRule
from .pairs.all_pairs import AllPairs as AllPairs
from .pairs.balanced_pairs import BalancedPairs as BalancedPairs
from .pairs.fixed_pairs import FixedPairs as FixedPairs
from .pairs.ordered_pairs import OrderedPairs as OrderedPairs
from .pairs.base import Pairs as Pairs

# thresholds and figures
from .verification.policies.base import POLICIES as POLICIES
from .verification.policies.base import Policy as Policy
from .verification.policies.max_f1 import MaxF1 as MaxF1
from .verification.policies.max_accuracy import MaxAccuracy as MaxAccuracy
from .verification.policies.eer import Eer as Eer
from .verification.policies.fmr import Fmr as Fmr
from .verification.policies.recall import Recall as Recall
from .verification.policies.precision import Precision as Precision
from .verification.policies.cost import Cost as Cost
from .verification.point import OperatingPoint as OperatingPoint
from .verification.probability import ProbabilityMap as ProbabilityMap
from .verification.probability import Reliability as Reliability
from .verification.bootstrap import IdentityBootstrap as IdentityBootstrap
from .verification.confusion import Confusion as Confusion
from .verification.curves import ThresholdCurve as ThresholdCurve
from .verification.curves import Choice as Choice
from .verification.pair_distances import PairDistances as PairDistances
from .verification.pair_distances import PairSample as PairSample
from .verification.held import HeldDistances as HeldDistances
from .verification.measure import measure_pairs as measure_pairs
from .verification.figures import evaluate_pairs as evaluate_pairs
from .verification.figures import SplitEvaluation as SplitEvaluation
from .verification.groups import evaluate_groups as evaluate_groups
from .verification.group_figures import GroupEvaluation as GroupEvaluation
from .verification.group_figures import GroupFigures as GroupFigures
from .verification.group_figures import GroupDisparity as GroupDisparity
from .verification.identification import evaluate_search as evaluate_search
from .verification.identification import SearchEvaluation as SearchEvaluation
from .verification.identification import SearchFigures as SearchFigures
from .verification.clustering import cluster_embeddings as cluster_embeddings
from .verification.clustering import evaluate_clusters as evaluate_clusters
from .verification.clustering import ClusteringFigures as ClusteringFigures
from .verification.folds import cross_validate as cross_validate
from .verification.folds import FoldedEvaluation as FoldedEvaluation
from .verification.folds import Fold as Fold
from .verification.thresholds import max_f1 as max_f1
from .verification.thresholds import BestThreshold as BestThreshold

# training
from .training.schedules import WarmupCosine as WarmupCosine
from .training.watch import LearningWatch as LearningWatch
from .training.exact_resume import ExactResume as ExactResume
from .training.synced_batch_norm import SyncedBatchNorm as SyncedBatchNorm
from .training.checkpoint_io import AtomicCheckpointIO as AtomicCheckpointIO
from .training.stopping import TrainingStoppedError as TrainingStoppedError
from .training.metrics import PairMetric as PairMetric
from .training.metrics import PairVerification as PairVerification
from .training.metrics import VerificationThreshold as VerificationThreshold
from .training.metrics import VerificationCurve as VerificationCurve
from .training.metrics import EqualErrorRate as EqualErrorRate
from .training.metrics import RecallAtFmr as RecallAtFmr

# benchmarks and pretrained networks
from .evaluation.baseline import Baseline as Baseline
from .evaluation.benchmark import measure_benchmark as measure_benchmark
from .evaluation.benchmark import BenchmarkDistances as BenchmarkDistances
from .evaluation.benchmark import evaluate_benchmark as evaluate_benchmark
from .evaluation.other_distance import DistanceGain as DistanceGain
from .inference.pretrained import pretrained_backbone as pretrained_backbone
from .inference.pretrained import pretrained_bundle as pretrained_bundle

# errors
from .errors import SiameseError as SiameseError
from .errors import BundleError as BundleError
from .errors import CacheError as CacheError
from .errors import CalibrationError as CalibrationError
from .errors import CheckpointError as CheckpointError
from .errors import ConfigError as ConfigError
from .errors import DataError as DataError
from .errors import FaceError as FaceError
from .errors import GalleryError as GalleryError
from .errors import ImageError as ImageError
from .errors import LoaderError as LoaderError
from .errors import MissingDependencyError as MissingDependencyError
from .errors import NothingLeftError as NothingLeftError
from .errors import UnknownNameError as UnknownNameError
from .errors import SplitError as SplitError
from .errors import WeightsError as WeightsError

__version__: str
