"""Identification: how often a search names the right person, a wrong one, or nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from siamese.distances.arrays import as_array, as_threshold
from siamese.distances.base import Distance, as_distance
from siamese.distances.inputs import as_tensor
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError
from siamese.verification.bootstrap import DRAWS, MIN_IDENTITIES, QUANTILES
from siamese.verification.point import Interval

_NUMBERS = 1 << 22  # distances at a time


@dataclass(frozen=True)
class SearchFigures:
    """The error rates of searches at one threshold, each 0..1; None where there are no such probes.

    ISO/IEC 19795-1 and NIST FRVT 1:N call them so.

    Attributes:
        threshold: a person is named where the distance is at most that.
        fpir: false positive identification rate: of probes of people who are not enrolled, the
            share for whom somebody is named.
        fnir: false negative identification rate: of probes of people who are enrolled, the share
            for whom not the right person is named, be it nobody or another one.
        misnamed: of the same probes the share for whom another person is named; a part of ``fnir``.
        ci95: name -> (low, high) from a bootstrap over the probes' identities; empty with fewer
            than 5 of them. The gallery is taken as it is.
    """

    threshold: float
    fpir: float | None
    fnir: float | None
    misnamed: float | None
    ci95: dict[str, Interval] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "threshold": self.threshold,
            "fpir": self.fpir,
            "fnir": self.fnir,
            "misnamed": self.misnamed,
            "ci95": {name: list(ends) for name, ends in self.ci95.items()},
        }


@dataclass(frozen=True, eq=False)
class SearchEvaluation:
    """Searches of labelled probes in a gallery.

    Where distances are equal, the wrong person counts as nearer.

    Attributes:
        people, photographs: how many are enrolled.
        labels: (q,) the identity of each probe.
        mated: (q,) bool, whether that identity is enrolled.
        own: (q,) float32 distance to the nearest photograph of the probe's own identity; infinite
            where it is not enrolled.
        other: (q,) float32 distance to the nearest photograph of another identity; infinite where
            there is none.
        ranks: (q,) int64 place of the own identity among all people, from 1; 0 where it is not
            enrolled.
        precisions: (q,) float64 average precision of the ranking of all photographs, 0..1; NaN
            where the identity is not enrolled.
    """

    people: int
    photographs: int
    labels: np.ndarray
    mated: np.ndarray
    own: np.ndarray
    other: np.ndarray
    ranks: np.ndarray
    precisions: np.ndarray

    def rank(self, k: int = 1) -> float | None:
        """Share of mated probes whose own identity is among the k nearest people, 0..1.

        It is the cumulative match characteristic at k. None without mated probes. Guessing reaches
        k / people.
        """
        return _mean(self._mated_ranks <= k)

    def cmc(self, most: int = 20) -> np.ndarray:
        """(k,) float64 cumulative match characteristic from rank 1 to ``most``, or to all people.

        NaN without mated probes.
        """
        ranks = np.arange(1, min(most, self.people) + 1)
        shares = [self.rank(k) for k in ranks.tolist()]
        return np.array([np.nan if share is None else share for share in shares], dtype=np.float64)

    @property
    def mean_average_precision(self) -> float | None:
        """Mean over mated probes of the average precision, 0..1; None without them."""
        return _mean(self.precisions[self.mated])

    @cached_property
    def ci95(self) -> dict[str, Interval]:
        """95 % intervals of ``rank1`` and ``mean_average_precision``; empty with few identities."""
        labels = self.labels[self.mated]
        return _intervals(
            {
                "rank1": (self._mated_ranks <= 1, labels),
                "mean_average_precision": (self.precisions[self.mated], labels),
            }
        )

    def at(self, threshold: float) -> SearchFigures:
        """The error rates at a threshold, with intervals.

        Raises:
            CalibrationError: a threshold that is no number.
        """
        threshold = as_threshold(threshold)
        named = is_match(np.minimum(self.own, self.other), threshold)
        right = named & (self.own < self.other)
        mated, labels = self.mated, self.labels
        kinds = {
            "fpir": (named[~mated], labels[~mated]),
            "fnir": (~right[mated], labels[mated]),
            "misnamed": ((named & ~right)[mated], labels[mated]),
        }
        rates = {name: _mean(errors) for name, (errors, _) in kinds.items()}
        return SearchFigures(threshold, **rates, ci95=_intervals(kinds))

    @property
    def _mated_ranks(self) -> np.ndarray:
        found: np.ndarray = self.ranks[self.mated]
        return found

    def __repr__(self) -> str:
        return (
            f"SearchEvaluation({int(self.mated.sum()):,} probes of enrolled and "
            f"{int((~self.mated).sum()):,} of other people, among {self.people:,})"
        )


def evaluate_search(
    gallery: Tensor | np.ndarray,
    gallery_labels: Any,
    probes: Tensor | np.ndarray,
    probe_labels: Any,
    distance: str | Distance = "euclidean",
) -> SearchEvaluation:
    """Search every probe among all enrolled photographs.

    A person is as far as the nearest of the person's photographs. Memory is bounded.

    Args:
        gallery: (n, D) floating point, embeddings of enrolled photographs, n >= 1.
        gallery_labels: (n,) whom each shows, numbers or names.
        probes: (q, D) floating point, of other photographs, q >= 1.
        probe_labels: (q,) whom each shows; who is in no ``gallery_labels`` is not enrolled.
        distance: by which they are compared.

    Raises:
        CalibrationError: other shapes, nothing to search, or numbers that are not finite.
        ConfigError: an unknown distance.
    """
    rows, searched = as_tensor(gallery), as_tensor(probes)
    enrolled = as_array(gallery_labels, "gallery_labels")
    labels = as_array(probe_labels, "probe_labels")
    for name, table, names in (("gallery", rows, enrolled), ("probes", searched, labels)):
        if table.ndim != 2 or names.shape != (len(table),) or not len(table):
            raise CalibrationError(
                f"{name}: embeddings {tuple(table.shape)} and labels {names.shape} do not fit; "
                f"give (n, D) and (n,), n >= 1"
            )
        if not bool(table.isfinite().all()):
            raise CalibrationError(f"{name}: some embeddings are NaN or infinite; leave them out")
    measure = as_distance(distance)
    people, codes = np.unique(enrolled, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    codes, rows = codes[order], rows[order]
    first = np.searchsorted(codes, np.arange(len(people)))
    place = np.searchsorted(people, labels)
    mated = people[np.minimum(place, len(people) - 1)] == labels
    own = np.full(len(labels), np.inf, dtype=np.float32)
    other, ranks = own.copy(), np.zeros(len(labels), dtype=np.int64)
    precisions = np.full(len(labels), np.nan)
    step = max(1, _NUMBERS // len(rows))
    for start in range(0, len(labels), step):
        distances = measure.matrix(searched[start : start + step], rows).cpu().numpy()
        if not np.isfinite(distances).all():
            raise CalibrationError("some distances are not finite; scale the embeddings")
        nearest = np.minimum.reduceat(distances, first, axis=1)
        for i, each in enumerate(nearest, start=start):
            if mated[i]:
                own[i] = each[place[i]]
                ranks[i] = np.count_nonzero(each <= own[i])  # its own is one of them
                precisions[i] = _average_precision(distances[i - start], codes == place[i])
                each[place[i]] = np.inf
            other[i] = each.min()
    return SearchEvaluation(len(people), len(rows), labels, mated, own, other, ranks, precisions)


def _average_precision(distances: np.ndarray, relevant: np.ndarray) -> float:
    """Mean over relevant rows of the share of relevant ones up to there; wrong ones first."""
    order = np.lexsort((relevant, distances))
    hits = relevant[order]
    places = np.flatnonzero(hits) + 1
    return float((np.arange(1, len(places) + 1) / places).mean())


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _intervals(kinds: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Interval]:
    """95 % intervals of means of 0..1, by drawing identities again, with replacement.

    Where nothing varies, the end is Clopper and Pearson's, with identities as trials.
    """
    found = {}
    for name, (values, labels) in kinds.items():
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < MIN_IDENTITIES:
            continue
        sums = np.bincount(codes, weights=values.astype(np.float64))
        counts = np.bincount(codes)
        most = 1 - 0.025 ** (1 / len(names))
        if not sums.any():
            found[name] = (0.0, float(most))
            continue
        if np.array_equal(sums, counts):
            found[name] = (float(1 - most), 1.0)
            continue
        random = np.random.default_rng(0)
        drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
        means = drawn @ sums / (drawn @ counts)
        low, high = np.quantile(means, QUANTILES)
        found[name] = (float(low), float(high))
    return found
