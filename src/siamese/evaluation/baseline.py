"""Baseline: the figures of one thing that a run is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from siamese.inference.card_figures import BASELINES as BASELINES
from siamese.verification.figures import SplitEvaluation


@dataclass(frozen=True)
class Baseline:
    """Figures without the training, on the same identities.

    Attributes:
        name: a key of ``BASELINES``.
        evaluations: split -> figures, at the baseline's own threshold.
        gain: split -> (observed, low, high), by how much the run's ROC AUC is higher, with a 95 %
            interval over the same draws of identities; low and high are None where identities are
            too few for an interval.
    """

    name: str
    evaluations: Mapping[str, SplitEvaluation]
    gain: Mapping[str, tuple[float, float | None, float | None]]

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return BASELINES[self.name]

    def to_dict(self, split: str) -> dict[str, Any]:
        """Plain JSON values of one split."""
        return self.evaluations[split].to_dict() | {"gain_in_auc": list(self.gain[split])}
