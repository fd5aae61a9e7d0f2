"""Draw the layers of every network into docs/images/networks/, out of the networks themselves.

    python docs/tools/draw_networks.py [--check]

With --check nothing is written; it fails where a drawing is not that of the network of today.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

import torch
from torch import nn

import siamese

sys.path.insert(0, str(Path(__file__).parent))

from layers import Row, rows_of

FOLDER = Path(__file__).parents[1] / "images" / "networks"
WIDTH, ROW, TOP = 480, 44, 56
INK, PALE, PARTS = "#1d2b2a", "#5b6b69", "#00796b"


def networks() -> dict[str, tuple[str, nn.Module, torch.Tensor]]:
    """File name -> title, network, and images of the size that it is used with."""
    tower = siamese.EnsembleNet().towers[0]
    return {
        "small_res_net": ("SmallResNet", siamese.SmallResNet(), torch.zeros(2, 3, 160, 160)),
        "dlib_res_net": ("DlibResNet", siamese.DlibResNet(), torch.zeros(2, 3, 150, 150)),
        "ensemble_net": ("EnsembleNet, one of its towers", tower, _tower_input(tower)),
        "face_comparer_net": (
            "FaceComparerNet, one branch",
            siamese.FaceComparerNet(),
            torch.zeros(2, 3, 32, 32),
        ),
        "face_similarity_net": (
            "FaceSimilarityNet",
            siamese.FaceSimilarityNet(),
            torch.zeros(2, 3, 160, 160),
        ),
    }


def _tower_input(tower: nn.Module) -> torch.Tensor:
    first = next(m for m in tower.modules() if isinstance(m, nn.Conv2d))
    size = siamese.EnsembleNet().size
    return torch.zeros(2, first.in_channels, size, size)


def draw(title: str, rows: list[Row], images: torch.Tensor) -> str:
    """An SVG, from image to embedding: a box for each row, as wide as its maps are large."""
    height = TOP + ROW * (len(rows) + 1) + sum(15 for row in rows if row.inside) + 14
    total = sum(row.parameters for row in rows)
    said = f"{title}: {total:,} parameters".replace(",", " ")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(said)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="15" font-weight="600" fill="{INK}">{escape(title)}</text>',
        f'<text x="16" y="44" fill="{PALE}">{total:,} parameters</text>',
    ]
    y = TOP
    y = _box(parts, y, Row("image", tuple(images.shape[1:]), 0), images.shape[-1], "#eceff1")
    for row in rows:
        y = _box(parts, y, row, images.shape[-1], _shade(row))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(parts: list[str], y: int, row: Row, largest: int, fill: str) -> int:
    """Append one row at ``y``, in pixels, and return where the next one begins."""
    side = row.shape[-1] if len(row.shape) == 3 else 1
    width = 240 + round(60 * (side / largest) ** 0.5)
    x, tall = 170 - width // 2, 32 + (15 if row.inside else 0)
    label = row.text + (f"  x {row.times}" if row.times > 1 else "")
    parts.append(
        f'<rect x="{x}" y="{y}" width="{width}" height="{tall}" rx="5" fill="{fill}" '
        f'stroke="{PARTS}" stroke-width="1"/>'
    )
    parts.append(
        f'<text x="170" y="{y + 20}" text-anchor="middle" fill="{INK}">{escape(label)}</text>'
    )
    if row.inside:
        parts.append(
            f'<text x="170" y="{y + 37}" text-anchor="middle" font-size="11" '
            f'fill="{PALE}">{escape(_inside(row.inside))}</text>'
        )
    if row.skips:  # the input goes round the block, and is added to its output
        right = x + width
        parts.append(
            f'<path d="M{right} {y - 4} h9 v{tall + 6} h-9" fill="none" stroke="{PARTS}"/>'
        )
    shape = " x ".join(map(str, row.shape))
    parts.append(f'<text x="340" y="{y + 15}" fill="{INK}">{shape}</text>')
    if row.parameters:
        parts.append(
            f'<text x="340" y="{y + 29}" font-size="11" fill="{PALE}">'
            f"{row.parameters:,} parameters</text>"
        )
    return y + tall + 12


def _inside(texts: list[str]) -> str:
    """The layers of a block, those of one kind counted."""
    kinds = Counter(text.partition(", stride")[0] for text in texts)
    said = ", ".join(f"{n} of {text}" if n > 1 else text for text, n in kinds.items())
    return said + ("; the first in steps of 2" if ", stride 2" in texts[0] else "")


def _shade(row: Row) -> str:
    if row.skips:
        return "#d7efec"
    if row.text.startswith("conv"):
        return "#e6f4f1"
    return "#fff3e0" if row.text.startswith("dense") else "#f1f3f4"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for name, (title, network, images) in networks().items():
        path = FOLDER / f"{name}.svg"
        drawn = draw(title, rows_of(network, images), images)
        if not check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(drawn, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != drawn:
            sys.exit(f"{path} is not the network of today: python docs/tools/draw_networks.py")


if __name__ == "__main__":
    main()
