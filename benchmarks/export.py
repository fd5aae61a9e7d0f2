"""Exported networks beside the bundle that they were made of: View 2, speed, cold start.

    python benchmarks/export.py lfw precision [--images 200] [--workers 1]
    python benchmarks/export.py lfw cold [--photographs A B] [--rounds 10] [--python PYTHON]

The first writes the pretrained bundle in every precision and embeds all images of LFW's View 2 with
each, and with torch. int8 chooses its ranges on images of people who are in no pair of View 2. The
second times `siamese verify` as a process, with torch and without, in turn; PYTHON is that of an
environment in which torch is not installed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import siamese

PRECISIONS = ("float32", "float16", "int8")
TURNS = 7  # of the timing, 64 crops each


def others(root: str, pairs: siamese.PairsFile, count: int) -> list[Path]:
    """One image each of people who are in no pair of View 2, evenly chosen."""
    used = {file.split("/")[0] for file in pairs.files}
    table = siamese.load_lfw(root)
    first: dict[str, Path] = {}
    for path in table.paths:
        if path.parent.name not in used:
            first.setdefault(path.parent.name, path)
    everybody = list(first.values())
    return everybody[:: max(1, len(everybody) // count)][:count]


def embedded(engine: siamese.Engine, crops: list[np.ndarray]) -> np.ndarray:
    """One at a time, as a verifier does."""
    return np.concatenate([engine.embed([crop]) for crop in crops])


def precision(root: str, images: int, workers: int) -> None:
    """Accuracy, verdicts, size and speed of each precision."""
    bundle, pairs = siamese.pretrained_bundle(), siamese.lfw_view2(root)
    files = [pairs.root / file for file in pairs.files]
    cropper = replace(bundle.cropper, no_face="skip")
    cropped = siamese.crop_files(files, cropper, workers=workers)
    kept = np.array([file is not None for file in cropped.files])
    crops = [siamese.read_image(file) for file in cropped.files if file is not None]
    row = np.cumsum(kept) - 1
    refused = ~(kept[pairs.left] & kept[pairs.right])
    left, right = row[pairs.left], row[pairs.right]
    engines: dict[str, siamese.Engine] = {"torch": bundle.engine(bundle.tta, "cpu")}
    sizes: dict[str, str] = {"torch": ""}
    with tempfile.TemporaryDirectory() as folder:
        for kind in PRECISIONS:
            some = others(root, pairs, images) if kind == "int8" else None
            path = Path(folder) / f"{kind}.onnx"
            sizes[kind] = f"{siamese.export_onnx(bundle, path, precision=kind, images=some).bytes}"
            engines[kind] = siamese.OnnxModel.load(path).engine()
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(TURNS):
        for name, engine in engines.items():
            for batch in (1, 64):
                start = time.perf_counter()
                for first in range(0, 64, batch):
                    engine.embed(crops[first : first + batch])
                speeds.setdefault((name, batch), []).append(64 / (time.perf_counter() - start))
    wanted: np.ndarray | None = None
    print(f"{refused.sum()} of {len(refused)} pairs have an image on which no face is found")
    for name, engine in engines.items():
        rows = embedded(engine, crops)
        d = engine.measure(rows[left], rows[right])
        wanted = d if wanted is None else wanted
        found = siamese.cross_validate(d, pairs.same, pairs.fold, refused=refused)
        same = siamese.is_match(d, bundle.operating_point.threshold) & ~refused
        verdicts = siamese.is_match(wanted, bundle.operating_point.threshold) & ~refused
        alone, many = (statistics.median(speeds[name, batch]) for batch in (1, 64))
        print(
            f"{name}: {sizes[name]} bytes; accuracy {found.mean:.4f} +- "
            f"{found.standard_error:.4f}; at the bundle's threshold accuracy "
            f"{np.mean(same == pairs.same):.4f}, FMR {same[~pairs.same].mean():.4f}, FNMR "
            f"{1 - same[pairs.same].mean():.4f}; {np.sum(same != verdicts)} verdicts other than "
            f"torch's, largest difference of a distance {np.abs(d - wanted)[~refused].max():.2g}; "
            f"{alone:.0f} and {many:.0f} crops a second (one, 64 at a time)"
        )


def children() -> float:
    """Seconds that all processes which have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cold(two: list[str], rounds: int, python: str) -> None:
    """Seconds from the start of a process to its verdict on two photographs."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(siamese.export_onnx(siamese.pretrained_bundle(), f"{folder}/model.onnx").path)
        siamese.Bundle.load("pretrained").save(f"{folder}/bundle")
        here, there = [sys.executable, "-m", "siamese"], [python, "-m", "siamese"]
        ways: dict[str, list[str]] = {
            "torch, pretrained": [*here, "verify", *two],
            "torch, a bundle": [*here, "verify", *two, "--bundle", f"{folder}/bundle"],
            "onnxruntime, torch installed": [*here, "verify", *two, "--bundle", path],
            "onnxruntime, no torch": [*there, "verify", *two, "--bundle", path],
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        of_processor: dict[str, list[float]] = {name: [] for name in ways}
        said: dict[str, Any] = {}
        # Python keeps what it has compiled, as it does where nothing forbids it.
        kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        for turn in range(rounds + 1):
            for name, words in ways.items():
                start, before = time.perf_counter(), children()
                done = subprocess.run(
                    words, capture_output=True, text=True, cwd=folder, env=os.environ | kept
                )
                took, used = time.perf_counter() - start, children() - before
                assert done.returncode in (0, 1), done.stderr
                said[name] = done.stdout.splitlines()[0]
                if turn:  # the first one reads files from the disk, and compiles
                    seconds[name].append(took)
                    of_processor[name].append(used)
    base = "torch, pretrained"
    for name in ways:
        wall, used = (statistics.median(kind[name]) for kind in (seconds, of_processor))
        walls, useds = (statistics.median(kind[base]) for kind in (seconds, of_processor))
        print(
            f"{name}: {wall:.2f} s, {wall / walls:.2f} of torch's; of the processor {used:.2f} s, "
            f"{used / useds:.2f} of torch's ({said[name]})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", help="LFW's folder of people; pairs.txt lies in it or beside it")
    parser.add_argument("what", choices=("precision", "cold"))
    parser.add_argument("--images", type=int, default=200, help="by which int8 chooses its ranges")
    parser.add_argument("--workers", type=int, help="processes that crop")
    parser.add_argument(
        "--photographs",
        nargs=2,
        metavar=("A", "B"),
        default=["George_W_Bush/George_W_Bush_0001.jpg", "George_W_Bush/George_W_Bush_0002.jpg"],
        help="of the folder, to verify (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--python", default=sys.executable, help="one without torch")
    args = parser.parse_args()
    if args.what == "precision":
        precision(args.root, args.images, args.workers)
    else:
        two = [str(Path(args.root).resolve() / name) for name in args.photographs]
        cold(two, args.rounds, args.python)


if __name__ == "__main__":
    main()
