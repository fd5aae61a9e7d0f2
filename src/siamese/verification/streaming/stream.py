"""All N (N - 1) / 2 pairs of an embedding matrix, counted exactly and never held in memory.

How it counts: a distance is a float32 number (:meth:`siamese.Distance.measure`). One pass puts
every pair into one of 2,048 bins per octave of distance
(:mod:`siamese.verification.streaming.tiles` says how, and why every bin's content is exact), so
that the counts at a bin's upper edge are the exact counts of ``distance <= edge``.

Why the optimum is exact: within a bin, TP and FP lie between their values at its edges, so a
policy's objective is at most what it is at the TP of the upper edge with the FP of the lower one
(:meth:`Policy.bound`). Bins whose bound is below the best value at any edge cannot hold the best
threshold. The others are counted again, finally distance by distance, and the policy compares exact
counts, in whole numbers, at every distance that occurs there. This is a radix selection: memory
does not grow with the number of pairs.

The second count is usually not needed. The tiles on the diagonal are counted first. They hold most
genuine pairs and a sample of the impostor pairs, and so predict where the best threshold is; from
then on pairs near it are counted one by one. If it turns out to be elsewhere, a second pass counts
what is missing.

Inside :func:`siamese.across_processes` the tiles of each pass are divided over the processes, and
what they count is added up (:mod:`siamese.verification.streaming.passes`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from siamese.distances.arrays import as_threshold
from siamese.distances.base import DISTANCES, Distance
from siamese.distances.verdict import floor
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import Pairs
from siamese.processes import Processes
from siamese.verification.confusion import Confusion
from siamese.verification.curves import Choice, ThresholdCurve, eer, middle
from siamese.verification.grids import CELLS, guess_thresholds, is_fine_enough
from siamese.verification.pair_distances import PairDistances, PairSample
from siamese.verification.point import Interval
from siamese.verification.policies.base import Policy
from siamese.verification.streaming import passes
from siamese.verification.streaming.cells import Cells, Counter, from_keys, to_keys
from siamese.verification.streaming.extremes import Extremes
from siamese.verification.streaming.identity_counts import IdentityCounts, Moved, merged
from siamese.verification.streaming.tile import Tile
from siamese.verification.streaming.tiles import SHIFT, Place, Tiles
from siamese.verification.weights import pair_weights

RESOLUTION = 2.0 ** (SHIFT - 23)  # of cosine; of euclidean distances half of it
# Pairs in bins that can hold the threshold: where there are more, they are first counted in
# groups of keys that ignore FINER lower bits, then one by one.
LIMIT = 4_000_000
FINER = 6
# Pairs near the expected threshold are counted one by one from the start: this share of all pairs,
# and so many bins to either side, at most.
WATCHED = 1 / 256
WIDEST = 64
# Share of the area under the curve: if the pairs of one bin can change so much, they are counted
# distance by distance.
AREA = 1e-5
# All pairs of so many rows, and so many genuine ones, tell at which thresholds pairs are counted
# by identity; these are fewer than MOST_COLUMNS.
SAMPLE = 1024
GENUINE = 4096
MOST_COLUMNS = 1000


class StreamedDistances(PairDistances):
    """Every pair i < j of N embeddings, in tiles; see the module's description.

    Args:
        embeddings: (N, D) floating point, finite, N >= 2.
        labels: (N,) integers, one number per identity.
        distance: between them; by matrix products where it is :attr:`Distance.squared`, pair by
            pair otherwise (slow).
        tile: rows of a tile, by default as many as suit the place; the results do not depend on
            it.
        device: where the pairs are counted, by default where the embeddings are; see
            :class:`siamese.verification.streaming.tiles.Tiles`.

    Attributes:
        labels: (N,) numbers of identities, grouped.

    Raises:
        CalibrationError: embeddings so large or small that float32 does not hold their distances.
    """

    def __init__(
        self,
        embeddings: Tensor,
        labels: np.ndarray,
        distance: Distance,
        tile: int | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self._tiles = Tiles(embeddings, labels, distance, tile, device)
        self.labels, self._original_labels = self._tiles.labels, np.asarray(labels)
        self.draw_keys = self._tiles.keys
        self.distance, self.pair_rule = DISTANCES.name(distance), AllPairs().describe()
        self._genuine, self._impostor = AllPairs().counts(self.labels)
        self._guard = threading.Lock()  # of whatever the threads count into
        self._counts: tuple[np.ndarray, np.ndarray] | None = None
        self._watched: Counter | None = None
        self._curve: ThresholdCurve | None = None
        self._weighted_curve: ThresholdCurve | None = None
        self._draws_expected = False
        self._ends: np.ndarray | None = None  # see _expected_ends
        self._by_identity: IdentityCounts | None = None

    @property
    def genuine(self) -> int:
        return self._genuine

    @property
    def impostor(self) -> int:
        return self._impostor

    # --- what is asked of it ---

    def curve(self, weights: str | None = None) -> ThresholdCurve:
        """Exact counts at thresholds 0.1 % apart or less, and at one that refuses all pairs.

        The thresholds are the edges of all bins that hold a pair. Where a bin holds so many pairs
        of both kinds that the area under the curve could depend on it (a learned distance that
        saturates), every distance in it is a threshold: the pairs of one bin can then change the
        area by less than 1e-5. With weights, which take one more pass, the thresholds are some of
        the bins' edges, 20 million numbers of identities at most.
        """
        if weights is not None:
            return self._weighted()
        if self._curve is None:
            genuine, impostor = self._histogram()
            share = (genuine / max(1, self.genuine)) * (impostor / max(1, self.impostor)) / 2
            self._curve = self._with_all(self.binned(), np.flatnonzero(share > AREA))
        return self._curve

    def _weighted(self) -> ThresholdCurve:
        """Every identity's genuine pairs together count alike."""
        if self._weighted_curve is None:
            curve, sizes = self.binned(), np.bincount(self.labels)
            step = -(-len(curve.thresholds) * len(sizes) // CELLS)
            which = np.arange(len(curve.thresholds) - 1, 0, -step)[::-1]  # the last one, too,
            which = np.append(0, which)  # and the one that refuses every pair
            thresholds = curve.thresholds[which]
            apart = RESOLUTION
            if step > 1:
                # Pairs at a threshold may lie anywhere above the one before.
                apart = 0.999
            own, _ = self.by_identity(thresholds.astype(np.float64))
            each = pair_weights(sizes * (sizes - 1) // 2)
            weighted = np.cumsum(each @ own[:, :-1].astype(np.int64))
            self._weighted_curve = ThresholdCurve(
                thresholds, curve.tp[which], curve.fp[which], apart, weighted
            )
        return self._weighted_curve

    def eer(self) -> float:
        """The equal error rate, exactly; errors as :func:`siamese.verification.curves.eer`."""
        curve = self.binned()
        above = np.argmax(curve.fp * self.genuine >= (self.genuine - curve.tp) * self.impostor)
        place = self._tiles.bin_of(curve.thresholds[[above]])
        return eer(self._with_all(curve, place))

    def binned(self) -> ThresholdCurve:
        """Exact counts at the edges of all bins that hold a pair, and at one that refuses all."""
        genuine, impostor = self._histogram()
        filled, edges = np.flatnonzero(genuine + impostor), self._tiles.edges
        below = edges[filled[0] - 1] if filled[0] else np.nextafter(np.float32(0), np.float32(-1))
        tp, fp = (np.append(0, np.cumsum(counts)[filled]) for counts in (genuine, impostor))
        return ThresholdCurve(np.append(below, edges[filled]), tp, fp, RESOLUTION)

    def choose(self, policy: Policy) -> Choice:
        """See :meth:`PairDistances.choose`; among all distances, exactly.

        With weights, and where distances are smoothed, among the thresholds of :meth:`curve`.

        Raises:
            CalibrationError: the pairs cannot support the policy.
        """
        policy.check(self.genuine, self.impostor)
        if policy.weights is not None:
            return self.curve(policy.weights).choose(policy)
        if policy.smooth is not None:
            threshold = self.curve().smoothed(policy)
            counts = self.count_verdicts(threshold)
            exact = self.curve().with_counts_at([threshold], counts)
            return Choice(threshold, counts, exact.gap(threshold))
        genuine, impostor = self._histogram(policy)
        cells = Cells.of_bins(self._tiles.edges, genuine, impostor).candidates_for(
            policy, self.genuine, self.impostor
        )
        if cells.pairs > LIMIT:
            cells = self._refined(cells, FINER).candidates_for(policy, self.genuine, self.impostor)
        cells = self._refined(cells, 0)
        tp, fp = cells.tp + cells.genuine, cells.fp + cells.impostor
        chosen = policy.choose(tp, fp, self.genuine, self.impostor)
        if chosen < 0:
            refused = Confusion(0, 0, self.genuine, self.impostor)
            return Choice(self._below_all(), refused, None)
        t, f = int(tp[chosen]), int(fp[chosen])
        farthest = np.float32(from_keys(cells.start[chosen]))
        gap = self._gap(farthest)
        return Choice(
            float(farthest) if gap is None else middle(gap, np.dtype(np.float32)),
            Confusion(t, f, self.genuine - t, self.impostor - f),
            gap,
        )

    def count_verdicts(self, threshold: float) -> Confusion:
        """Exact counts at any threshold.

        Raises:
            CalibrationError: a threshold that is not a number.
        """
        below = floor(as_threshold(threshold)) + np.float32(0)  # turns minus zero into zero
        if below < 0:
            return Confusion(0, 0, self.genuine, self.impostor)
        genuine, impostor = self._histogram()
        cells = Cells.of_bins(self._tiles.edges, genuine, impostor)
        place = min(int(self._tiles.bin_of(np.asarray(below))), len(genuine) - 1)
        cell = cells.select_cells(np.array([place]))
        tp, fp = int(cell.tp[0]), int(cell.fp[0])
        if cell.pairs and below < self._tiles.edges[place]:
            fine = self._refined(cell, 0)
            upto = from_keys(fine.start) <= below
            tp, fp = tp + int(fine.genuine[upto].sum()), fp + int(fine.impostor[upto].sum())
        else:
            tp, fp = tp + int(cell.genuine[0]), fp + int(cell.impostor[0])
        return Confusion(tp, fp, self.genuine - tp, self.impostor - fp)

    def in_tables(self, numbers: np.ndarray) -> np.ndarray:
        """See :meth:`PairDistances.in_tables`: tables are in the order of the tiles."""
        found = np.empty_like(numbers)
        found[self._tiles.places] = numbers
        return found

    def by_identity(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`PairDistances.by_identity`; exact where thresholds are edges of bins.

        No further pass is needed for thresholds of :meth:`bootstrap_curve`, the first time, where
        :meth:`expect_draws` was called before anything was counted.
        """
        edges = self._tiles.edges
        known, self._by_identity = self._by_identity, None
        if known is not None and self._ends is not None:
            # No pair lies between an end and the last edge, before it, of a bin with pairs.
            places = self._filled_before(self._ends)
            upto = np.where(places < 0, -1, edges[np.maximum(places, 0)]).astype(np.float64)
            ends = np.searchsorted(upto, thresholds, side="right")
            empty = thresholds < edges[self._filled()[0]]
            if (empty | (upto[np.maximum(ends - 1, 0)] == thresholds)).all():
                return merged(known.own, ends), merged(known.others, ends)
        column = np.searchsorted(thresholds, edges, side="left")
        counts = IdentityCounts(self.labels, column, self._tiles.device)
        self._pass(
            lambda tile: counts.add(tile, self._tiles.genuine(tile), self._moved(tile)),
            (counts.own, counts.others),
        )
        return counts.own, counts.others

    def by_two_identities(self, thresholds: np.ndarray) -> np.ndarray:
        """See :meth:`PairDistances.by_two_identities`; exact up to the width of a bin.

        Memory grows with the square of the number of identities.
        """
        columns, identities = len(thresholds) + 1, int(self.labels[-1]) + 1
        places, device = np.searchsorted(thresholds, self._tiles.edges), self._tiles.device
        column = torch.from_numpy(places).to(device)
        counts = np.zeros(identities * identities * columns, dtype=np.int64)
        identity = torch.from_numpy(self.labels).to(device)

        def count(tile: Tile) -> None:
            where = torch.index_select(column, 0, tile.bins).view(tile.height, tile.width)
            a = identity[tile.first : tile.first + tile.height, None]
            b = identity[None, tile.second : tile.second + tile.width]
            keys = ((a * identities + b) * columns + where).view(-1)
            counted = torch.bincount(keys[tile.upper() & (a != b).view(-1)], minlength=len(counts))
            with self._guard:
                np.add(counts, counted.cpu().numpy(), out=counts)

        self._pass(count, (counts,))
        return counts.reshape(identities, identities, columns)

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n,) float32 distances of pairs of rows, numbered as they were given."""
        place = np.empty_like(self._tiles.order)
        place[self._tiles.order] = np.arange(len(place))
        return self._tiles.measured(place[left], place[right])

    def extremes(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ``count`` closest impostor pairs and the ``count`` farthest genuine ones.

        Of several equal ones those of the smallest left rows, and then right ones, come first.

        Returns:
            rows (n,) and (n,), the smaller one left, numbered as they were given; (n,) float32
                distances.
        """
        genuine, impostor = self._histogram()
        place = np.arange(len(genuine))
        close = place <= np.searchsorted(np.cumsum(impostor), min(count, self.impostor))
        distant = place[::-1] <= np.searchsorted(np.cumsum(genuine[::-1]), min(count, self.genuine))
        kept = Extremes(count)

        def look(tile: Tile) -> None:
            own = self._tiles.genuine(tile)
            near = tile.candidates(close)
            wanted = {False: near[~self._tiles.same(tile, near)]}
            if own is not None:
                wanted[True] = own[np.isin(own, tile.candidates(distant), assume_unique=True)]
            for same, flat in wanted.items():
                if len(flat):
                    one, other = self._given_rows(tile, flat)
                    found = self._tiles.exact(tile, flat)
                    with self._guard:
                        kept.add(same, one, other, found)

        kept.join(self._pass(look))
        return kept.pairs()

    def _given_rows(self, tile: Tile, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of pairs of a tile, numbered as they were given."""
        i, j = tile.rows(flat)
        return self._tiles.order[i], self._tiles.order[j]

    @property
    def original_labels(self) -> np.ndarray:
        return self._original_labels

    @property
    def every_pair(self) -> bool:
        return True

    def accepted(self, threshold: float, visit: Callable[[np.ndarray, np.ndarray], None]) -> None:
        below = floor(as_threshold(threshold)) + np.float32(0)  # turns minus zero into zero
        if below < 0:
            return
        bins = len(self._tiles.edges)
        wanted = np.arange(bins) <= min(int(self._tiles.bin_of(np.asarray(below))), bins - 1)

        def look(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
            flat = tile.candidates(wanted)
            return self._given_rows(tile, flat[self._tiles.exact(tile, flat) <= below])

        passes.show(self._tiles, look, visit, self._tiles.every())

    def expect_draws(self) -> None:
        self._draws_expected = self._counts is None

    def bootstrap_curve(self) -> ThresholdCurve:
        """Exact counts at the edges of some bins, that a sample of the pairs told, or of all.

        The same ones whether :meth:`expect_draws` was called or not.
        """
        curve = self.binned()
        ends = self._expected_ends()
        if ends is None:
            return curve
        places = self._filled_before(ends)
        # The curve has the edge of each bin with pairs, after one below all.
        which = np.unique(np.append(0, np.searchsorted(self._filled(), places, side="right")))
        some = ThresholdCurve(
            curve.thresholds[which], curve.tp[which], curve.fp[which], curve.resolution
        )
        return some if is_fine_enough(some, curve) else curve

    def independent_trials(self) -> np.ndarray:
        sizes = np.bincount(self.labels)
        return np.array([np.count_nonzero(sizes > 1), len(sizes) * (len(sizes) - 1) // 2])

    def largest_share(self) -> float:
        sizes = np.bincount(self.labels)
        own = sizes * (sizes - 1) // 2
        return float(own.max(initial=0) / max(1, own.sum()))

    def pairs_to_show(self, count: int, seed: int = 0) -> PairSample:
        """The closest impostor and the farthest genuine pairs, and some at random."""
        left, right, distances = self.extremes(count)
        labels = self.original_labels
        some = BalancedPairs(count, seed)(labels)
        known = set(zip(left.tolist(), right.tolist(), strict=True))
        sides = np.sort(np.stack([some.left, some.right]), axis=0)
        new = np.array(
            [pair not in known for pair in zip(*sides.tolist(), strict=True)], dtype=bool
        )
        left, right = np.append(left, some.left[new]), np.append(right, some.right[new])
        distances = np.append(distances, self.between(some.left[new], some.right[new]))
        pairs = Pairs(left, right, labels[left] == labels[right])
        return PairSample(pairs, distances, self.distance, complete=False)

    # --- passes over the pairs ---

    def _pass(
        self,
        work: Callable[[Tile], None],
        counts: tuple[np.ndarray, ...] = (),
        places: list[Place] | None = None,
    ) -> Processes:
        """Call ``work`` with all tiles, or those at some places, divided over the processes.

        Args:
            work: must guard what it changes.
            counts: integers that it counts into, 0 before; afterwards those of all processes.
            places: of the tiles, by default all.
        """
        places = self._tiles.every() if places is None else places
        processes = passes.each(self._tiles, work, places)
        passes.add_up(processes, *counts)
        return processes

    def _histogram(self, policy: Policy | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(bins,) int64 genuine and impostor pairs of each bin; computed once.

        A policy says near which threshold pairs are counted one by one.
        """
        if self._counts is None:
            bins = len(self._tiles.edges)
            every, same = (np.zeros(bins, dtype=np.int64) for _ in range(2))
            ends = self._expected_ends() if self._draws_expected else None
            people = None
            if ends is not None:
                column = np.searchsorted(ends, np.arange(bins), side="left")
                people = IdentityCounts(self.labels, column, self._tiles.device)
            diagonal, rest = self._tiles.diagonal(), self._tiles.rest()
            self._pass(lambda tile: self._count(tile, every, same, people), (every, same), diagonal)
            watched = self._expect(policy, same, every - same) if policy and rest else None
            wanted = self._cells_needed(watched) if watched else None
            more, more_same = (np.zeros(bins, dtype=np.int64) for _ in range(2))

            def work(tile: Tile) -> None:
                self._count(tile, more, more_same, people)
                self._watch(tile, watched, wanted)

            tables = (people.own, people.others) if people else ()
            self._pass(work, (more, more_same, *tables), rest)
            if watched:
                processes = self._pass(
                    lambda tile: self._watch(tile, watched, wanted), places=diagonal
                )
                watched.join(processes)
            same += more_same
            self._counts = (same, every + more - same)
            self._watched, self._by_identity = watched, people
        return self._counts

    def _count(
        self,
        tile: Tile,
        every: np.ndarray,
        same: np.ndarray,
        people: IdentityCounts | None = None,
    ) -> None:
        """Count the pairs of a tile, and its genuine pairs, by their true bins."""
        counted = torch.bincount(
            tile.bins[tile.upper()] if tile.diagonal else tile.bins, minlength=len(every)
        )
        genuine, moved = self._tiles.genuine(tile), self._moved(tile)
        if people is not None:
            people.add(tile, genuine, moved)
        with self._guard:
            every += counted.cpu().numpy()
            if genuine is not None:
                np.add.at(same, tile.bins_at(genuine), 1)
            for counts, these in ((every, slice(None)), (same, moved.same)):
                np.subtract.at(counts, moved.before[these], 1)
                np.add.at(counts, moved.after[these], 1)

    def _moved(self, tile: Tile) -> Moved:
        """The pairs of a tile whose true bin is not the one in ``Tile.bins``."""
        before = tile.bins_at(tile.doubtful)
        after = self._tiles.bin_of(self._tiles.exact(tile, tile.doubtful))
        moved = np.flatnonzero(before != after)
        flat = tile.doubtful[moved]
        return Moved(flat, before[moved], after[moved], self._tiles.same(tile, flat))

    def _expected_ends(self) -> np.ndarray | None:
        """(n,) bins, ascending, the last one among them, whose edges may be a bootstrap's grid.

        A sample of the pairs tells them. It does not depend on the tiles. None where the pairs are
        so few, or the identities so many, that this saves nothing.
        """
        if self._ends is None and self._worth_a_sample():
            rng, edges = np.random.default_rng(0), self._tiles.edges
            every, same = (np.zeros(len(edges), dtype=np.int64) for _ in range(2))
            self._tiles.each(lambda tile: self._count(tile, every, same), self._tiles.among(SAMPLE))
            genuine = np.sort(self._tiles.measured(*self._some_genuine(rng, GENUINE)))
            impostor = np.repeat(edges, every - same)
            if len(impostor) < SAMPLE:
                return None
            found = self._tiles.bin_of(guess_thresholds(genuine, impostor, self.impostor))
            self._ends = np.unique(np.append(np.minimum(found, len(edges) - 1), len(edges) - 1))
        return self._ends

    def _worth_a_sample(self) -> bool:
        identities, rows = int(self.labels[-1]) + 1, len(self.labels)
        few = identities * MOST_COLUMNS <= CELLS
        return bool(rows >= 4 * SAMPLE and few and self.genuine and self.impostor)

    def _some_genuine(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of genuine pairs at random, some of them perhaps several times."""
        sizes = np.bincount(self.labels)
        ends = np.cumsum(sizes * (sizes - 1) // 2)
        who = np.searchsorted(ends, rng.integers(ends[-1], size=count), side="right")
        one = rng.integers(sizes[who])
        other = (one + 1 + rng.integers(sizes[who] - 1)) % sizes[who]
        start = (np.cumsum(sizes) - sizes)[who]
        return start + one, start + other

    def _filled(self) -> np.ndarray:
        """The bins that hold a pair, ascending."""
        return np.flatnonzero(np.add(*self._histogram()))

    def _filled_before(self, bins: np.ndarray) -> np.ndarray:
        """(n,) the last bin that holds a pair, up to each of (n,) bins; -1 where there is none."""
        filled = self._filled()
        return np.append(-1, filled)[np.searchsorted(filled, bins, side="right")]

    def _expect(self, policy: Policy, genuine: np.ndarray, impostor: np.ndarray) -> Counter | None:
        """A counter for the pairs near the threshold that a sample of the pairs predicts.

        None where the sample cannot predict it.
        """
        if not genuine.any() or not impostor.any():
            return None
        tp, fp = (
            np.cumsum(v) * (of / v.sum())
            for v, of in ((genuine, self.genuine), (impostor, self.impostor))
        )
        share = float(policy.prevalence_of(self.genuine, self.impostor))
        values = policy.objective(tp, fp, float(self.genuine), float(self.impostor), share)
        best = int(np.argmax(values))
        below = np.concatenate([[0], np.cumsum(genuine + impostor)])
        sides = np.arange(1, WIDEST + 1)
        first, last = np.maximum(best - sides, 0), np.minimum(best + sides, len(genuine) - 1)
        held = below[last + 1] - below[first] <= WATCHED * below[-1]
        side = max(int(np.count_nonzero(held)), 1) - 1
        cells = Cells.of_bins(self._tiles.edges, genuine, impostor).select_cells(
            np.arange(first[side], last[side] + 1)
        )
        return Counter(cells.start, cells.end, 0)

    def _watch(self, tile: Tile, counter: Counter | None, wanted: np.ndarray | None) -> None:
        """Give a counter those pairs of a tile that it counts; ``wanted`` are its bins."""
        if counter is None or wanted is None:
            return
        flat = tile.candidates(wanted)
        if len(flat):
            keys, same = to_keys(self._tiles.exact(tile, flat)), self._tiles.same(tile, flat)
            with self._guard:
                counter.add(keys, same)

    def _cells_needed(self, counter: Counter) -> np.ndarray:
        """(bins,) bool: those in which a counter counts."""
        changes = np.zeros(len(self._tiles.edges) + 1, dtype=np.int64)
        np.add.at(changes, self._tiles.bin_of(from_keys(counter.start)), 1)
        np.add.at(changes, self._tiles.bin_of(from_keys(counter.end - 1)) + 1, -1)
        wanted: np.ndarray = np.cumsum(changes)[:-1] > 0
        return wanted

    def _refined(self, cells: Cells, shift: int) -> Cells:
        """The same pairs in cells of up to 2^shift keys each, without the empty ones."""
        if not len(cells.start):  # the policy refuses every pair
            return cells
        if not shift and self._watched and self._watched.covers(cells):
            return self._watched.cells(cells)
        counter = Counter(cells.start, cells.end, shift)
        wanted = self._cells_needed(counter)
        counter.join(self._pass(lambda tile: self._watch(tile, counter, wanted)))
        return counter.cells(cells)

    def _with_all(self, curve: ThresholdCurve, bins: np.ndarray) -> ThresholdCurve:
        """A curve at the bins' edges, and in some bins at every distance that occurs."""
        if not len(bins):
            return curve
        cells = self._refined(
            Cells.of_bins(self._tiles.edges, *self._histogram()).select_cells(bins), 0
        )
        inside = from_keys(cells.start)
        thresholds = np.append(curve.thresholds, inside)
        tp = np.append(curve.tp, cells.tp + cells.genuine)
        fp = np.append(curve.fp, cells.fp + cells.impostor)
        thresholds, first = np.unique(thresholds, return_index=True)
        return ThresholdCurve(thresholds, tp[first], fp[first], curve.resolution)

    def _gap(self, distance: np.float32) -> Interval | None:
        """From a distance that occurs to just below the next one; None if there is no next one.

        No further pass is needed where the pairs near the threshold were counted one by one.
        """
        filled = np.flatnonzero(np.add(*self._histogram()))
        here = int(np.searchsorted(filled, self._tiles.bin_of(np.asarray([distance]))[0]))
        cells = Cells.of_bins(self._tiles.edges, *self._histogram())
        fine = self._refined(cells.select_cells(filled[here : here + 2]), 0)
        above = from_keys(fine.start)
        above = above[above > distance]
        if not len(above):
            return None
        return float(distance), float(np.nextafter(above[0], np.float32(-np.inf)))

    def _below_all(self) -> float:
        """The largest float32 number below every distance."""
        cells = Cells.of_bins(self._tiles.edges, *self._histogram())
        first = cells.select_cells(np.flatnonzero(cells.genuine + cells.impostor)[:1])
        smallest = from_keys(self._refined(first, 0).start[:1])[0]
        return float(np.nextafter(smallest, np.float32(-np.inf)))
