"""Time cropping a folder with one process and with two, and finding everything in the cache again.

    python benchmarks/cropping.py FOLDER [--limit N] [--rounds R]

Each round crops into two empty caches, once with each number of processes, in alternating order,
and then runs again over a full one. Ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from siamese.datasets.identities import IdentityTable
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.crops import crop_files


def timed(paths: list[Path], cache: Path, workers: int) -> tuple[float, int]:
    start = time.perf_counter()
    result = crop_files(paths, DlibHogCropper(), cache=cache, workers=workers, progress=False)
    return time.perf_counter() - start, result.computed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        nargs="?",
        default=os.environ.get("SIAMESE_LFW"),
        help="folder of identities (default: $SIAMESE_LFW)",
    )
    parser.add_argument("--limit", type=int, help="only so many images")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    if not args.folder:
        parser.error("give a folder of identities, or set SIAMESE_LFW")
    paths = IdentityTable.from_folder(args.folder).paths[: args.limit]
    seconds: dict[str, list[float]] = {"one process": [], "two processes": [], "second run": []}
    for turn in range(args.rounds):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            with tempfile.TemporaryDirectory() as folder:
                elapsed, computed = timed(paths, Path(folder), workers)
                assert computed, "the cache was not empty"
                seconds["one process" if workers == 1 else "two processes"].append(elapsed)
                if workers == 2:
                    elapsed, computed = timed(paths, Path(folder), workers)
                    assert computed == 0, "the cache was not full"
                    seconds["second run"].append(elapsed)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{len(paths):,} images, median of {args.rounds}")
    for name, value in median.items():
        print(f"{name}: {value:.2f} s")
    print(
        f"two processes against one: {median['one process'] / median['two processes']:.2f} times "
        f"as fast"
    )
    print(
        f"second run against first (two processes): "
        f"{median['two processes'] / median['second run']:.0f} times as fast"
    )


if __name__ == "__main__":
    main()
