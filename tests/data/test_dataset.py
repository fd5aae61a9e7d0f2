"""CropDataset gives the images that a plan names, augmented by the plan's seed.

They are the same from memory and from disk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import assert_says, random_image
from torch import Tensor, nn

from siamese.data.dataset import CropDataset
from siamese.data.embedding import embed
from siamese.data.samplers.base import BatchPlan
from siamese.data.transforms import Augmentation
from siamese.errors import CacheError

LABELS = np.array([0, 0, 1, 1, 2, 2], dtype=np.int64)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{row}.png" for row in range(6)]
    for row, path in enumerate(paths):
        Image.fromarray(random_image(row, 24, 24)).save(path)
    return paths


@pytest.mark.parametrize("in_memory", [True, False, None])
def test_a_batch_holds_what_the_plan_names(files, in_memory):
    data = CropDataset(files, LABELS, None, in_memory)
    pairs = np.array([[0, 1], [2, 0]])
    batch = data[BatchPlan(np.array([4, 0, 5]), pairs, (1, 2, 3, 0))]
    assert len(data) == 6
    for slot, row in enumerate((4, 0, 5)):
        np.testing.assert_array_equal(
            batch["image"][slot].permute(1, 2, 0).numpy(), random_image(row, 24, 24)
        )
    assert batch["image"].shape == (3, 3, 24, 24)
    assert batch["image"].is_contiguous()
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].tolist() == [2, 0, 2]
    assert batch["index"].tolist() == [4, 0, 5]
    assert batch["pairs"].tolist() == pairs.tolist()
    assert batch["label"].dtype == batch["index"].dtype == batch["pairs"].dtype == torch.int64


def test_one_row_is_a_batch_of_one_and_has_no_pairs(files):
    batch = CropDataset(files, LABELS, Augmentation())[3]
    np.testing.assert_array_equal(
        batch["image"][0].permute(1, 2, 0).numpy(), random_image(3, 24, 24)
    )
    assert (batch["label"].tolist(), batch["index"].tolist()) == ([1], [3])
    assert "pairs" not in batch


@pytest.mark.parametrize("in_memory", [True, False])
def test_augmentation_follows_the_plans_seed_and_the_place_in_the_batch(files, in_memory):
    data = CropDataset(files, LABELS, Augmentation(), in_memory)
    plan = BatchPlan(np.array([2, 2]), None, (1, 2, 3, 0))
    one, again = data[plan]["image"], data[plan]["image"]
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, data[BatchPlan(np.array([2, 2]), None, (1, 2, 4, 0))]["image"])
    plain = data[BatchPlan(np.array([2]))]["image"]  # nothing of this is left in memory
    np.testing.assert_array_equal(plain[0].permute(1, 2, 0).numpy(), random_image(2, 24, 24))


def test_a_lost_crop_is_named(files):
    data = CropDataset(files, LABELS, None, in_memory=False)
    files[3].unlink()
    with pytest.raises(CacheError) as caught:
        data[3]
    assert_says(caught.value, files[3], "run again")


class Mean(nn.Module):
    """Embeds an image as its mean colour; in training mode as nonsense."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return image.float().mean(dim=(2, 3)) * self.one * (float("nan") if self.training else 1)


@pytest.mark.parametrize("batch", [1, 4, 100])
@pytest.mark.parametrize("training", [True, False])
def test_embedding_a_data_set(files, batch, training):
    model = Mean().train(training)
    embeddings = embed(model, CropDataset(files, LABELS, Augmentation()), batch)
    expected = np.stack([random_image(row, 24, 24).mean(axis=(0, 1)) for row in range(6)])
    np.testing.assert_allclose(embeddings.numpy(), expected, rtol=1e-5)
    assert model.training is training
    assert not embeddings.requires_grad
