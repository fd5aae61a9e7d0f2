"""JSON files of a run, written so that they appear whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamese.verification import SplitEvaluation


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Write JSON; NaN is refused, since it is not JSON."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    os.replace(temporary, path)
    return path


def write_evaluation(path: str | Path, evaluations: Mapping[str, SplitEvaluation]) -> Path:
    """Write ``evaluation.json``: split -> figures."""
    return write_json(path, {split: e.to_dict() for split, e in evaluations.items()})
