"""Time cropping a folder with one process and with two, and finding everything in the cache again.

    python benchmarks/cropping.py FOLDER [--limit N] [--rounds R]
    python benchmarks/cropping.py FOLDER --cluster [--limit N] [--rounds R]
    python benchmarks/cropping.py FOLDER --rates [--limit N]

Each round crops into two empty caches, once with each number of processes, in alternating order,
and then runs again over a full one. Ratios are medians over rounds. With ``--cluster`` two workers
of a local Dask cluster are timed beside two of joblib's processes, and with one of them killed in
the middle. With ``--rates`` the steps are timed one by one, in this process alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

from siamese.datasets.identities import IdentityTable
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.crops import crop_files, read_crop
from siamese.faces.files import hash_file


def timed(paths: list[Path], cache: Path, workers: int) -> tuple[float, int]:
    start = time.perf_counter()
    result = crop_files(paths, DlibHogCropper(), cache=cache, workers=workers, progress=False)
    return time.perf_counter() - start, result.computed


def timed_cluster(paths: list[Path], kill: bool) -> float:
    """Seconds of two workers, that have begun; one is killed after a third of the crops."""
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, silence_logs=50) as cluster,
    ):

        def kill_one() -> None:
            while len(list(Path(folder).rglob("*.png"))) < len(paths) / 3:
                time.sleep(0.1)
            os.kill(cluster.workers[0].process.process.pid, signal.SIGKILL)

        if kill:
            threading.Thread(target=kill_one, daemon=True).start()
        start = time.perf_counter()
        backend = f"dask:{cluster.scheduler_address}"
        result = crop_files(paths, DlibHogCropper(), cache=folder, backend=backend, progress=False)
        elapsed = time.perf_counter() - start
        assert all(file is not None and file.stat().st_size for file in result.files)
        assert result.computed == len(paths)
    return elapsed


def compare_cluster(paths: list[Path], rounds: int) -> None:
    seconds: dict[str, list[float]] = {"joblib": [], "dask": [], "dask, one killed": []}
    for turn in range(rounds):
        for name in list(seconds)[:: 1 if turn % 2 == 0 else -1]:
            if name == "joblib":
                with tempfile.TemporaryDirectory() as folder:
                    seconds[name].append(timed(paths, Path(folder), 2)[0])
            else:
                seconds[name].append(timed_cluster(paths, kill="killed" in name))
    print(f"{len(paths):,} images, two workers, median of {rounds} (all)")
    for name, values in seconds.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name}: {statistics.median(values):.2f} s ({shown})")
    ratio = statistics.median(seconds["dask"]) / statistics.median(seconds["joblib"])
    print(f"dask against joblib: {ratio:.2f} times as long")


def rates(paths: list[Path]) -> None:
    """Images per second of one core, step by step."""
    print(f"{len(paths):,} images, one process")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        hashes = [hash_file(path) for path in paths]
        steps = {"reading and hashing": time.perf_counter() - start}
        crop_files(paths[:1], DlibHogCropper(), cache=folder, workers=1, progress=False)  # begins
        for name in ("cropping, dlib_hog", "found in the cache"):
            start = time.perf_counter()
            result = crop_files(
                paths, DlibHogCropper(), cache=folder, hashes=hashes, workers=1, progress=False
            )
            steps[name] = time.perf_counter() - start
        start = time.perf_counter()
        for file in result.files:
            read_crop(file)
        steps["reading crops"] = time.perf_counter() - start
    for name, elapsed in steps.items():
        print(f"{name}: {len(paths) / elapsed:,.0f} per second of a core")


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
    parser.add_argument("--cluster", action="store_true", help="a local Dask cluster, too")
    parser.add_argument("--rates", action="store_true", help="each step by itself")
    args = parser.parse_args()
    if not args.folder:
        parser.error("give a folder of identities, or set SIAMESE_LFW")
    paths = IdentityTable.from_folder(args.folder).paths[: args.limit]
    if args.cluster or args.rates:
        compare_cluster(paths, args.rounds) if args.cluster else rates(paths)
        return
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
