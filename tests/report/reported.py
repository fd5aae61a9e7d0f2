"""What tests of the report share: a small run whose people have names of strangers."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

import torch
from tests.helpers import write_image

import siamese
from siamese.evaluation.report_data import write_run_report

HOSTILE = "<script>alert(1)</script>"
TAIL = "</script><img src=x onerror=alert(2)>"
ORDER = [
    "verdict", "figures", "threshold", "learning", "distances", "errors", "reliability", "groups",
    "mistakes", "batch", "data", "settings",
]  # fmt: skip


class Elements(HTMLParser):
    """Elements with their attributes, and all text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found, self.text, self.inside = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text.append(data.replace("\u00a0", " "))

    def ids(self, tag):
        return [attrs["id"] for name, attrs in self.found if name == tag and "id" in attrs]


def write_table(root: Path) -> Path:
    """Images of 30 identities, and a CSV file that names them and their groups."""
    rows = []
    for who in range(30):
        name = f"{HOSTILE}{who:02d}" if who % 2 else f"p{who:02d}{TAIL}"
        for i in range(4):
            path = write_image(root / f"{who:02d}" / f"a & b <{i}>.png", 40 * who + i, 32, 32)
            rows.append([path.relative_to(root), name, f"{TAIL}{who % 2}"])
    table = root / "people.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "identity", "group_<b>site</b>"], *rows])
    return table


def small_run(table: Path, folder: Path, seed: int = 0, **settings: object) -> siamese.TrainingRun:
    """A run of one epoch, which knows nothing."""
    torch.manual_seed(seed)
    module = siamese.SiameseModule(
        siamese.SmallResNet(widths=(4,), depths=(1,), learned_size=4, gradient_cells=0),
        siamese.ContrastiveLoss(),
    )
    data = siamese.CsvDataModule(
        table,
        root=table.parent,
        cropper=siamese.NoCropper(24),
        sampler=siamese.IdentitySampler(identities=4, images=2, steps=2),
        workers=0,
        progress=False,
    )
    given = {"max_epochs": 1, "verbose": False, "baselines": ["untrained"]} | settings
    run = siamese.train(module, data, folder, **given)
    if not given.get("plots", True):  # then no image is kept; drawing all plots takes seconds
        batch = (data.first_batch(), data.dataset("train"))
        write_run_report(run.evaluation, run.folder, draw=False, batch=batch)
    return run
