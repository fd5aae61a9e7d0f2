"""Time a list of pairs beside `verify` in a loop, and kill it at random moments.

    python benchmarks/pair_lists.py LFW [--pairs N] [--bad B] [--parts P]
    python benchmarks/pair_lists.py LFW --everybody [--photographs N]
    python benchmarks/pair_lists.py LFW --kills K [--pairs N]

The first is a list of N pairs of LFW's View 2, without labels, with B bad rows among them: in P
parts, each done by a loop and by lists (one process, and as many as there are cores) in alternating
order; rates are medians over parts. The second compares N photographs with each other. The third
kills `siamese verify --pairs` K times at random moments (SIGKILL), and starts it again each time.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from siamese import PairVerdicts, Verification, Verifier, lfw_view2, verify_list
from siamese.errors import SiameseError

Row = tuple[str, ...]


def some_pairs(root: Path, pairs: int, bad: int) -> list[Row]:
    """Pairs of View 2 and bad rows: missing files, no file, one column."""
    view, rng = lfw_view2(root), random.Random(0)
    chosen = rng.sample(range(len(view)), pairs - bad)
    rows: list[Row] = [(view.files[view.left[r]], view.files[view.right[r]]) for r in chosen]
    for number in range(bad):
        good = rows[number][0]
        fault: Row = ((f"missing_{number}.jpg", good), ("", good), (good,))[number % 3]
        rows.insert(rng.randrange(len(rows)), fault)
    return rows


def write(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("photo_1", "photo_2"))
        writer.writerows(rows)
    return path


def in_a_loop(verifier: Verifier, root: Path, rows: list[Row]) -> list[Verification | None]:
    """What a user would write without lists."""
    found: list[Verification | None] = []
    for row in rows:
        try:
            a, b = row
            found.append(verifier.verify(root / a, root / b))
        except (SiameseError, ValueError):
            found.append(None)
    return found


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def compare(root: Path, parts: list[list[Row]], jobs: tuple[int, ...]) -> None:
    """Rates of a loop and of lists, and whether their verdicts are the same."""
    verifier, same = Verifier.pretrained(), True
    verifier.verify(root / parts[0][0][0], root / parts[0][0][0])  # once, so that all is loaded
    ways = ["loop", *jobs]
    seconds: dict[object, list[float]] = {way: [] for way in ways}
    photographs, images = [], []
    for number, rows in enumerate(parts):
        photographs.append(len({name for row in rows if len(row) == 2 for name in row if name}))
        images.append(sum(len(row) == 2 and all(row) for row in rows) * 2)
        verdicts: dict[object, list[Verification | None]] = {}
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            if way == "loop":
                spent, found = timed(lambda rows=rows: in_a_loop(verifier, root, rows))  # type: ignore[misc]
                assert isinstance(found, list)
                verdicts[way] = found
            else:
                with tempfile.TemporaryDirectory() as folder:
                    listed, out = write(Path(folder) / "pairs.csv", rows), Path(folder) / "out.csv"
                    spent, found = timed(
                        lambda listed=listed, out=out, way=way: verify_list(  # type: ignore[misc]
                            verifier, listed, out, root, jobs=way, progress=False
                        )
                    )
                assert isinstance(found, PairVerdicts)
                verdicts[way] = [pair.verification for pair in found]
            seconds[way].append(spent)
        same &= all(verdicts[way] == verdicts["loop"] for way in jobs)
    print(f"{sum(map(len, parts))} pairs, {sum(photographs)} photographs in {len(parts)} parts")
    print("| | photographs per second | pairs per second | ratio |\n|---|---|---|---|")
    for way in ways:
        rates = [n / s for n, s in zip(photographs, seconds[way], strict=True)]
        pairs = [len(rows) / s for rows, s in zip(parts, seconds[way], strict=True)]
        ratio = [a / b for a, b in zip(seconds["loop"], seconds[way], strict=True)]
        name = "`verify` in a loop" if way == "loop" else f"list, {way} process(es)"
        shown = f"{min(ratio):.2f}-{max(ratio):.2f}"
        print(
            f"| {name} | {statistics.median(rates):.1f} | {statistics.median(pairs):.1f} | "
            f"{statistics.median(ratio):.2f} ({shown}) |"
        )
    print(f"verdicts are the same, bit for bit: {same}")


def kill(root: Path, rows: list[Row], kills: int) -> None:
    """Kill the command at random moments until it has come to its end; compare the files."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        listed = write(Path(folder) / "pairs.csv", rows)
        words = [sys.executable, "-m", "siamese", "verify", "--pairs", str(listed), "--root"]
        words += [str(root), "--jobs", "1", "--out"]
        whole, out = Path(folder) / "whole.csv", Path(folder) / "out.csv"
        seconds, _ = timed(lambda: subprocess.run([*words, str(whole)], check=True))
        done = 0
        for _ in range(kills):
            process = subprocess.Popen([*words, str(out)], stdout=subprocess.DEVNULL)
            try:
                process.wait(timeout=rng.uniform(0.5, max(2.0, 2 * seconds / kills)))
                break
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                done += 1
        if not out.exists():
            subprocess.run([*words, str(out)], check=True)
        left = sorted(p.name for p in Path(folder).iterdir())
        print(f"killed {done} times; the same file: {out.read_bytes() == whole.read_bytes()}")
        print(f"left in the folder: {', '.join(left)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=20)
    parser.add_argument("--parts", type=int, default=5)
    parser.add_argument("--everybody", action="store_true")
    parser.add_argument("--photographs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=0)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if args.kills:
        kill(args.lfw, some_pairs(args.lfw, args.pairs, args.bad), args.kills)
        return
    jobs = tuple(dict.fromkeys((1, cores)))
    if args.everybody:
        view = lfw_view2(args.lfw)
        names = random.Random(0).sample(view.files, args.photographs)
        compare(args.lfw, [list(itertools.combinations(names, 2))], jobs)
        return
    rows = some_pairs(args.lfw, args.pairs, args.bad)
    compare(args.lfw, [rows[part :: args.parts] for part in range(args.parts)], jobs)


if __name__ == "__main__":
    main()
