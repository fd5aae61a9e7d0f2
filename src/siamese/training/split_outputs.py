"""SplitOutputs: what a network gave for a whole split, and the loss and figures that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from siamese.data.samplers.base import BatchPlan
from siamese.distances.base import Distance, is_match
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import FIXED, PAIR_RULES, PairRule
from siamese.training.metrics import PairMetric
from siamese.verification.curves import auc
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import OperatingPoint, figures_at

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
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
        keep: whether the embeddings at use are needed, too.
    """

    def __init__(self, distance: Distance, keep: bool) -> None:
        self._seen, self._at_use = _Rows(distance=distance), _Rows(distance=distance)
        self._keep, self.empty = keep, True

    def add(self, at_use: Tensor, seen: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add a batch: (B, D) embeddings at use, (B, E) of the loss, (B,) labels, (B,) rows."""
        self.empty = False
        self._seen.update(seen, labels, index)
        if self._keep:
            self._at_use.update(at_use, labels, index)

    def mean_loss(self, loss: Loss, plans: Sequence[BatchPlan] | None) -> Tensor:
        """The mean loss of batches that are drawn as in training.

        Args:
            loss: ``loss(embeddings, labels, pairs)`` to a scalar.
            plans: the batches, rows of the split; None where no such batches are known: then all
                of the split's pairs, half of them genuine (10,000 of either kind at most).
        """
        with self._seen.gathered():
            embeddings, labels = self._seen.rows()
        if plans is None:
            pairs = BalancedPairs()(labels.cpu().numpy())
            chosen = torch.stack([torch.as_tensor(pairs.left), torch.as_tensor(pairs.right)])
            return loss(embeddings, labels, chosen.to(labels.device))
        values = []
        for plan in plans:
            rows = torch.as_tensor(plan.indices, device=labels.device)
            within = None if plan.pairs is None else torch.as_tensor(plan.pairs).to(labels.device)
            values.append(loss(embeddings[rows], labels[rows], within))
        return torch.stack(values).mean()

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


def figures_of(distances: PairDistances, point: OperatingPoint | None) -> dict[str, float]:
    """Figures of a split to be logged: ``auc`` and ``eer``, and at a threshold those of FIGURES.

    ``f1``, ``accuracy`` and ``precision`` are meant at the prevalence that the point's policy
    states, or else at the split's own.
    """
    found = {"auc": auc(distances.curve()), "eer": distances.eer()}
    if point is not None:
        counts = distances.count_verdicts(point.threshold)
        prevalence = point.stated_prevalence or distances.prevalence
        at_threshold = figures_at(counts, prevalence)
        found |= {name: at_threshold[name] for name in FIGURES}
    return found


def rule_of(point: OperatingPoint | None) -> PairRule:
    """The rule that a threshold was calibrated with; balanced pairs where that is not known."""
    if point is None or point.pair_rule.get("name") in (None, FIXED):
        return BalancedPairs()
    return PAIR_RULES.build(point.pair_rule)


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
