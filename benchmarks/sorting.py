"""How well heaps of photographs are sorted by person, beside dlib's chinese whispers.

    python benchmarks/sorting.py LFW EMBEDDINGS [--choose]

EMBEDDINGS is what `python benchmarks/quality.py LFW --photographs FILE` writes: the pretrained
network's embeddings of LFW. The heaps are half of the people of View 2 (the other half, with
--choose, is what the rule was chosen on), ORL's forty people, and small heaps drawn from both:
medians over 30 of them. Chinese whispers has its author's threshold, 0.5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

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
        "chinese whispers (0.5)": whispers,
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


def compare(
    what: str, heaps: list[tuple[np.ndarray, np.ndarray]], verifier: siamese.Verifier
) -> None:
    people = np.median([len(np.unique(names)) for _, names in heaps])
    print(f"\n{what}: {np.median([len(n) for _, n in heaps]):,.0f} faces of {people:,.0f} people\n")
    print(
        "| | clusters | pairwise precision | recall | F1 | B-cubed precision | recall | F1 | s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for name, sort in ways(verifier).items():
        began = time.perf_counter()
        figures = [siamese.evaluate_clusters(sort(rows), names) for rows, names in heaps]
        row(name, figures, (time.perf_counter() - began) / len(heaps))


def drawn_heaps(
    rows: np.ndarray, names: np.ndarray, people: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Heaps of a few people each, as those of a family or of an office."""
    drawn, known, heaps = np.random.default_rng(0), np.unique(names), []
    for _ in range(30):
        chosen = np.isin(names, drawn.choice(known, people, replace=False))
        heaps.append((rows[chosen], names[chosen]))
    return heaps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw")
    parser.add_argument("embeddings")
    parser.add_argument("--choose", action="store_true")
    args = parser.parse_args()
    verifier = siamese.Verifier.pretrained()
    kept = np.load(args.embeddings)
    tested = sorted({normalise_identity(n) for n in siamese.lfw_view2(args.lfw).identities})
    half = set(np.random.default_rng(0).permutation(tested)[: len(tested) // 2].tolist())
    everybody = set(tested)
    known = np.isfinite(kept["embeddings"][:, 0])
    chosen = known & np.array(
        [(name in half) == args.choose and name in everybody for name in kept["identities"]]
    )
    rows, names = kept["embeddings"][chosen], kept["identities"][chosen]
    several = np.isin(names, [n for n in np.unique(names) if (names == n).sum() >= 4])
    compare("LFW, few people", drawn_heaps(rows[several], names[several], 8), verifier)
    if not args.choose:
        orl = siamese.load_orl()
        found = verifier.embed([str(path) for path in orl.paths], progress=False).numpy()
        labels = np.array(orl.identities)
        compare("ORL", [(found, labels)], verifier)
        compare("ORL, few people", drawn_heaps(found, labels, 8), verifier)
    compare("LFW", [(rows, names)], verifier)
