"""Random reads of crops: files in folders, packs, and litdata where it is installed.

    python benchmarks/packs.py CROPS [--rounds R] [--reads N]

CROPS is the folder of one cropper's settings in a cache, with crops as files; it is copied, and not
changed. Each round reads the same rows in random order, from each store in turn: bytes alone, and
decoded. All is in the memory of the system: what is measured is the work of opening and finding.
Each store is read by a process of its own, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from siamese.faces.files import read_bytes
from siamese.faces.images import decode_image
from siamese.faces.packing import pack_crops
from siamese.faces.packs import packed_crop


def reader(store: str, home: Path, crops: list[Path]) -> Any:
    """A function from a row to the bytes of its crop."""
    if store == "packs":
        return lambda row: packed_crop(crops[row])[0]  # type: ignore[index]
    if store == "litdata":
        from litdata import StreamingDataset

        data = StreamingDataset(str(home))
        return lambda row: bytes(data[row])
    return lambda row: read_bytes(crops[row])


def measure(store: str, home: Path, reads: int, decode: bool) -> None:
    """In a process of its own: prints reads per second, and peak MB."""
    crops = [Path(line) for line in (home.parent / "names.txt").read_text().splitlines()]
    rows = random.Random(0).choices(range(len(crops)), k=reads)
    read = reader(store, home, crops)
    read(0)
    start = time.perf_counter()
    for row in rows:
        content = read(row)
        if decode:
            decode_image(content)
    elapsed = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([reads / elapsed, peak]))


def litdata_item(path: str) -> bytes:
    return Path(path).read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("crops", help="a folder with crops as files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=5000)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure[0], Path(args.crops), args.reads, args.measure[1] == "decode")
        return
    with tempfile.TemporaryDirectory() as folder:
        homes = {"files": Path(folder) / "files", "packs": Path(folder) / "packs"}
        for home in homes.values():
            shutil.copytree(args.crops, home)
        files = sorted(homes["files"].rglob("*.png"))
        start = time.perf_counter()
        pack_crops(homes["packs"], progress=False)
        print(f"{len(files):,} crops packed in {time.perf_counter() - start:.1f} s")
        try:
            from litdata import optimize
        except ImportError:
            print("litdata is not installed")
        else:
            homes["litdata"] = Path(folder) / "litdata"
            start = time.perf_counter()
            optimize(
                fn=litdata_item,
                inputs=[str(file) for file in files],
                output_dir=str(homes["litdata"]),
                chunk_bytes="64MB",
                num_workers=1,
            )
            print(f"litdata: optimized in {time.perf_counter() - start:.1f} s")
        for store, home in homes.items():
            stored = [f for f in home.rglob("*") if f.is_file()]
            size = sum(f.stat().st_size for f in stored) / 1e6
            print(f"{store}: {len(stored):,} files, {size:,.1f} MB")
        found: dict[tuple[str, str], list[list[float]]] = {}
        for turn in range(args.rounds):
            for store in list(homes)[:: 1 if turn % 2 == 0 else -1]:
                place = homes["packs"] if store == "packs" else homes["files"]
                names = [str(place / f.relative_to(homes["files"])) for f in files]
                (Path(folder) / "names.txt").write_text("\n".join(names))
                for what in ("bytes", "decode"):
                    command = [sys.executable, __file__, str(homes[store]), "--measure", store]
                    command += [what, "--reads", str(args.reads)]
                    output = subprocess.run(command, capture_output=True, text=True, check=True)
                    values = json.loads(output.stdout.splitlines()[-1])
                    found.setdefault((store, what), []).append(values)
        for (store, what), values in found.items():
            speed, peak = (statistics.median(v) for v in zip(*values, strict=True))
            ratio = speed / statistics.median(v[0] for v in found["files", what])
            print(f"{store}, {what}: {speed:,.0f} per second, {ratio:.2f} of files, {peak:,.0f} MB")


if __name__ == "__main__":
    main()
