"""torchmetrics shells over ``siamese.verification``: state that survives several processes, no mathematics of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese.distances import Distance, EuclideanDistance
from siamese.errors import CalibrationError
from siamese.pairs import BalancedPairs, PairProtocol
from siamese.verification import Compared, auc, compare, eer, max_f1
from siamese.verification.curves import ThresholdCurve


class PairVerification(Metric):
    """Collects embeddings over batches and processes; computes the best F1, its threshold, AUC and EER over pairs of them.

    Rows are ordered by ``index`` and each index is counted once, so the result does not depend on the order of batches, nor
    on the duplicates by which a distributed sampler evens out its shards.

    Args:
        protocol: which pairs; by default balanced ones.
        distance: by default euclidean.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    embeddings: list[Tensor]
    labels: list[Tensor]
    indices: list[Tensor]

    def __init__(self, protocol: PairProtocol | None = None, distance: Distance | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.protocol = protocol or BalancedPairs()
        self.distance = distance or EuclideanDistance()
        for state in ("embeddings", "labels", "indices"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add a batch.

        Args:
            embeddings: (B, D) floating point.
            labels: (B,) integers, one number per person.
            index: (B,) integers, the row of the data set.

        Raises:
            CalibrationError: shapes that do not fit.
        """
        if embeddings.ndim != 2 or labels.shape != (len(embeddings),) or index.shape != labels.shape:
            raise CalibrationError(
                f"embeddings {tuple(embeddings.shape)}, labels {tuple(labels.shape)} and index {tuple(index.shape)} do not fit; "
                f"give (B, D), (B,) and (B,)"
            )
        wide = embeddings.detach() if embeddings.dtype == torch.float64 else embeddings.detach().float()
        self.embeddings.append(wide)
        self.labels.append(labels.detach())
        self.indices.append(index.detach())

    def rows(self) -> tuple[Tensor, Tensor]:
        """All embeddings (N, D) and labels (N,) so far, ordered by index, each index once."""
        if isinstance(self.embeddings, list) and not self.embeddings:
            raise CalibrationError("no batches were added; call update first")
        index = dim_zero_cat(self.indices)
        order = torch.argsort(index, stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        order = order[first]
        return dim_zero_cat(self.embeddings)[order], dim_zero_cat(self.labels)[order]

    def compared(self) -> Compared:
        """The pairs of all rows so far, with their distances."""
        return compare(*self.rows(), self.protocol, self.distance)

    def compute(self) -> dict[str, Tensor]:
        """``threshold``, ``f1``, ``auc`` and ``eer``, float64 scalars.

        Raises:
            CalibrationError: no genuine or no impostor pair, or embeddings that are not finite.
        """
        compared = self.compared()
        best = max_f1(compared.distances, compared.pairs.same)
        curve = ThresholdCurve.of(compared.distances, compared.pairs.same)
        values = {"threshold": best.threshold, "f1": best.f1, "auc": auc(curve), "eer": eer(curve)}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
