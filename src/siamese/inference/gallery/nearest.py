"""The nearest people of each probe: exact, in blocks of matrix products.

A matrix product in float32 gives every distance up to a rounding error that has a bound. Rows that
may be among the nearest within that bound are measured again, as verdicts measure them. So the
result is that of measuring all of them, bit for bit, in a small part of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 1 << 16  # rows at a time: their products with the probes are held
PROBES = 128  # probes at a time
PAIRS = 1 << 15  # pairs that are measured at a time
_ALL_PAIRS = 1 << 20  # pairs that are held where all are measured, if more than one probe's
_HALF_ULP = 2.0**-24
_SMALLEST = 2.0**-126

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Rows(NamedTuple):
    """Embeddings of enrolled photographs, those of one person next to each other.

    Attributes:
        embeddings: (n, D) float32, perhaps mapped from a file.
        codes: (n,) int64, a number for each person; no two runs have the same one.
        norms: (n,) float64, lengths of the embeddings.
    """

    embeddings: np.ndarray
    codes: np.ndarray
    norms: np.ndarray


def row_norms(embeddings: np.ndarray) -> np.ndarray:
    """(n,) float64 lengths of rows; of (n, D) float32, a block at a time."""
    found = np.empty(len(embeddings), dtype=np.float64)
    for start in range(0, len(found), BLOCK):
        block = embeddings[start : start + BLOCK]
        found[start : start + BLOCK] = np.sqrt(
            np.einsum("nd,nd->n", block, block, dtype=np.float64)
        )
    return found


class Nearest(NamedTuple):
    """The nearest people of one probe, nearest first.

    Attributes:
        codes: (k,) int64 people.
        rows: (k,) int64 their nearest photographs, counted through all parts.
        distances: (k,) float32.
    """

    codes: np.ndarray
    rows: np.ndarray
    distances: np.ndarray


def nearest_people(
    probes: np.ndarray,
    parts: Sequence[Rows],
    k: int,
    measure: Measure,
    *,
    kind: str = "euclidean",
) -> list[Nearest]:
    """The k people nearest to each probe, each by its nearest photograph.

    Args:
        probes: (q, D) float32, finite.
        parts: all enrolled photographs. A person may be in several parts.
        k: people at most, >= 1.
        measure: ``measure(a, b)`` gives (n,) float32 distances of matching rows (n, D).
        kind: ``"euclidean"`` or ``"cosine"``, of which the nearest are found by matrix products;
            for another distance every pair is measured.

    Returns:
        q results. Where distances are equal, people with the smaller code come first.
    """
    found: list[Nearest] = []
    by_products = kind in ("euclidean", "cosine")
    rows = sum(len(part.codes) for part in parts)
    step = PROBES if by_products else max(1, min(PROBES, _ALL_PAIRS // max(rows, 1)))
    for start in range(0, len(probes), step):
        some = np.ascontiguousarray(probes[start : start + step], dtype=np.float32)
        if by_products:
            pairs = _Candidates(some, k, kind == "cosine").among(parts)
        else:
            pairs = _all_pairs(len(some), parts)
        found += measured_candidates(some, parts, pairs, k, measure)
    return found


def measured_candidates(
    probes: np.ndarray,
    parts: Sequence[Rows],
    pairs: tuple[np.ndarray, np.ndarray],
    k: int,
    measure: Measure,
) -> list[Nearest]:
    """The k nearest people of each probe among candidates.

    Args:
        probes, parts, k, measure: as for :func:`nearest_people`.
        pairs: (m,) numbers of probes, and (m,) rows, counted through all parts.
    """
    return [_sorted(k, *each) for each in _measured(probes, parts, pairs, measure)]


class _Candidates:
    """Pairs of a probe and a row that may be among the nearest."""

    def __init__(self, probes: np.ndarray, k: int, cosine: bool) -> None:
        self._k, self._cosine = k, cosine
        norms = row_norms(probes)
        self._scale, self._squares = _scaled(norms, cosine)
        self._probes = probes * self._scale.astype(np.float32)[:, None] if cosine else probes
        # Above the square of the k-th nearest person's distance, as far as is known.
        self._limit = np.full(len(probes), np.inf)

    def among(self, parts: Sequence[Rows]) -> tuple[np.ndarray, np.ndarray]:
        """(m,) probes and (m,) rows, counted through all parts."""
        probes, rows, squares, offset, most = [], [], [], 0, 0.0
        for part in parts:
            for start in range(0, len(part.codes), BLOCK):
                block = slice(start, start + BLOCK)
                scale, own = _scaled(part.norms[block], self._cosine)
                probe, row, square = self._of_block(
                    part.embeddings[block], part.codes[block], scale, own
                )
                probes.append(probe)
                rows.append(row + (offset + start))
                squares.append(square)
                most = max(most, float(own.max()))
            offset += len(part.codes)
        if not probes:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        probe, row, square = (np.concatenate(each) for each in (probes, rows, squares))
        # What was near in an early block may be far among all.
        kept = ~(square > (self._limit + 2 * self._margin(most))[probe])
        return probe[kept], row[kept]

    def _margin(self, most: float) -> np.ndarray:
        """(q,) by how much a square may be wrong, where those of rows are at most ``most``.

        An inner product of D terms in float32 errs by at most about D / 2^24 of the product of the
        lengths, in whatever order it adds (Higham, *Accuracy and Stability of Numerical
        Algorithms*, 2002, section 3.1); twice that product is at most the sum of the squares.
        Twice the bound is taken.
        """
        terms = 2 * (self._probes.shape[1] + 16)
        # Products below float32's smallest normal number are wrong by any share of themselves.
        found: np.ndarray = terms * (_HALF_ULP * (self._squares + most) + _SMALLEST)
        return found

    def _of_block(
        self, embeddings: np.ndarray, codes: np.ndarray, scale: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probes and rows of one block that may count, and their squares."""
        with np.errstate(over="ignore", invalid="ignore"):
            squares = self._probes @ embeddings.T
            squares *= np.float32(-2)
            if self._cosine:
                squares *= scale.astype(np.float32)
            squares += own.astype(np.float32)
            squares += self._squares.astype(np.float32)[:, None]
        margin = self._margin(float(own.max()))
        first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))  # rows of people
        if np.isinf(self._limit).any():
            people = squares if len(first) == len(codes) else _least(squares, first)
            if len(first) >= self._k:
                nth = np.partition(people, self._k - 1, axis=1)[:, self._k - 1]
                self._limit = np.fmin(self._limit, nth)
            else:  # all people of this block may count, each by its nearest rows
                best = np.repeat(people, np.diff(np.append(first, len(codes))), axis=1)
                probe, row = np.nonzero(~(squares > best + 2 * margin[:, None]))
                return probe, row, squares[probe, row].astype(np.float64)
        limit = (self._limit + 2 * margin).astype(np.float32)
        probe, row = np.nonzero(~(squares > np.nextafter(limit, np.float32(np.inf))[:, None]))
        found = squares[probe, row].astype(np.float64)
        self._lower_limit(probe, codes[row], found)
        return probe, row, found

    def _lower_limit(self, probe: np.ndarray, codes: np.ndarray, squares: np.ndarray) -> None:
        """The k-th nearest person of this block bounds that of all; ``probe`` is ascending."""
        counts = np.bincount(probe, minlength=len(self._limit))
        ends = np.cumsum(counts)
        for n in np.flatnonzero(counts >= self._k):
            mine = slice(ends[n] - counts[n], ends[n])
            first = np.flatnonzero(np.append(True, codes[mine][1:] != codes[mine][:-1]))
            if len(first) >= self._k:
                people = np.minimum.reduceat(squares[mine], first)
                nth = np.partition(people, self._k - 1)[self._k - 1]
                self._limit[n] = np.fmin(self._limit[n], nth)


def _scaled(norms: np.ndarray, cosine: bool) -> tuple[np.ndarray, np.ndarray]:
    """What products are multiplied by, and the squares of the points' lengths."""
    if not cosine:
        with np.errstate(over="ignore"):
            return np.ones(len(norms)), norms**2
    length = norms > 0  # a zero vector has no direction
    return np.divide(1.0, norms, out=np.zeros(len(norms)), where=length), length.astype(np.float64)


def _least(squares: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(q, people) the least square of each run of rows."""
    found: np.ndarray = np.minimum.reduceat(squares, first, axis=1)
    return found


def _all_pairs(probes: int, parts: Sequence[Rows]) -> tuple[np.ndarray, np.ndarray]:
    rows = sum(len(part.codes) for part in parts)
    return np.repeat(np.arange(probes), rows), np.tile(np.arange(rows), probes)


def _measured(
    probes: np.ndarray,
    parts: Sequence[Rows],
    pairs: tuple[np.ndarray, np.ndarray],
    measure: Measure,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Codes, rows and distances of the candidates of each probe."""
    probe, row = pairs
    distances = np.empty(len(probe), dtype=np.float32)
    codes = np.empty(len(probe), dtype=np.int64)
    for start in range(0, len(probe), PAIRS):
        some = slice(start, start + PAIRS)
        embeddings, codes[some] = taken(parts, row[some])
        distances[some] = measure(probes[probe[some]], embeddings)
    order = np.argsort(probe, kind="stable")
    ends = np.cumsum(np.bincount(probe, minlength=len(probes)))
    for mine in np.split(order, ends[:-1]):
        yield codes[mine], row[mine], distances[mine]


def taken(parts: Sequence[Rows], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) embeddings and (n,) codes of rows that are counted through all parts."""
    ends = np.cumsum([len(part.codes) for part in parts])
    where = np.searchsorted(ends, rows, side="right")
    embeddings = np.empty((len(rows), parts[0].embeddings.shape[1]), dtype=np.float32)
    codes = np.empty(len(rows), dtype=np.int64)
    for n in np.unique(where):
        mine = where == n
        own = rows[mine] - (ends[n] - len(parts[n].codes))
        embeddings[mine], codes[mine] = parts[n].embeddings[own], parts[n].codes[own]
    return embeddings, codes


def _sorted(k: int, codes: np.ndarray, rows: np.ndarray, distances: np.ndarray) -> Nearest:
    """The k nearest people among candidates: each by its nearest row, the first of equal ones."""
    order = np.lexsort((rows, codes, distances))
    _, first = np.unique(codes[order], return_index=True)
    chosen = order[np.sort(first)][:k]
    return Nearest(codes[chosen], rows[chosen], distances[chosen])
