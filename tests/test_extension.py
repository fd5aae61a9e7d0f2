"""Adding a component touches two files, its own and its configuration: one of each is added.

In a copy of the package eight classes are added, each in one new file beside its like, with one new
configuration each; nothing else is changed. Then a run is trained with all of them by the command,
and its bundle verifies.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import write_identities

ROOT = Path(__file__).parents[1]
# What is added -> its file, the file's content, its configuration, the configuration's content.
ADDED = {
    "loss": (
        "losses/spread.py",
        '''"""A loss that an added file holds."""

from siamese.losses.contrastive import ContrastiveLoss


class SpreadLoss(ContrastiveLoss):
    """Contrastive, by another name."""
''',
        "module/loss/spread_loss.yaml",
        "_target_: siamese.losses.spread.SpreadLoss\ndistance: ${distance}\n",
    ),
    "backbone": (
        "backbones/tiny_net.py",
        '''"""A backbone that an added file holds."""

from torch import nn

from siamese.backbones.base import BACKBONES, Backbone, to_unit_range


@BACKBONES.register("tiny_net")
class TinyNet(Backbone):
    """One layer over the mean colours of nine fields."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.size = self.embedding_size = size
        self.fields, self.layer = nn.AdaptiveAvgPool2d(3), nn.Linear(27, size)

    def forward(self, images):
        return self.layer(self.fields(to_unit_range(images)).flatten(1))
''',
        "module/backbone/tiny_net.yaml",
        "_target_: siamese.backbones.tiny_net.TinyNet\n",
    ),
    "distance": (
        "distances/squared.py",
        '''"""A distance that an added file holds."""

from siamese.distances.base import DISTANCES, Distance


@DISTANCES.register("squared")
class SquaredDistance(Distance):
    """The squared euclidean distance."""

    squared = True

    def of_squares(self, squares):
        return squares

    def forward(self, a, b):
        return (a - b).square().sum(dim=-1).float()
''',
        "distance/squared.yaml",
        "_target_: siamese.distances.squared.SquaredDistance\n",
    ),
    "policy": (
        "verification/policies/generous.py",
        '''"""A policy that an added file holds."""

from dataclasses import dataclass

from siamese.verification.policies.base import POLICIES
from siamese.verification.policies.recall import Recall


@POLICIES.register("generous")
@dataclass(frozen=True)
class Generous(Recall):
    """Every genuine pair is accepted."""

    rate: float = 1.0
''',
        "policy/generous.yaml",
        "_target_: siamese.verification.policies.generous.Generous\n",
    ),
    "data set": (
        "datasets/suffixed.py",
        '''"""A data set that an added file holds."""

from siamese.datasets.identities import IdentityTable


def load_suffixed(root):
    """A folder of identities, by another name."""
    return IdentityTable.from_folder(root, name="suffixed")
''',
        "data/suffixed.yaml",
        """defaults:
  - split: identity_disjoint
  - cropper: none
  - sampler: identity_sampler
  - augmentation: augmentation
  - _self_

_target_: siamese.ImageDataModule
table:
  _target_: siamese.datasets.suffixed.load_suffixed
  _partial_: true
  root: ???
batch_seed: ${seed}
""",
    ),
    "cropper": (
        "faces/croppers/middle.py",
        '''"""A cropper that an added file holds."""

from dataclasses import dataclass

from siamese.faces.align import crop_to_square, whole
from siamese.faces.croppers.base import CROPPERS, Crop, Cropper


@CROPPERS.register("middle")
@dataclass(frozen=True)
class MiddleCropper(Cropper):
    """The middle of an image."""

    size: int = 24

    def __call__(self, image):
        return Crop(crop_to_square(image, whole(image).grown(-0.2), self.size), None)
''',
        "data/cropper/middle.yaml",
        "_target_: siamese.faces.croppers.middle.MiddleCropper\n",
    ),
    "sampler": (
        "data/samplers/first_sampler.py",
        '''"""A sampler that an added file holds."""

from dataclasses import dataclass

from siamese.data.samplers.identity_sampler import IdentitySampler


@dataclass(frozen=True)
class FirstSampler(IdentitySampler):
    """P x K, by another name."""

    identities: int = 4
    images: int = 2
    steps: int | None = 2
''',
        "data/sampler/first_sampler.yaml",
        "_target_: siamese.data.samplers.first_sampler.FirstSampler\n",
    ),
    "pair rule": (
        "pairs/neighbours.py",
        '''"""A pair rule that an added file holds."""

from dataclasses import dataclass

import numpy as np

from siamese.pairs.base import PAIR_RULES, PairRule, Pairs


@PAIR_RULES.register("neighbours")
@dataclass(frozen=True)
class Neighbours(PairRule):
    """Each image with the next one, and with the one after the next three."""

    def __call__(self, labels):
        left = np.concatenate([np.arange(len(labels) - 1), np.arange(len(labels) - 4)])
        right = np.concatenate([np.arange(1, len(labels)), np.arange(4, len(labels))])
        return Pairs(left, right, labels[left] == labels[right])
''',
        "pairs/neighbours.yaml",
        "_target_: siamese.pairs.neighbours.Neighbours\n",
    ),
}
WORDS = [
    *("data=suffixed", "data.table.root=people", "data/cropper=middle", "data.workers=0"),
    *("data/sampler=first_sampler", "module/backbone=tiny_net", "module/loss=spread_loss"),
    *("distance=squared", "policy=generous", "pairs=neighbours", "max_epochs=1"),
    "hydra.run.dir=run",
    "plots=false",
]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with the additions, and a folder to work in."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "src" / "siamese", folder / "src" / "siamese")
    shutil.copytree(ROOT / "conf", folder / "conf")
    for file, content, config, settings in ADDED.values():
        for path, text in (
            (folder / "src" / "siamese" / file, content),
            (folder / "conf" / config, settings),
        ):
            assert not path.exists()
            path.write_text(text)
    write_identities(folder / "people", [4] * 30)
    return folder


def command(folder, *words):
    code = "import sys; from siamese.cli.main import main; sys.exit(main(sys.argv[1:]))"
    path = str(folder / "src")
    setting = f"import sys; sys.path.insert(0, {path!r}); {code}"
    return subprocess.run(
        [sys.executable, "-c", setting, *words], cwd=folder, capture_output=True, text=True
    )


def test_two_files_each_are_enough_to_train_calibrate_and_verify(extended):
    done = command(extended, "train", *WORDS)
    assert done.returncode == 0, done.stderr
    bundle = json.loads((extended / "run" / "bundle" / "bundle.json").read_text())
    assert (bundle["backbone"]["name"], bundle["cropper"]["name"]) == ("tiny_net", "middle")
    assert bundle["distance"]["name"] == "squared"
    point = bundle["operating_point"]
    assert (point["policy"], point["pair_rule"]["name"]) == ("generous", "neighbours")
    assert "SpreadLoss" in bundle["provenance"]["loss"]
    assert bundle["provenance"]["dataset"] == "suffixed"
    images = sorted((extended / "people" / "person_00").iterdir())[:2]
    verdict = command(extended, "verify", *map(str, images), "--bundle", "run", "--json")
    assert verdict.returncode in (0, 1), verdict.stderr
    assert json.loads(verdict.stdout)["threshold"] == point["threshold"]


def test_the_command_offers_them(extended):
    assert "neighbours" in command(extended, "evaluate", "--help").stdout
    assert "generous" in command(extended, "evaluate", "--help").stdout
    shown = command(extended, "train", "--help").stdout
    for group in ("spread_loss", "tiny_net", "squared", "suffixed", "middle", "first_sampler"):
        assert group in shown
