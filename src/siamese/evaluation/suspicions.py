"""Which images look as if they showed somebody else, and which identities look like one person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamese.distances.base import Distance

_BLOCK = 256  # rows of distances at a time
_FEW = 20  # genuine pairs: their median says little
_EACH = 20  # images of an identity that count for the median: some have hundreds


@dataclass(frozen=True)
class Suspect:
    """An image that is nearer to another identity than to its own.

    Attributes:
        row: of the image.
        own: distance to the nearest other image of its identity.
        other_row, other: the nearest image of another identity, and its distance.
    """

    row: int
    own: float
    other_row: int
    other: float

    @property
    def margin(self) -> float:
        """By how much."""
        return self.own - self.other


@dataclass(frozen=True)
class TwoNames:
    """Two identities that look like one person.

    Attributes:
        row, other_row: their nearest images.
        nearest: the distance of these.
        median: of all distances between images of the two.
    """

    row: int
    other_row: int
    nearest: float
    median: float


@dataclass(frozen=True)
class Suspicions:
    """What embeddings say against labels.

    Attributes:
        near, very_near: the distances up to which two images count as such here.
        mislabelled: images, largest margin first.
        two_names: pairs of identities, the likest first.
    """

    near: float
    very_near: float
    mislabelled: tuple[Suspect, ...]
    two_names: tuple[TwoNames, ...]


def doubt_labels(
    embeddings: Tensor | np.ndarray,
    labels: np.ndarray,
    distance: Distance,
    threshold: float,
    *,
    two_names: bool = True,
) -> Suspicions:
    """Look for wrong labels.

    *Near* is the median distance of genuine pairs in these data, *very near* their lower quartile;
    the threshold where that is smaller, or where there are fewer than 20 genuine pairs. An image is
    suspected where an image of another identity is near and none of its own is; one that is alone
    has no own to compare with. Two identities are suspected where the median of all distances
    between their images is very near: a single wrong image makes no two names.

    Args:
        embeddings: (N, D) floating point.
        labels: (N,) int64, one number per identity.
        distance: between them.
        threshold: the operating point's.
        two_names: whether to look for identities that look like one person, too; where a network
            tells few apart, that are many.
    """
    points = torch.as_tensor(embeddings).float()
    labels = np.asarray(labels)
    near, very_near = _near(points, labels, distance, threshold)
    mislabelled: list[Suspect] = []
    pairs: dict[tuple[int, int], tuple[float, int, int]] = {}
    for top, block in _blocks(points, distance):
        mine = labels[top : top + len(block), None] == labels[None]
        others = np.where(mine, np.inf, block)
        own = np.where(mine, block, np.inf)
        rows = np.arange(len(block))
        own[rows, top + rows] = np.inf
        nearest = others.argmin(axis=1)
        for i in rows:
            found = Suspect(
                int(top + i),
                float(own[i].min()),
                int(nearest[i]),
                float(others[i, nearest[i]]),
            )
            if found.other <= near < found.own < np.inf:
                mislabelled.append(found)
        if not two_names:
            continue
        for i, j in zip(*(side.tolist() for side in np.nonzero(others <= very_near)), strict=True):
            if top + i < j:
                a, b = sorted((int(labels[top + i]), int(labels[j])))
                known = pairs.get((a, b), (np.inf, 0, 0))
                pairs[a, b] = min(known, (float(others[i, j]), top + i, j))
    two = []
    members = _rows_of(labels)
    for (a, b), (least, row, other_row) in pairs.items():
        left, right = np.meshgrid(members[a], members[b], indexing="ij")
        median = float(np.median(distance.between(points, left.ravel(), right.ravel())))
        if median <= very_near:
            two.append(TwoNames(row, other_row, least, median))
    return Suspicions(
        near,
        very_near,
        tuple(sorted(mislabelled, key=lambda s: (-s.margin, s.row))),
        tuple(sorted(two, key=lambda t: (t.median, t.row, t.other_row))),
    )


def _near(
    points: Tensor, labels: np.ndarray, distance: Distance, threshold: float
) -> tuple[float, float]:
    """The two distances; arguments as of :func:`doubt_labels`."""
    pairs = [
        rows[np.stack(np.triu_indices(len(rows), 1))]
        for rows in (members[:: max(1, len(members) // _EACH)] for members in _rows_of(labels))
        if len(rows) > 1
    ]
    if sum(found.shape[1] for found in pairs) < _FEW:
        return threshold, threshold
    left, right = np.concatenate(pairs, axis=1)
    found = np.quantile(distance.between(points, left, right), [0.5, 0.25])
    return min(threshold, float(found[0])), min(threshold, float(found[1]))


def _rows_of(labels: np.ndarray) -> Sequence[np.ndarray]:
    """Of each label its rows, ascending; labels are 0, 1, ..."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels))[:-1])


def _blocks(points: Tensor, distance: Distance) -> Iterator[tuple[int, np.ndarray]]:
    """The first row, and (b, N) distances of some rows to all.

    By matrix products where the distance allows it, whose last bits are of no matter here.
    """
    rows = distance.rows(points) if distance.squared else points
    terms = distance.row_terms(rows) if distance.squared else None
    own = rows.square().sum(dim=1) + (0 if terms is None else terms)
    for top in range(0, len(rows), _BLOCK):
        part = slice(top, top + _BLOCK)
        if distance.squared:
            squares = (own[part, None] + own[None] - 2 * rows[part] @ rows.T).clamp_(min=0)
            yield top, distance.of_squares(squares).float().numpy()
        else:
            yield top, distance.matrix(points[part], points).numpy()
