"""Clustering: embeddings of unknown people sorted into people, and how well that was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from siamese.distances.arrays import as_array, as_threshold
from siamese.distances.base import Distance, as_distance
from siamese.distances.inputs import as_tensor
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError, ConfigError, did_you_mean

_NUMBERS = 1 << 22  # distances at a time
# Embeddings that hang together, of which all distances are held: 5 GB.
LARGEST = 25_000
LINKAGES = ("average", "complete", "single")


def cluster_embeddings(
    embeddings: Tensor | np.ndarray,
    threshold: float,
    distance: str | Distance = "euclidean",
    linkage: str = "average",
) -> np.ndarray:
    """Sort embeddings into clusters, each of which should be one identity.

    Agglomerative clustering (scikit-learn's): every embedding begins alone, and the two clusters
    that are nearest are joined, until none are within the threshold. With ``"average"`` linkage
    (UPGMA: Sokal and Michener 1958) the distance of two clusters is the mean over all pairs, so
    that one false match does not join two people, as it does with ``"single"``.

    Two clusters are joined only if some pair is within the threshold. So embeddings that do not
    hang together by such pairs are clustered apart: the result is the same, and memory is bounded
    by the largest part that hangs together.

    Args:
        embeddings: (n, D) floating point, n >= 1, finite.
        threshold: distance up to which clusters are joined.
        distance: by which embeddings are compared.
        linkage: ``"average"``, ``"complete"`` (the farthest pair counts) or ``"single"`` (the
            nearest one).

    Returns:
        (n,) int64 cluster of each embedding, from 0, the largest cluster first, of equal ones the
        one whose first embedding comes first.

    Raises:
        CalibrationError: another shape, numbers that are not finite, a threshold that is no number,
            or more than 25,000 embeddings that hang together.
        ConfigError: an unknown distance or linkage.
    """
    rows = as_tensor(embeddings)
    if rows.ndim != 2 or not len(rows) or not bool(rows.isfinite().all()):
        raise CalibrationError(
            f"the embeddings have shape {tuple(rows.shape)}; give (n, D) finite numbers, n >= 1"
        )
    check_linkage(linkage)
    limit, measure = as_threshold(threshold), as_distance(distance)
    parts = _hanging_together(rows, limit, measure)
    labels = np.empty(len(rows), dtype=np.int64)
    count = 0
    for part in np.unique(parts):
        mine = np.flatnonzero(parts == part)
        own = np.zeros(len(mine), dtype=np.int64)
        if len(mine) > 2 and linkage != "single":
            own = _agglomerated(rows[mine], limit, measure, linkage)
        labels[mine] = own + count
        count += int(own.max()) + 1
    return _by_size(labels)


def check_linkage(linkage: str) -> None:
    """Raise :class:`ConfigError` for an unknown one."""
    if linkage not in LINKAGES:
        raise ConfigError(f"linkage={linkage!r} is not known{did_you_mean(str(linkage), LINKAGES)}")


def _hanging_together(rows: Tensor, threshold: float, measure: Distance) -> np.ndarray:
    """(n,) numbers of the parts that no pair within the threshold connects."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    parts = np.arange(len(rows))
    step = max(1, _NUMBERS // len(rows))
    for start in range(0, len(rows), step):
        # Each pair once.
        distances = measure.matrix(rows[start : start + step], rows[start:]).cpu().numpy()
        left, right = np.nonzero(is_match(distances, threshold))
        left, right = parts[left + start], parts[right + start]
        pairs = coo_matrix(
            (np.ones(len(left), dtype=bool), (left, right)), shape=(len(rows), len(rows))
        )
        parts = connected_components(pairs, directed=False)[1][parts]
    return parts


def _agglomerated(rows: Tensor, threshold: float, measure: Distance, linkage: str) -> np.ndarray:
    """(m,) clusters of rows that hang together."""
    from sklearn.cluster import AgglomerativeClustering

    if len(rows) > LARGEST:
        raise CalibrationError(
            f"{len(rows):,} embeddings hang together at the threshold {threshold:.4f}, more than "
            f"{LARGEST:,}; give a smaller threshold, or sort fewer photographs at a time"
        )
    distances = measure.matrix(rows, rows).cpu().numpy()
    # Clusters are joined below the number that is given, not at it.
    above = min(np.nextafter(threshold, np.inf), np.finfo(np.float64).max)
    found: np.ndarray = (
        AgglomerativeClustering(
            n_clusters=None, metric="precomputed", linkage=linkage, distance_threshold=above
        )
        .fit(distances)
        .labels_.astype(np.int64)
    )
    return found


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered by their size, then by their first row."""
    _, first, codes, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    places = np.empty(len(sizes), dtype=np.int64)
    places[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    found: np.ndarray = places[codes]
    return found


@dataclass(frozen=True)
class ClusteringFigures:
    """How well clusters agree with who people are, each 0..1 but for the counts.

    Attributes:
        images, people, clusters: how many there are.
        pairwise_precision: of pairs in one cluster, the share that show one person; 1 without any.
        pairwise_recall: of pairs that show one person, the share in one cluster; 1 without any.
        pairwise_f1: their harmonic mean. People with many photographs have most of the pairs.
        bcubed_precision: mean over images of the share of its cluster that shows the same person.
        bcubed_recall: mean over images of the share of its person's images in its cluster.
        bcubed_f1: their harmonic mean (Bagga and Baldwin, *Entity-based cross-document
            coreferencing using the vector space model*, COLING 1998).
    """

    images: int
    people: int
    clusters: int
    pairwise_precision: float
    pairwise_recall: float
    pairwise_f1: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def evaluate_clusters(clusters: Any, people: Any) -> ClusteringFigures:
    """Compare clusters with who is on the images.

    Args:
        clusters: (n,) the cluster of each image, n >= 1.
        people: (n,) whom each shows, numbers or names.

    Raises:
        CalibrationError: no images, or other shapes.
    """
    one, other = as_array(clusters, "clusters"), as_array(people, "people")
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise CalibrationError(
            f"clusters {one.shape} and people {other.shape} do not fit; give (n,) of both, n >= 1"
        )
    _, a, in_a = np.unique(one, return_inverse=True, return_counts=True)
    _, b, in_b = np.unique(other, return_inverse=True, return_counts=True)
    both, in_both = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    joint = _pairs(in_both)
    precision, recall = _share(joint, _pairs(in_a)), _share(joint, _pairs(in_b))
    squares = in_both.astype(np.float64) ** 2
    bcubed = (
        float((squares / in_a[both[0]]).sum() / len(one)),
        float((squares / in_b[both[1]]).sum() / len(one)),
    )
    return ClusteringFigures(
        len(one), len(in_b), len(in_a), precision, recall, _f1(precision, recall), *bcubed,
        _f1(*bcubed),
    )  # fmt: skip


def _pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
