"""``evaluation.json``: the figures of a run for other programs to read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from siamese.storage import write_json
from siamese.verification.figures import SplitEvaluation


def write_evaluation(path: str | Path, evaluations: Mapping[str, SplitEvaluation]) -> Path:
    """Write split -> figures as JSON."""
    return write_json(path, {split: e.to_dict() for split, e in evaluations.items()})
