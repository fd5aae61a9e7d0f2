"""Choose the F1-optimal threshold over all pairs with siamese, scikit-learn and torchmetrics.

    python benchmarks/calibration.py EMBEDDINGS.npz [--rounds R] [--images N] [--growth]
    python benchmarks/calibration.py --processes K [--rounds R] [--images N]

EMBEDDINGS.npz holds `embeddings` (N, D) and `identities` (N,), as benchmarks/lfw_descriptors.py
writes them. From embeddings to threshold every way runs in a process of its own, one after the
other, R times; imports and reading are not counted. Memory is the peak of the process above what it
held before (Linux only). The other libraries get their distances from a float64 matrix product in
blocks, which is quicker than any call of theirs for it. `--images` takes N of the images, all that
there are of people drawn at random. `--growth` runs siamese on made-up embeddings of 10,000 to
40,000 images as well. `--processes` compares K processes with one on N made-up embeddings, by
default 100,000: benchmarks/processes.py does it.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import processes

BLOCK = 1024


def product(rows: Any, _: Any) -> dict[str, float]:
    """Every inner product once or twice, none of them kept: the least that all distances take."""
    total = 0.0
    for i in range(0, len(rows), BLOCK):
        for j in range(0, len(rows), BLOCK):
            total += float((rows[i : i + BLOCK] @ rows[j : j + BLOCK].T)[0, 0])
    return {"total": total}


def siamese_threshold(rows: Any, who: Any) -> dict[str, float]:
    import siamese

    found = siamese.calibrate(rows, who, probability=None, intervals=False)
    return {"threshold": found.threshold, "f1": found.f1}


def siamese_all(rows: Any, who: Any) -> dict[str, float]:
    import siamese

    found = siamese.calibrate(rows, who)
    balanced = found.with_policy(siamese.MaxF1(prevalence="balanced"))
    low, high = found.band
    return {
        "threshold": found.threshold,
        "f1": found.f1,
        "low": low,
        "high": high,
        "balanced": balanced.threshold,
    }


def held_pairs(rows: Any, who: Any) -> tuple[Any, Any]:
    """Distances (float32) and labels (bool) of all pairs i < j, as quickly as memory takes them."""
    import torch

    n, wide = len(rows), rows.double()
    squares = wide.square().sum(dim=1)
    distances, same = torch.empty(n * (n - 1) // 2), torch.empty(n * (n - 1) // 2, dtype=torch.bool)
    identity = torch.from_numpy(np.unique(who, return_inverse=True)[1])
    end = 0
    for i in range(0, n, BLOCK):
        block = torch.addmm(
            squares[i : i + BLOCK, None] + squares[None], wide[i : i + BLOCK], wide.T, alpha=-2
        )
        block = block.clamp_(min=0).sqrt_().float()
        for k, row in enumerate(block):
            after, start, end = i + k + 1, end, end + n - i - k - 1
            distances[start:end] = row[after:]
            same[start:end] = identity[after:] == identity[i + k]
    return distances, same


def scikit_learn(rows: Any, who: Any) -> dict[str, float]:
    from sklearn.metrics import precision_recall_curve

    distances, same = held_pairs(rows, who)
    precision, recall, thresholds = precision_recall_curve(same.numpy(), -distances.numpy())
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision[:-1] * recall[:-1] / (precision[:-1] + recall[:-1]))
    return {"threshold": -float(thresholds[f1.argmax()]), "f1": float(f1.max())}


def torchmetrics(rows: Any, who: Any) -> dict[str, float]:
    from torchmetrics.classification import BinaryPrecisionRecallCurve

    distances, same = held_pairs(rows, who)
    # With a normalisation, distances above 1 go through a sigmoid.
    metric = BinaryPrecisionRecallCurve(normalization=None)
    metric.update(-distances, same)
    precision, recall, thresholds = metric.compute()
    f1 = (2 * precision * recall / (precision + recall)).nan_to_num()[:-1]
    return {"threshold": -float(thresholds[f1.argmax()]), "f1": float(f1.max())}


WAYS: dict[str, tuple[Callable[[Any, Any], dict[str, float]], str]] = {
    "matrix product, float32": (product, "float32"),
    "matrix product, float64": (product, "float64"),
    "siamese, threshold and curve": (siamese_threshold, "float32"),
    "siamese, with intervals and probabilities": (siamese_all, "float32"),
    "scikit-learn": (scikit_learn, "float32"),
    "torchmetrics": (torchmetrics, "float32"),
}
LONG = ("scikit-learn", "torchmetrics")


def read(source: str, images: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and identities of a file, of at most so many images.

    Identities come in random order, each with all of its images, where these still fit.
    """
    with np.load(source, allow_pickle=False) as stored:
        rows, who = stored["embeddings"], stored["identities"]
    if images is None:
        return rows, who
    identity = np.unique(who, return_inverse=True)[1]
    sizes, left = np.bincount(identity), images
    taken = np.zeros(len(sizes), dtype=bool)
    for number in np.random.default_rng(0).permutation(len(sizes)):
        if sizes[number] <= left:
            taken[number] = True
            left -= int(sizes[number])
    return rows[taken[identity]], who[taken[identity]]


def made_up(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Four images of each identity, whatever n: genuine pairs in proportion to the images."""
    rng = np.random.default_rng(0)
    who = np.arange(n) // 4
    rows = rng.normal(size=(n // 4, 128))[who] + 0.9 * rng.normal(size=(n, 128))
    return rows.astype(np.float32), who


def one(way: str, source: str, images: int | None) -> None:
    """In a process of its own: print seconds, megabytes and what was found."""
    import sklearn.metrics  # noqa: F401
    import torch
    import torchmetrics.classification  # noqa: F401

    import siamese

    # This imports what is loaded on first use.
    siamese.calibrate(np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) // 4)
    if source.isdigit():
        rows, who = made_up(int(source))
    else:
        rows, who = read(source, images)
    work, kind = WAYS[way]
    embeddings = torch.from_numpy(rows).to(getattr(torch, kind))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before, start = _kilobytes("VmRSS"), time.perf_counter()
    found = work(embeddings, who)
    seconds = time.perf_counter() - start
    print(
        json.dumps(found | {"seconds": seconds, "megabytes": (_kilobytes("VmHWM") - before) / 1024})
    )


def _kilobytes(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def measured(
    ways: list[str], source: str, rounds: int, images: int | None = None
) -> dict[str, list[dict[str, float]]]:
    """Each way once a round, in turn."""
    some = [] if images is None else ["--images", str(images)]
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            done = subprocess.run(
                [sys.executable, __file__, "--one", way, source, *some],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                said = done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"]
                sys.exit(f"{way}: {said[-1]}")
            results[way].append(json.loads(done.stdout))
    return results


def table(results: dict[str, list[dict[str, float]]]) -> None:
    """A Markdown table of medians."""
    middle = {
        w: {k: statistics.median(r[k] for r in runs) for k in runs[0]}
        for w, runs in results.items()
    }
    bare = middle["matrix product, float32"]["seconds"]
    print(
        "\n| | seconds (least to most) | of the float32 product | MB | F1 | threshold "
        "|\n|---|---|---|---|---|---|"
    )
    for way, m in middle.items():
        spread = sorted(r["seconds"] for r in results[way])
        found = f"{m['f1']:.6f} | {m['threshold']!r}" if "threshold" in m else " | "
        print(
            f"| {way} | {m['seconds']:.2f} ({spread[0]:.2f}-{spread[-1]:.2f}) | "
            f"{m['seconds'] / bare:.2f} | {m['megabytes']:,.0f} | {found} |"
        )
    ours = middle["siamese, threshold and curve"]
    print()
    for way in LONG:
        if way in middle:
            m = middle[way]
            agree = "the same F1" if abs(m["f1"] - ours["f1"]) < 1e-9 else "another F1"
            print(
                f"against {way}: {m['seconds'] / ours['seconds']:.1f} times as fast, "
                f"{m['megabytes'] / ours['megabytes']:.0f} times less memory, {agree}"
            )
    everything = middle["siamese, with intervals and probabilities"]
    print(
        f"95 % interval of the threshold {everything['low']:.4f}-{everything['high']:.4f}; "
        f"F1-optimal for balanced pairs: {everything['balanced']:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", metavar="EMBEDDINGS.npz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, metavar="N")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--processes", type=int, metavar="K")
    parser.add_argument("--one", metavar="WAY", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.processes:
        images = args.images or processes.IMAGES
        processes.compare(images, images // 10, args.processes, args.rounds)
        return
    if args.source is None:
        parser.error("give EMBEDDINGS.npz, or --processes")
    if args.one:
        one(args.one, args.source, args.images)
        return
    rows, who = read(args.source, args.images)
    (n, d), identities = rows.shape, len(np.unique(who))
    print(
        f"{n:,} images of {identities:,} identities, {d} numbers each: {n * (n - 1) // 2:,} "
        f"pairs; medians of {args.rounds}"
    )
    table(measured(list(WAYS), args.source, args.rounds, args.images))
    for size in (10_000, 20_000, 40_000) if args.growth else ():
        print(
            f"\n{size:,} made-up images, four of each identity: {size * (size - 1) // 2:,} pairs, "
            f"{size * 3 // 2:,} of them genuine"
        )
        table(measured([way for way in WAYS if way not in LONG], str(size), args.rounds))


if __name__ == "__main__":
    main()
