"""How errors move with the quality of a photograph, on LFW and on degraded copies of it.

    python benchmarks/quality.py LFW --photographs quality.npz    looks at every photograph, once
    python benchmarks/quality.py LFW --natural quality.npz        prints the table of LFW as it is
    python benchmarks/quality.py LFW --degraded                   prints that of degraded copies

The verifier is the pretrained bundle's, at its own threshold. Pairs are all those among the people
of View 2, on whom nothing was trained or calibrated. In the first table a pair belongs to the worse
of its two photographs. In the second, photographs of the first folds are degraded and compared with
the photographs as they are. LFW is the folder with the images' folder and pairs.txt.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageFilter

import siamese
from siamese.datasets.identities import normalise_identity

FIGURES = ("width", "sharpness", "yaw", "score")
# A photograph counts as worse the smaller these are.
WORSE_IF_LARGE = {"yaw"}


def looked_at(
    paths: list[str], change: Callable[[Image.Image], Image.Image]
) -> dict[str, np.ndarray]:
    """Embeddings and qualities of photographs; NaN where no face is found."""
    verifier = siamese.Verifier.pretrained()
    rows = np.full((len(paths), 128), np.nan, dtype=np.float32)
    figures = np.full((len(paths), len(FIGURES)), np.nan)
    for n, path in enumerate(paths):
        try:
            look = verifier.look(change(Image.open(path).convert("RGB")))
        except siamese.FaceError:
            continue
        found = verifier.quality(look.face)
        if found is None:
            continue
        rows[n] = verifier.embed_faces([look.face])[0]
        figures[n] = [getattr(found, name) for name in FIGURES]
        if n % 500 == 0:
            print(f"{n:,} of {len(paths):,}", flush=True)
    return {"embeddings": rows, "figures": figures}


def photographs(root: str, out: str) -> None:
    """Look at every photograph, and keep what was found."""
    table = siamese.load_lfw(root)
    found = looked_at([str(path) for path in table.paths], lambda image: image)
    np.savez(out, **found, identities=np.array(table.identities), paths=np.array(table.paths, str))


def of_view_2(root: str, identities: np.ndarray) -> np.ndarray:
    """Which rows show people of View 2."""
    tested = {normalise_identity(name) for name in siamese.lfw_view2(root).identities}
    return np.array([name in tested for name in identities])


def natural(root: str, file: str) -> None:
    """Error rates by the worse photograph of a pair."""
    kept = np.load(file)
    chosen = of_view_2(root, kept["identities"]) & np.isfinite(kept["embeddings"][:, 0])
    embeddings, figures = kept["embeddings"][chosen], kept["figures"][chosen]
    _, labels = np.unique(kept["identities"][chosen], return_inverse=True)
    threshold = siamese.pretrained_bundle().operating_point.threshold
    for k, name in enumerate(FIGURES):
        badness = figures[:, k] * (1 if name in WORSE_IF_LARGE else -1)
        # Few widths occur: the detector looks at few sizes.
        edges = np.unique(np.quantile(badness, [0.0, 0.5, 0.75, 0.9, 0.97, 0.99, 1.0]))
        counts = np.zeros((len(edges) - 1, 4), dtype=np.int64)  # genuine, missed, impostor, matched
        for start in range(0, len(labels), 512):
            rows = slice(start, start + 512)
            distances = np.sqrt(
                np.maximum(2 - 2 * embeddings[rows].astype(np.float64) @ embeddings.T, 0)
            )
            worse = np.maximum(badness[rows, None], badness[None])
            bins = np.clip(np.searchsorted(edges, worse) - 1, 0, len(counts) - 1)
            later = np.arange(len(labels))[None] > np.arange(start, start + len(distances))[:, None]
            same, match = labels[rows, None] == labels[None], distances <= threshold
            for column, mask in enumerate((same, same & ~match, ~same, ~same & match)):
                counts[:, column] += np.bincount(bins[later & mask], minlength=len(counts))
        print(f"\n| {name} of the worse photograph | genuine | FNMR | impostor | FMR |")
        print("|---|---|---|---|---|")
        for low, high, (genuine, missed, impostor, matched) in zip(
            edges[:-1], edges[1:], counts, strict=True
        ):
            ends = sorted((abs(low), abs(high))) if name != "score" else sorted((-low, -high))
            print(
                f"| {ends[0]:.3g} to {ends[1]:.3g} | {genuine:,} | {missed / max(genuine, 1):.4f} "
                f"| {impostor:,} | {matched / max(impostor, 1):.5f} |",
                flush=True,
            )


def changes() -> Iterator[tuple[str, Callable[[Image.Image], Image.Image]]]:
    """The degradations, from none on."""
    yield "as it is", lambda image: image
    for share in (0.5, 0.35, 0.25, 0.18):
        yield (
            f"{share:g} of its size",
            lambda image, s=share: image.resize(
                (round(image.width * s), round(image.height * s)), Image.Resampling.BOX
            ),
        )
    for radius in (1, 2, 3, 4):
        yield (
            f"blurred by {radius} pixels",
            lambda image, r=radius: image.filter(ImageFilter.GaussianBlur(r)),
        )


def degraded(root: str, pairs: int) -> None:
    """Error rates of degraded photographs against those as they are."""
    benchmark = siamese.lfw_view2(root)
    rows = np.unique(np.concatenate([benchmark.left[:pairs], benchmark.right[:pairs]]))
    paths = [str(benchmark.paths[i]) for i in rows]
    names = np.asarray(benchmark.labels)[rows]
    threshold = siamese.pretrained_bundle().operating_point.threshold
    reference = None
    print(f"{len(paths):,} photographs of {len(np.unique(names)):,} people\n")
    print("| photographs | no face | width | sharpness | warned | FNMR | FMR |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, change in changes():
        found = looked_at(paths, change)
        rows_, figures = found["embeddings"], found["figures"]
        reference = rows_ if reference is None else reference
        distances = np.sqrt(np.maximum(2 - 2 * rows_.astype(np.float64) @ reference.T, 0))
        known = np.isfinite(distances) & ~np.eye(len(paths), dtype=bool)
        same, match = names[:, None] == names[None], distances <= threshold
        limits = siamese.QualityLimits()
        poor = (figures < [limits.width, limits.sharpness, -np.inf, limits.score]).any(axis=1)
        poor |= figures[:, 2] > limits.yaw
        with np.errstate(invalid="ignore"):
            middle = np.nanmedian(figures, axis=0)
        print(
            f"| {name} | {np.isnan(rows_[:, 0]).mean():.3f} | {middle[0]:.0f} | {middle[1]:.3f} "
            f"| {poor.sum() / max(1, np.isfinite(rows_[:, 0]).sum()):.3f} "
            f"| {(~match & same & known).sum() / (same & known).sum():.4f} "
            f"| {(match & ~same & known).sum() / (~same & known).sum():.5f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw")
    parser.add_argument("--photographs", metavar="FILE")
    parser.add_argument("--natural", metavar="FILE")
    parser.add_argument("--degraded", action="store_true")
    parser.add_argument("--pairs", type=int, default=700, help="of View 2 (default: %(default)s)")
    args = parser.parse_args()
    if args.photographs:
        photographs(args.lfw, args.photographs)
    if args.natural:
        natural(args.lfw, args.natural)
    if args.degraded:
        degraded(args.lfw, args.pairs)
