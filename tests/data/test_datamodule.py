"""ImageDataModule, from a folder to batches.

Disjoint identities, bad images on record, the same batches from any number of workers.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import assert_says, quiet_trainer, random_image, write_identities

from siamese.data.datamodule import CsvDataModule, FolderDataModule, ImageDataModule
from siamese.data.loader import BatchLoader
from siamese.data.samplers.balanced_pair_sampler import BalancedPairSampler
from siamese.data.samplers.base import BatchPlan
from siamese.data.samplers.identity_sampler import IdentitySampler
from siamese.data.split_protocols.base import SPLITS
from siamese.data.transforms import Augmentation
from siamese.datasets.identities import IdentityTable
from siamese.errors import ConfigError, DataError, SplitError
from siamese.faces.croppers.none import NoCropper


def module(root: Path, **settings: Any) -> FolderDataModule:
    defaults: dict[str, Any] = {
        "cropper": NoCropper(size=24),
        "sampler": IdentitySampler(3, 2, steps=5),
        "workers": 0,
        "progress": False,
        "cache": root.parent / "cache",
    }
    return FolderDataModule(root, **defaults | settings)


def two_epochs(data: ImageDataModule) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    batches = []
    for epoch in range(2):
        loader.batch_sampler.sampler.set_epoch(epoch)  # as Lightning does
        batches += list(loader)
    return batches


def test_batches_of_a_folder_of_identities(identity_folder):
    data = module(identity_folder)
    batches = list(data.train_dataloader())
    assert len(batches) == 5
    for batch in batches:
        assert batch["image"].shape == (6, 3, 24, 24)
        assert batch["image"].dtype == torch.uint8
        identities = [data.table("train").identities[row] for row in batch["index"].tolist()]
        assert [
            data.table("train").distinct_identities[label] for label in batch["label"].tolist()
        ] == identities
        assert len(set(identities)) == 3


def test_evaluation_meets_each_image_once_in_order_and_unaugmented(identity_folder, monkeypatch):
    monkeypatch.setattr("siamese.data.datamodule.EVAL_BATCH", 5)
    data = module(identity_folder)
    for split, loader in [
        ("calibration", data.val_dataloader()),
        ("test", data.test_dataloader()),
        ("train", None),
    ]:
        batches = list(loader or data.eval_dataloader(split))
        table = data.table(split)
        assert torch.cat([b["index"] for b in batches]).tolist() == list(range(len(table)))
        images = torch.cat([b["image"] for b in batches])
        for file, image in zip(table.files, images, strict=True):
            identity, number = int(file[7:9]), int(Path(file).stem)
            expected = NoCropper(size=24)(random_image(1000 * identity + number)).image
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_training_images_are_augmented_unless_that_is_switched_off(identity_folder):
    plain = two_epochs(module(identity_folder, augmentation=None))
    augmented = two_epochs(module(identity_folder))
    for one, other in zip(plain, augmented, strict=True):
        assert torch.equal(one["index"], other["index"])
        assert not torch.equal(one["image"], other["image"])


def test_a_thread_loads_but_where_a_function_may_use_the_trainings_random_numbers(identity_folder):
    threads = set()

    def own(image, seed):
        threads.add(threading.get_ident())
        return image

    two_epochs(module(identity_folder, augmentation=own))
    assert threads == {threading.get_ident()}
    # A function of one's own may hide in a pipeline.
    inner = A.Lambda(image=lambda image, **_: own(image, ()), p=1)
    threads.clear()
    two_epochs(module(identity_folder, augmentation=A.Compose([A.OneOf([inner], p=1)])))
    assert threads == {threading.get_ident()}
    pipeline = A.Compose([A.HorizontalFlip(p=0.5)])
    for augmentation in (None, Augmentation(), pipeline):
        data = module(identity_folder, augmentation=augmentation)
        loader = data.train_dataloader()
        assert isinstance(loader, BatchLoader)
        # The oracle: each plan loaded here.
        plans = list(data.training_batches())
        for batch, plan in zip(loader, plans, strict=True):
            expected = data.dataset("train")[plan]
            assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_training_images_alone_are_ever_augmented(identity_folder):
    data = module(identity_folder)
    for split, augmented in (("train", True), ("calibration", False), ("test", False)):
        crops = data.dataset(split)
        seeded = crops[BatchPlan(np.array([0]), None, (1, 2, 3, 4))]["image"]
        assert torch.equal(seeded, crops[0]["image"]) is not augmented


def test_nobody_is_in_two_splits(identity_folder):
    for seed in range(5):
        data = module(identity_folder, seed=seed)
        identities = [set(data.table(split).distinct_identities) for split in SPLITS]
        assert sum(map(len, identities)) == len(set().union(*identities)) == 12
        assert set().union(*(data.table(split).files for split in SPLITS)) == set(
            IdentityTable.from_folder(identity_folder).files
        )


def test_a_manifest_with_somebody_in_two_splits_is_refused_at_setup(identity_folder, tmp_path):
    data = module(identity_folder)
    data.setup()
    path = data.manifest.save(tmp_path / "split.json")
    data.manifest.splits["test"].append(data.manifest.splits["train"].pop())
    data.manifest.save(tmp_path / "altered.json")
    module(identity_folder, manifest=path).setup()
    with pytest.raises(SplitError) as caught:
        module(identity_folder, manifest=tmp_path / "altered.json").setup()
    assert_says(caught.value, "identity", "train", "test")


@pytest.mark.parametrize("with_table", [True, False])
def test_a_saved_manifest_gives_the_same_split_whatever_the_seed(
    identity_folder, tmp_path, with_table
):
    first = module(identity_folder, seed=1)
    first.setup()
    path = first.manifest.save(tmp_path / "split.json")
    settings = {
        "cropper": NoCropper(size=24),
        "progress": False,
        "workers": 0,
        "manifest": path,
        "seed": 77,
    }
    again = module(identity_folder, **settings) if with_table else ImageDataModule(**settings)
    for split in SPLITS:
        assert again.table(split) == first.table(split)
    assert again.manifest == first.manifest


def test_a_manifest_is_refused_where_a_file_has_changed(identity_folder, tmp_path):
    data = module(identity_folder)
    data.setup()
    path = data.manifest.save(tmp_path / "split.json")
    shutil.copy(identity_folder / "person_00/0.png", identity_folder / "person_01/1.png")
    with pytest.raises(SplitError) as caught:
        module(identity_folder, manifest=path).setup()
    assert_says(caught.value, "person_01/1.png", "has changed")


def test_the_detector_moves_nobody(identity_folder):
    one, other = module(identity_folder), module(identity_folder, cropper=NoCropper(size=16))
    one.setup()
    other.setup()
    assert one.manifest == other.manifest


def damage(folder: Path) -> dict[str, str]:
    (folder / "person_03/1.png").write_bytes(b"not an image")
    (folder / "person_07/0.png").write_bytes(b"")
    return {"person_03/1.png": "not an image", "person_07/0.png": "0 bytes"}


def test_bad_images_are_an_error(identity_folder):
    bad = damage(identity_folder)
    with pytest.raises(DataError) as caught:
        module(identity_folder).setup()
    assert_says(caught.value, "2 of 48", *bad, *bad.values(), "bad_images=quarantine")


def test_quarantine_is_on_record_and_out_of_every_batch(identity_folder):
    bad = damage(identity_folder)
    data = module(identity_folder, bad_images="quarantine")
    data.setup()
    assert set(data.manifest.quarantine) == set(bad)
    for file, reason in bad.items():
        assert reason in data.manifest.quarantine[file]
    # They stay in their split.
    assert {entry["file"] for split in SPLITS for entry in data.manifest.splits[split]} >= set(bad)
    files = [file for split in SPLITS for file in data.table(split).files]
    assert len(files) == 46
    assert not set(files) & set(bad)
    summary = data.prepared.summary()["splits"]
    assert sum(summary[split]["bad"] for split in SPLITS) == 2
    assert sum(summary[split]["kept"] for split in SPLITS) == 46
    for split in SPLITS:
        assert data.manifest.table(split) == data.table(split)
        assert len(data.dataset(split)) == len(data.table(split))


@pytest.mark.parametrize("bad_images", ["error", "quarantine"])
def test_a_manifest_with_a_quarantine_can_be_used_again(identity_folder, tmp_path, bad_images):
    damage(identity_folder)
    first = module(identity_folder, bad_images="quarantine")
    first.setup()
    path = first.manifest.save(tmp_path / "split.json")
    again = module(identity_folder, manifest=path, bad_images=bad_images)
    for split in SPLITS:
        assert again.table(split) == first.table(split)


def test_an_image_in_quarantine_is_not_used_though_it_was_repaired_since(identity_folder, tmp_path):
    damage(identity_folder)
    first = module(identity_folder, bad_images="quarantine")
    first.setup()
    path = first.manifest.save(tmp_path / "split.json")
    shutil.copy(identity_folder / "person_07/1.png", identity_folder / "person_07/0.png")
    again = module(identity_folder, manifest=path, bad_images="quarantine")
    for split in SPLITS:
        assert again.table(split) == first.table(split)


def test_a_split_of_which_too_little_is_left_is_named(identity_folder):
    data = module(identity_folder)
    data.setup()
    calibration = data.manifest.table("calibration")
    for path in calibration.paths[1:]:
        path.write_bytes(b"")
    with pytest.raises(SplitError) as caught:
        module(identity_folder, bad_images="quarantine").setup()
    assert_says(caught.value, "calibration", f"1 of {len(calibration)}", "add images")


@pytest.mark.parametrize(
    "sampler",
    [IdentitySampler(3, 2, steps=6), BalancedPairSampler(8, steps=6)],
    ids=lambda s: type(s).__name__,
)
def test_batches_are_the_same_bit_for_bit_with_0_1_and_2_workers(identity_folder, sampler):
    alone = two_epochs(module(identity_folder, sampler=sampler))
    assert len(alone) == 12
    assert len({batch["image"].numpy().tobytes() for batch in alone}) == 12
    for workers in (1, 2):
        # The workers persist over both epochs.
        shared = two_epochs(module(identity_folder, sampler=sampler, workers=workers))
        for one, other in zip(alone, shared, strict=True):
            assert one.keys() == other.keys()
            for key in one:
                assert torch.equal(one[key], other[key])


def test_crops_in_memory_or_on_disk_give_the_same_batches(identity_folder):
    held, read = (two_epochs(module(identity_folder, in_memory=choice)) for choice in (True, False))
    assert all(
        torch.equal(one["image"], other["image"]) for one, other in zip(held, read, strict=True)
    )


def test_the_batch_seed_changes_batches_and_not_the_split(identity_folder):
    one, other = module(identity_folder, batch_seed=1), module(identity_folder, batch_seed=2)
    assert not torch.equal(two_epochs(one)[0]["index"], two_epochs(other)[0]["index"])
    assert one.manifest == other.manifest


def test_loading_leaves_the_global_random_state_alone(identity_folder):
    data = module(identity_folder)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    two_epochs(data)
    assert torch.equal(torch.rand(3), expected)


class Recorder(pl.LightningModule):
    """Learns nothing and notes which rows it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[int]]] = []
        self.validated: list[int] = []

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch["index"].tolist()))
        return self.weight * 1.0

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> None:
        if not self.trainer.sanity_checking:
            self.validated += batch["index"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(
    data: ImageDataModule, epochs: int, folder: Path, resume: str | None = None
) -> tuple[Recorder, pl.Trainer]:
    trainer = quiet_trainer(max_epochs=epochs, default_root_dir=folder)
    model = Recorder()
    trainer.fit(model, data, ckpt_path=resume)
    return model, trainer


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and loggers
def test_lightning_announces_each_epoch_and_a_resumed_run_goes_on_as_if_never_stopped(
    identity_folder, tmp_path
):
    model, _ = trained(module(identity_folder), 3, tmp_path)
    epochs = [[rows for at, rows in model.seen if at == epoch] for epoch in range(3)]
    assert [len(rows) for rows in epochs] == [5, 5, 5]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    calibration = len(module(identity_folder).table("calibration"))
    assert model.validated == [*range(calibration)] * 3
    half, trainer = trained(module(identity_folder), 2, tmp_path)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    rest, _ = trained(module(identity_folder), 3, tmp_path, resume=str(tmp_path / "last.ckpt"))
    assert half.seen + rest.seen == model.seen


def test_a_csv_gives_the_same_as_the_folder(identity_folder, tmp_path):
    table = IdentityTable.from_folder(identity_folder)
    lines = [
        f"{file},{identity}" for file, identity in zip(table.files, table.identities, strict=True)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,identity", *lines]), encoding="utf-8")
    data = CsvDataModule(
        tmp_path / "list.csv",
        identity_folder,
        cropper=NoCropper(size=24),
        workers=0,
        progress=False,
    )
    folder = module(identity_folder)
    for split in SPLITS:
        assert data.table(split).files == folder.table(split).files


def test_a_second_module_crops_nothing(identity_folder):
    first, second = module(identity_folder), module(identity_folder, seed=9)
    first.setup()
    second.prepare_data()
    second.setup("fit")
    assert (first.prepared.computed, second.prepared.computed) == (48, 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"table": None}, ["no data", "split.json"]),
        ({"bad_images": "quarantin"}, ["bad_images", "'quarantin'", "did you mean 'quarantine'"]),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ConfigError) as caught:
        ImageDataModule(**{"table": lambda: None} | settings)
    assert_says(caught.value, *words)


def test_an_unknown_split_is_named(identity_folder):
    with pytest.raises(ConfigError) as caught:
        module(identity_folder).dataset("tset")
    assert_says(caught.value, "'tset'", "did you mean 'test'")


def test_identities_that_are_too_few_are_told_before_anything_is_cropped(tmp_path):
    data = module(write_identities(tmp_path / "identities", [3, 3]))
    with pytest.raises(SplitError) as caught:
        data.setup()
    assert_says(caught.value, "2 identities", "at least 6 identities")
    assert not (tmp_path / "cache").exists()
