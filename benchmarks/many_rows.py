"""Seconds and peak memory of a made-up table of millions of rows: read, split, save, load, batches.

    python benchmarks/many_rows.py --table FILE [--rows 5000000]    # twice: the first one writes it

A tenth as many people, 1 to about 30 images each. No image is there: hashes are made up, 32 random
bytes each, and so is the cache of crops. Peaks are of this process, from its start up to the end of
each step.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from siamese.data import manifest as manifests
from siamese.data.prepared import prepare
from siamese.data.samplers.balanced_pair_sampler import BalancedPairSampler
from siamese.data.samplers.identity_sampler import IdentitySampler
from siamese.data.split_protocols.identity_disjoint import IdentityDisjoint
from siamese.datasets.identities import IdentityTable
from siamese.faces import crops
from siamese.faces.croppers.none import NoCropper


def write_table(path: Path, rows: int) -> None:
    """A Parquet file in random order, a million rows at a time."""
    people = rows // 10
    schema = pa.schema({"path": pa.string(), "identity": pa.string(), "group_age": pa.string()})
    rng = np.random.default_rng(0)
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 1_000_000):
            who = rng.integers(0, people, min(1_000_000, rows - start))
            files = [f"{w // 1000:04d}/{w:07d}/{i:08d}.jpg" for i, w in enumerate(who, start)]
            names = [f"Person_{w:07d}" for w in who]
            ages = [f"{w % 7}0-{w % 7}9" for w in who]
            writer.write_table(pa.table([files, names, ages], schema=schema))


class Steps:
    """Prints the seconds of each step, and the peak so far."""

    def __init__(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()
        self._first = self._start, self._cpu

    def done(self, name: str) -> None:
        now, cpu = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took = f"{now - self._start:.1f} s ({cpu - self._cpu:.1f} of a core)"
        print(f"{name}: {took}, peak {peak:,.0f} MB", flush=True)
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        took = time.perf_counter() - self._first[0]
        print(f"all: {took:.1f} s ({time.process_time() - self._first[1]:.1f} of a core)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--table", help="written by an earlier call; a new one by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.table or f"{folder}/table.parquet")
        if not path.exists():
            write_table(path, args.rows)
            if args.table:
                print("written; call again: the peak of writing would count")
                return
        steps = Steps()
        table = IdentityTable.from_parquet(path, folder)
        steps.done(f"read {len(table):,} rows, {len(table.distinct_identities):,} identities")
        split = IdentityDisjoint()(table, 0)
        steps.done("split")
        digests = np.random.default_rng(1).integers(0, 256, (len(table), 32), dtype=np.uint8)
        known = np.ones(len(table), dtype=bool)
        with mock.patch.object(manifests, "hash_columns", return_value=(digests, known)):
            manifest = manifests.SplitManifest.make(table, split)
        assert not manifest.shared_images()
        steps.done("manifest, checked, without the hashing")
        saved = manifest.save(Path(folder) / "split.json")
        size = sum(file.stat().st_size for file in Path(folder).glob("split*"))
        steps.done(f"save, {size / 1e6:,.0f} MB")
        files = {name: len(entries) for name, entries in manifest.splits.items()}
        del manifest, table, split, digests, known  # they are not there when one is loaded
        again = manifests.SplitManifest.load(saved)
        steps.done("load, checked")
        assert {name: len(entries) for name, entries in again.splits.items()} == files
        found = {content: None for e in again.splits.values() for content in e.hashes()}
        with mock.patch.object(crops, "_scan", return_value=found):
            prepared = prepare(again, NoCropper(), cache=folder)
        del found, again
        steps.done("crops of all, made up, found in the cache")
        labels = prepared.splits["train"].table.labels
        for sampler in (IdentitySampler(64), IdentitySampler(64, most=10), BalancedPairSampler()):
            batches = sampler.batches(labels)
            plans = sum(1 for _ in itertools.islice(batches, 100))
            steps.done(f"{plans} plans of {len(batches):,}, {sampler}")
        steps.end()


if __name__ == "__main__":
    main()
