"""FaissIndex: candidates from faiss, for galleries of hundreds of thousands of photographs.

It looks into some of many lists alone (an inverted file: Sivic and Zisserman, *Video Google*, ICCV
2003; Johnson, Douze and Jegou, *Billion-scale similarity search with GPUs*, 2017), so that it may
miss the nearest person. What it finds is measured as exactly as by the exact search. Gain and
recall: ``benchmarks/search.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from siamese.bounds import check_whole
from siamese.errors import MissingDependencyError
from siamese.inference.gallery.nearest import (
    BLOCK,
    Measure,
    Nearest,
    Rows,
    measured_candidates,
)

# Rows that the lists' middles are found on, for each list; more change little.
_TRAINING = 64


class FaissIndex:
    """An index in memory; it holds a copy of the embeddings.

    Args:
        parts: all enrolled photographs, at least one.
        cosine: whether the distance is the cosine one, else euclidean.
        lists: into how many the rows are divided; by default 4 times the root of their number.
        probes: how many of them are looked into, 1 or more: more find more, in more time.
        seed: of the rows that the lists' middles are found on.

    Raises:
        MissingDependencyError: faiss is not installed (extra ``faiss``).
        ConfigError: numbers out of range.
    """

    def __init__(
        self,
        parts: Sequence[Rows],
        cosine: bool,
        lists: int | None = None,
        probes: int = 16,
        seed: int = 0,
    ) -> None:
        rows = sum(len(part.codes) for part in parts)
        wanted = max(1, round(4 * math.sqrt(rows))) if lists is None else lists
        check_whole("lists", wanted, 1, 1 << 24)
        check_whole("probes", probes, 1, 1 << 24)
        faiss = _faiss()
        size = parts[0].embeddings.shape[1]
        self._cosine, wanted = cosine, min(wanted, rows)
        quantizer = faiss.IndexFlatL2(size)
        self._index = faiss.IndexIVFFlat(quantizer, size, wanted)
        self._index.cp.seed, self._index.cp.min_points_per_centroid = seed + 1, 1
        chosen = np.random.default_rng(seed).permutation(rows)[: _TRAINING * wanted]
        self._index.train(self._points(np.concatenate(_some(parts, np.sort(chosen)))))
        for part in parts:
            for start in range(0, len(part.codes), BLOCK):
                self._index.add(self._points(part.embeddings[start : start + BLOCK]))
        self._index.nprobe = min(probes, wanted)

    def nearest(
        self, probes: np.ndarray, parts: Sequence[Rows], k: int, measure: Measure, photographs: int
    ) -> list[Nearest]:
        """As :func:`siamese.inference.gallery.nearest.nearest_people`, of what faiss finds.

        Args:
            probes: (q, D) float32.
            parts: those that the index was made of.
            k: people at most.
            measure: see there.
            photographs: of the person who has most of them: as many rows may be one person's.
        """
        rows = min(self._index.ntotal, max(2 * k, k + min(photographs, 1000)))
        _, found = self._index.search(self._points(probes), rows)
        probe, place = np.nonzero(found >= 0)
        return measured_candidates(probes, parts, (probe, found[probe, place]), k, measure)

    def _points(self, embeddings: np.ndarray) -> np.ndarray:
        points = np.array(embeddings, dtype=np.float32, order="C")
        if self._cosine:
            lengths = np.linalg.norm(points, axis=1, keepdims=True)
            points /= np.where(lengths > 0, lengths, 1)
        return points


def _some(parts: Sequence[Rows], rows: np.ndarray) -> list[np.ndarray]:
    """Embeddings of rows, ascending, that are counted through all parts."""
    found, start = [], 0
    for part in parts:
        stop = start + len(part.codes)
        own = rows[(rows >= start) & (rows < stop)] - start
        found.append(np.asarray(part.embeddings[own]))
        start = stop
    return found


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "an approximate search needs faiss: pip install 'siamese-lightning[faiss]'; or search "
            "exactly, which needs nothing more"
        ) from error
    return faiss
