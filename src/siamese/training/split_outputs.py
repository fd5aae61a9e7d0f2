"""SplitOutputs: what a network gave for a whole split, and the loss and figures that follow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from siamese.data.adapters import TorchSampler
from siamese.data.dataset import SplitOrigin
from siamese.data.samplers.balanced_pair_sampler import BalancedPairSampler
from siamese.data.samplers.base import BatchPlan, Sampler
from siamese.data.samplers.identity_sampler import IdentitySampler
from siamese.distances.base import Distance
from siamese.distances.verdict import is_match
from siamese.errors import DataError
from siamese.losses.base import all_pairs
from siamese.pairs.base import PairRule
from siamese.processes import all_processes
from siamese.training.metrics import PairMetric
from siamese.verification.curves import auc
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import OperatingPoint, figures_at

LOSS_BATCHES = 32  # that the loss of a split is the mean of, at least
SOME_PAIRS = 512  # of either kind that the accuracy of a training batch is measured on
# The accuracy, and all else that is logged at the threshold.
FIGURES = ("f1", "accuracy", "precision", "recall", "fmr")


class _Rows(PairMetric):
    """Embeddings with their labels, of all processes."""

    def compute(self) -> PairDistances:
        return self.pair_distances()


class SplitOutputs:
    """The images of a split, each once: what is compared at use, and what the loss sees.

    Args:
        distance: of the embeddings.
        size: images in the split; fewer may be seen, where batches are limited.
        keep: whether the embeddings at use are needed, too.
    """

    def __init__(self, distance: Distance, size: int, keep: bool) -> None:
        self._seen, self._at_use = _Rows(), _Rows()
        for rows in (self._seen, self._at_use):
            rows.distance = distance  # fitted or not yet
        self.size, self._keep = size, keep
        self.known_to_loss, self._none = True, True

    def add(self, at_use: Tensor, seen: Tensor | None, labels: Tensor, index: Tensor) -> None:
        """Add a batch: (B, D) embeddings at use, (B, E) of the loss, (B,) labels, (B,) rows."""
        self._none = False
        if seen is None:
            self.known_to_loss = False
        else:
            self._seen.update(seen, labels, index)
        if self._keep:
            self._at_use.update(at_use, labels, index)

    def empty(self) -> bool:
        """Whether no process has seen an image; all of them must ask."""
        every = all_processes().gather((self._none, self.known_to_loss))
        # One without images does not know what the loss sees.
        self.known_to_loss = all(known for _, known in every)
        return all(none for none, _ in every)

    def complete(self) -> bool:
        """Whether every image of the split was seen: only then can pairs chosen for it be found."""
        rows = self._at_use if self._keep else self._seen
        with rows.gathered():
            return len(rows.rows()[1]) == self.size

    def mean_loss(self, loss: nn.Module, origin: SplitOrigin | None) -> Tensor | None:
        """The mean loss of batches that are drawn as in training.

        Where the training's sampler cannot draw from these images (a torch sampler, loaders of a
        user's own), the batches are those of ``IdentitySampler()``, or, for a loss of balanced
        pairs, of ``BalancedPairSampler()``.

        Args:
            loss: ``loss(embeddings, labels, pairs)`` to a scalar.
            origin: which split it is, and how its training batches are drawn; None if unknown.

        Returns:
            a scalar; None where no batch can be drawn, since no identity has two images.
        """
        with self._seen.gathered():
            embeddings, labels = self._seen.rows()
        of_batches = getattr(loss, "of_batches", True)
        plans = _plans(labels.cpu().numpy(), origin, self.size, of_batches)
        values = []
        for plan in plans:
            rows = torch.as_tensor(plan.indices, device=labels.device)
            within = None if plan.pairs is None else torch.as_tensor(plan.pairs).to(labels.device)
            values.append(loss(embeddings[rows], labels[rows], within))
        return torch.stack(values).mean() if values else None

    def pairs_of_loss(self, rule: PairRule) -> PairDistances:
        """The pairs of a rule, measured as the loss sees the images."""
        self._seen.pairs = rule
        with self._seen.gathered():
            return self._seen.pair_distances()

    def pairs_at_use(self, rule: PairRule) -> PairDistances:
        """The pairs of a rule, measured as at use."""
        self._at_use.pairs = rule
        with self._at_use.gathered():
            return self._at_use.pair_distances()


def _plans(
    labels: np.ndarray, origin: SplitOrigin | None, size: int, of_batches: bool
) -> list[BatchPlan]:
    """Batches drawn as in training, the same in every epoch; without augmentation."""
    seed, chosen = 0, None
    samplers: list[Sampler] = [IdentitySampler() if of_batches else BalancedPairSampler()]
    if origin is not None and not isinstance(origin.sampler, TorchSampler):
        seed = origin.seed
        chosen = origin.pairs if len(labels) == size else None
        samplers.insert(0, origin.sampler)
    for sampler in samplers:
        try:
            batches = sampler.batches(labels, seed, pairs=chosen)
        except DataError:
            continue
        plans: list[BatchPlan] = []
        while len(plans) < LOSS_BATCHES:
            plans += [BatchPlan(plan.indices, plan.pairs) for plan in batches]
            batches.set_epoch(batches.epoch + 1)
        return plans
    return []


def some_pairs(labels: Tensor, most: int = SOME_PAIRS) -> tuple[Tensor, Tensor]:
    """Pairs of a batch, left and right: all, or of more some genuine and some impostor ones.

    Args:
        labels: (B,) integers.
        most: pairs of either kind at most, spread evenly over the batch.
    """
    left, right = all_pairs(len(labels), labels.device)
    if len(left) <= 2 * most:
        return left, right
    same = labels[left] == labels[right]
    kept = [kind.nonzero().flatten() for kind in (same, ~same)]
    kept = [rows[:: max(1, -(-len(rows) // most))] for rows in kept]
    rows = torch.cat(kept)
    return left[rows], right[rows]


def genuine_share(labels: Tensor) -> float | None:
    """The share of genuine ones among all pairs of a batch, 0..1; None where a kind is missing."""
    counts = torch.unique(labels, return_counts=True)[1]
    pairs = len(labels) * (len(labels) - 1)
    genuine = int((counts * (counts - 1)).sum())
    return genuine / pairs if 0 < genuine < pairs else None


def figures_of(distances: PairDistances, point: OperatingPoint | None) -> dict[str, float]:
    """Figures of a split to be logged: ``auc``, ``eer``, and the threshold with those of FIGURES.

    ``f1``, ``accuracy`` and ``precision`` are meant at the prevalence that the point's policy
    states, or else at the split's own.
    """
    found = {"auc": auc(distances.curve()), "eer": distances.eer()}
    if point is not None:
        counts = distances.count_verdicts(point.threshold)
        prevalence = point.stated_prevalence or distances.prevalence
        at_threshold = figures_at(counts, prevalence)
        found |= {"threshold": point.threshold} | {n: at_threshold[n] for n in FIGURES}
    return found


@torch.no_grad()
def measured(distance: Distance, embeddings: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Distances as ``distance.measure`` gives them of pairs of rows, bit for bit.

    Each row is brought to float64 once, not once for each of its pairs: an eighth of the time.

    Args:
        distance: how they are measured.
        embeddings: (N, D) floating point.
        left, right: (n,) integers, row numbers.

    Returns:
        (n,) float32.
    """
    if not distance.squared:
        return distance.measure(embeddings[left], embeddings[right])
    with torch.autocast(embeddings.device.type, enabled=False):
        points = distance.rows(embeddings)
        return distance.of_rows(points[left], points[right])


def accuracy(
    distances: Tensor, same: Tensor, threshold: float, prevalence: float | None
) -> Tensor | None:
    """Share of pairs on the right side of a threshold.

    Args:
        distances: (n,) floating point.
        same: (n,) bool.
        threshold: in the unit of the distances.
        prevalence: share of genuine pairs, 0..1, that the two kinds are weighed to; None leaves
            them as they are.

    Returns:
        a scalar; None without pairs, or where a kind that is to be weighed is missing.
    """
    right = (is_match(distances, threshold) == same).float()
    if prevalence is None:
        return right.mean() if len(right) else None
    if bool(same.all()) or not bool(same.any()):
        return None
    return prevalence * right[same].mean() + (1 - prevalence) * right[~same].mean()
