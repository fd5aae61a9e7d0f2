"""Calibrate on all pairs of made-up embeddings by one process and by several, in turn.

    python benchmarks/processes.py [--images N] [--people P] [--processes K] [--rounds R]

`python benchmarks/calibration.py --processes K` does it, too. Every way runs R times, one
after the other; processes are started by torchrun, with one thread each. Imports are not counted.
From embeddings to a threshold with its curve, its intervals and its probabilities. The seconds are
those of the slowest process, the megabytes the peak of the largest one above what it held before,
embeddings among that (Linux only). What was found is compared bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIZE = 128
IMAGES = 100_000
MILLION = 1_000_000


def made_up(images: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 128) float32 embeddings, about as far apart as those of a trained network; (N,) who."""
    rng = np.random.default_rng(0)
    who = np.arange(images) % people
    rows = rng.standard_normal((people, SIZE), dtype=np.float32)[who]
    rows += 0.9 * rng.standard_normal((images, SIZE), dtype=np.float32)
    return rows, who


def one(images: int, people: int) -> None:
    """In a process of its own, or in each of torchrun's: print what was found and what it took."""
    import siamese
    from siamese.processes import meet, part

    processes = meet()
    # This imports what is loaded on first use.
    siamese.calibrate(np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) // 4)
    rows, who = made_up(images, people)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before, cpu = _kilobytes("VmRSS"), time.process_time()
    processes.wait()
    start = time.perf_counter()
    with siamese.across_processes():
        found = siamese.calibrate(rows, who)
    mine = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "megabytes": (_kilobytes("VmHWM") - before) / 1024,
    }
    counts, draws = found.confusion, found.draws
    assert draws is not None
    digest = hashlib.sha256()
    for array in (found.curve.thresholds, found.curve.tp, found.curve.fp, draws.tp, draws.fp):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((found.threshold, found.band, counts)).encode())
    everybody = processes.gather((mine, digest.hexdigest()))
    if processes.first:
        digests = {theirs for _, theirs in everybody}
        print(
            json.dumps(
                {key: max(m[key] for m, _ in everybody) for key in mine}
                | {
                    "threshold": found.threshold,
                    "counts": [counts.tp, counts.fp, counts.fn, counts.tn],
                    "digests": sorted(digests),
                }
            )
        )
    part()


def _kilobytes(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def measured(images: int, people: int, processes: int) -> dict[str, object]:
    """One run of one way."""
    what = [__file__, "--one", "--images", str(images), "--people", str(people)]
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*start, *what],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(images: int, people: int, processes: int, rounds: int) -> None:
    """Print a Markdown table, and what it means for a million images."""
    runs: dict[int, list[dict[str, object]]] = {1: [], processes: []}
    for _ in range(rounds):
        for count, found in runs.items():
            found.append(measured(images, people, count))
            print(f"{count}: {found[-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    print(
        f"{images:,} made-up embeddings of {people:,} people, {SIZE} numbers each: "
        f"{images * (images - 1) // 2:,} pairs; medians of {rounds}\n\n"
        f"| processes | seconds (least to most) | CPU seconds | MB of a process | threshold "
        f"|\n|---|---|---|---|---|"
    )
    middle = {}
    for count, found in runs.items():
        m = {k: statistics.median(f[k] for f in found) for k in ("seconds", "cpu", "megabytes")}  # type: ignore[type-var,misc]
        spread = sorted(float(f["seconds"]) for f in found)  # type: ignore[arg-type]
        middle[count] = m
        print(
            f"| {count} | {m['seconds']:.1f} ({spread[0]:.1f}-{spread[-1]:.1f}) | {m['cpu']:.1f} | "
            f"{m['megabytes']:,.0f} | {found[0]['threshold']!r} |"
        )
    digests = {d for found in runs.values() for f in found for d in f["digests"]}  # type: ignore[attr-defined]
    same = "the same bits" if len(digests) == 1 else "DIFFERENT RESULTS"
    ratio = middle[1]["seconds"] / middle[processes]["seconds"]
    print(
        f"\n{processes} processes are {ratio:.2f} times as fast as one; threshold, counts, curve "
        f"and draws: {same}\ncounts (tp, fp, fn, tn): {runs[1][0]['counts']}"
    )
    times = (MILLION / images) ** 2
    hours = {count: m["seconds"] * times / 3600 for count, m in middle.items()}
    print(
        f"a million images have {times:,.0f} times as many pairs: if the time grows with the "
        f"pairs, {hours[1]:.1f} hours by one process, {hours[processes]:.1f} by {processes} (not "
        f"measured)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.images, args.people)
    else:
        compare(args.images, args.people, args.processes, args.rounds)


if __name__ == "__main__":
    main()
