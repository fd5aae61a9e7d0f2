"""How well heaps of photographs are sorted by person, beside dlib's chinese whispers.

    python benchmarks/sorting.py LFW EMBEDDINGS --embed PLAIN    dlib's embeddings as they are, once
    python benchmarks/sorting.py LFW EMBEDDINGS --plain PLAIN [--choose]
    python benchmarks/sorting.py LFW --speed N [--parts P]      photographs per second

EMBEDDINGS is what `python benchmarks/quality.py LFW --photographs FILE` writes: the pretrained
bundle's embeddings of LFW. PLAIN are those of the same crops without mirror images and of any
length, for which the author of chinese whispers gives his threshold, 0.5. The heaps are half of the
people of View 2 (the other half, with --choose, is what the rule was chosen on), ORL's forty
people, and small heaps drawn from both: medians over 30 of them.

--speed finds and embeds the faces of N photographs of LFW, for sorting and for a gallery: in a loop
over photographs, by one process, and by two that were started before; in P parts, each in all three
ways in alternating order. Medians over parts are printed, and quartiles of the ratios; and what
batches of faces would save and change.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import dlib
import numpy as np

import siamese
from siamese.datasets.identities import normalise_identity
from siamese.evaluation.sorting import sorting_threshold


def whispers(embeddings: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    rows = [dlib.vector(row.tolist()) for row in embeddings]
    return np.array(dlib.chinese_whispers_clustering(rows, threshold))


def ways(verifier: siamese.Verifier) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    def at(threshold: float, linkage: str = "average") -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: siamese.cluster_embeddings(rows, threshold, linkage=linkage)

    fixed = verifier.bundle.with_policy(siamese.MaxF1(prevalence=0.01, smooth="auto")).threshold
    return {
        "average, the heap's prevalence (default)": lambda rows: siamese.cluster_embeddings(
            rows, sorting_threshold(verifier, rows)
        ),
        f"average, prevalence 0.01 ({fixed:.3f})": at(fixed),
        f"average, the threshold for pairs ({verifier.threshold:.3f})": at(verifier.threshold),
        f"complete, the threshold for pairs ({verifier.threshold:.3f})": at(
            verifier.threshold, "complete"
        ),
        f"single, prevalence 0.01 ({fixed:.3f})": at(fixed, "single"),
        "chinese whispers, the default's threshold": lambda rows: whispers(
            rows, sorting_threshold(verifier, rows)
        ),
        "everybody once": lambda rows: np.arange(len(rows)),
    }


def row(name: str, figures: list[siamese.ClusteringFigures], seconds: float) -> None:
    middle = [
        np.median([getattr(one, field) for one in figures])
        for field in (
            "clusters", "pairwise_precision", "pairwise_recall", "pairwise_f1",
            "bcubed_precision", "bcubed_recall", "bcubed_f1",
        )
    ]  # fmt: skip
    cells = " | ".join(f"{value:.3f}" for value in middle[1:])
    print(f"| {name} | {middle[0]:,.0f} | {cells} | {seconds:.1f} |", flush=True)


Heap = tuple[np.ndarray, np.ndarray, np.ndarray]  # embeddings, dlib's plain ones, people


def compare(what: str, heaps: list[Heap], verifier: siamese.Verifier) -> None:
    people = np.median([len(np.unique(names)) for *_, names in heaps])
    faces = np.median([len(names) for *_, names in heaps])
    print(f"\n{what}: {faces:,.0f} faces of {people:,.0f} people\n")
    print(
        "| | clusters | pairwise precision | recall | F1 | B-cubed precision | recall | F1 | s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for name, sort in ways(verifier).items():
        began = time.perf_counter()
        figures = [siamese.evaluate_clusters(sort(rows), names) for rows, _, names in heaps]
        row(name, figures, (time.perf_counter() - began) / len(heaps))
    began = time.perf_counter()
    figures = [siamese.evaluate_clusters(whispers(plain), names) for _, plain, names in heaps]
    name = "chinese whispers (0.5), dlib's plain embeddings"
    row(name, figures, (time.perf_counter() - began) / len(heaps))


def drawn_heaps(heap: Heap, people: int) -> list[Heap]:
    """Heaps of a few people each, who have four photographs or more, as those of a family."""
    rows, plain, names = heap
    known, counts = np.unique(names, return_counts=True)
    drawn, heaps = np.random.default_rng(0), []
    for _ in range(30):
        chosen = np.isin(names, drawn.choice(known[counts >= 4], people, replace=False))
        heaps.append((rows[chosen], plain[chosen], names[chosen]))
    return heaps


def plain_verifier(verifier: siamese.Verifier) -> siamese.Verifier:
    """dlib's network as its author uses it."""
    bundle = dataclasses.replace(verifier.bundle, backbone=siamese.DlibResNet("dlib"))
    return siamese.Verifier(bundle)


Work = Callable[[list[str]], np.ndarray]  # photographs -> (n, D), their embeddings in order


def loop_sorting(verifier: siamese.Verifier, files: list[str]) -> np.ndarray:
    """Every face, photograph by photograph."""
    rows = []
    for file in files:
        try:
            rows.append(verifier.embed_faces(verifier.faces(file)))
        except siamese.FaceError:
            continue
    return np.concatenate(rows)


def loop_enrolling(verifier: siamese.Verifier, files: list[str]) -> np.ndarray:
    """One person, photograph by photograph."""
    gallery = siamese.Gallery(verifier)
    for file in files:
        gallery.enrol("somebody", file, required=False)
    return gallery.rows()[1]


def enrolling(verifier: siamese.Verifier, files: list[str], jobs: int) -> np.ndarray:
    """The same at once."""
    gallery = siamese.Gallery(verifier)
    gallery.enrol("somebody", files, jobs=jobs)
    return gallery.rows()[1]


def sorting(verifier: siamese.Verifier, files: list[str], jobs: int) -> np.ndarray:
    """The same by sort_photographs; with a given threshold the sorting itself takes no time."""
    found = siamese.sort_photographs(files, verifier, threshold=0.4, jobs=jobs, progress=False)
    return found.embeddings


def has_face(verifier: siamese.Verifier, file: str) -> bool:
    try:
        return bool(verifier.all_faces(file))
    except siamese.FaceError:
        return False


def batches(verifier: siamese.Verifier, files: list[str]) -> None:
    """Seconds of a core for a photograph and for a face, and what batches change."""
    began = time.process_time()
    found = [verifier.all_faces(file)[0] for file in files]
    print(f"looking: {(time.process_time() - began) / len(files):.4f} s for a photograph")
    alone, engine = verifier.embed_faces(found), verifier.bundle.engine(verifier.tta, "cpu")
    for size in (1, 8, 32):
        began = time.process_time()
        crops = [face.crop for face in found]
        rows = np.concatenate(
            [engine.embed(crops[i : i + size]) for i in range(0, len(crops), size)]
        )
        spent = (time.process_time() - began) / len(files)
        same = (rows == alone).all(1).mean()
        print(f"faces in batches of {size}: {spent:.4f} s each; {same:.2f} of them the same bits")


def speed(root: Path, count: int, parts: int) -> None:
    verifier = siamese.Verifier.pretrained()
    files = random.Random(0).sample(sorted(map(str, root.glob("*/*.jpg"))), count)
    began = time.perf_counter()
    sorting(verifier, files[:16], 2)  # so that all is loaded, and both processes are there
    print(
        f"loading, starting two processes and 16 photographs: {time.perf_counter() - began:.1f} s"
    )
    batches(verifier, [file for file in files[:40] if has_face(verifier, file)][:32])
    names = ("loop", "1 process", "2 processes")
    ways: dict[str, tuple[Work, Work, Work]] = {
        "sort": (
            lambda files: loop_sorting(verifier, files),
            lambda files: sorting(verifier, files, 1),
            lambda files: sorting(verifier, files, 2),
        ),
        "enrol": (
            lambda files: loop_enrolling(verifier, files),
            lambda files: enrolling(verifier, files, 1),
            lambda files: enrolling(verifier, files, 2),
        ),
    }
    for name, three in ways.items():
        seconds: list[list[float]] = [[], [], []]
        same = True
        for part in range(parts):
            some = files[part::parts]
            rows: list[bytes] = [b""] * 3
            for way in ((0, 1, 2), (2, 0, 1), (1, 2, 0))[part % 3]:
                began = time.perf_counter()
                rows[way] = three[way](some).tobytes()
                seconds[way].append(time.perf_counter() - began)
            same &= len(set(rows)) == 1
        for what, spent in zip(names, seconds, strict=True):
            ratios = [before / now for before, now in zip(seconds[0], spent, strict=True)]
            low, high = np.quantile(ratios, (0.25, 0.75))
            print(
                f"| {name}, {what} | {count / parts / statistics.median(spent):.1f} | "
                f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f}) |"
            )
        print(f"embeddings are the same, bit for bit: {same}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw")
    parser.add_argument("embeddings", nargs="?")
    parser.add_argument("--embed", metavar="PLAIN")
    parser.add_argument("--plain", metavar="PLAIN")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--speed", type=int, metavar="N")
    parser.add_argument("--parts", type=int, default=10, metavar="P")
    args = parser.parse_args()
    if args.speed:
        speed(Path(args.lfw), args.speed, args.parts)
        raise SystemExit
    if args.embeddings is None:
        parser.error("give EMBEDDINGS, or --speed N")
    verifier = siamese.Verifier.pretrained()
    kept = np.load(args.embeddings)
    tested = sorted({normalise_identity(n) for n in siamese.lfw_view2(args.lfw).identities})
    half = set(np.random.default_rng(0).permutation(tested)[: len(tested) // 2].tolist())
    everybody = set(tested)
    known = np.isfinite(kept["embeddings"][:, 0])
    known &= np.array([name in everybody for name in kept["identities"]])
    if args.embed:
        rows = np.full((len(known), 128), np.nan, dtype=np.float32)
        paths = kept["paths"][known].tolist()
        rows[known] = plain_verifier(verifier).embed(paths, progress=False).numpy()
        np.savez(args.embed, embeddings=rows)
    else:
        plain = np.load(args.plain)["embeddings"]
        chosen = known & np.array([(name in half) == args.choose for name in kept["identities"]])
        lfw = kept["embeddings"][chosen], plain[chosen], kept["identities"][chosen]
        compare("LFW, few people", drawn_heaps(lfw, 8), verifier)
        if not args.choose:
            table = siamese.load_orl()
            paths = [str(path) for path in table.paths]
            both = verifier, plain_verifier(verifier)
            faces = [one.embed(paths, progress=False).numpy() for one in both]
            orl = faces[0], faces[1], np.array(table.identities)
            compare("ORL", [orl], verifier)
            compare("ORL, few people", drawn_heaps(orl, 8), verifier)
        compare("LFW", [lfw], verifier)
