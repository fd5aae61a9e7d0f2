"""What the page says of a bundle: its threshold, the counts behind it, and the policies."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from siamese.app.words import for_visitor
from siamese.inference.no_face import seen_without_search
from siamese.inference.origin import chosen_on
from siamese.inference.verifier import Verifier
from siamese.verification.calibration import Calibration
from siamese.verification.curves import ThresholdCurve
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import POLICIES

BINS = 60
# The settings that are slid: what they are called, from where to where, and whether by factors.
SLIDERS: dict[str, list[dict[str, Any]]] = {
    "fmr": [{"name": "rate", "label": "False match rate", "low": 1e-5, "high": 0.5, "log": True}],
    "recall": [{"name": "rate", "label": "Recall", "low": 0.5, "high": 1.0, "log": False}],
    "precision": [{"name": "rate", "label": "Precision", "low": 0.5, "high": 1.0, "log": False}],
    "cost": [
        {
            "name": "false_match",
            "label": "How many missed matches a false match costs",
            "low": 0.01,
            "high": 1000.0,
            "log": True,
        }
    ],
}
TITLES = {
    "max_f1": "Highest F1",
    "max_accuracy": "Most verdicts right",
    "eer": "Both error rates equal",
    "fmr": "A false match rate",
    "recall": "A recall",
    "precision": "A precision",
    "cost": "Lowest cost",
}
_PEOPLE = {"one": "person", "same": "same person", "different": "different people"}
_ANYTHING = {"one": "identity", "same": "same identity", "different": "different identities"}


def bundle_facts(verifier: Verifier) -> dict[str, Any]:
    """What the page must know before anything is sent, plain JSON values."""
    compared = seen_without_search(verifier.bundle.cropper)
    calibration = verifier.calibration
    return {
        "bundle": _name_of(verifier.source),
        "words": words_of(verifier),
        "compared": compared,
        "distance": verifier.bundle.distance_name,
        "at": facts_of(verifier),
        "histogram": calibration and histogram(calibration.curve),
        "policies": policies() if calibration else [],
    }


def words_of(verifier: Verifier) -> dict[str, str]:
    """What is compared, in words: people, by a cropper that looks for faces, or anything."""
    return _PEOPLE if seen_without_search(verifier.bundle.cropper) is None else _ANYTHING


def histogram(curve: ThresholdCurve, bins: int = BINS) -> dict[str, Any]:
    """How many calibration pairs of each kind lie in each of equal parts of the distances.

    Returns:
        "edges", bins + 1 distances; "genuine" and "impostor", the pairs above an edge and up to the
        next; those at the first edge are in the first bin.
    """
    low, high = float(curve.thresholds[0]), float(curve.thresholds[-1])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    places = curve.thresholds.searchsorted(edges[1:-1].astype(curve.thresholds.dtype), "right") - 1
    found: dict[str, Any] = {"edges": edges.tolist()}
    for name, counts in (("genuine", curve.tp), ("impostor", curve.fp)):
        upto = np.where(places < 0, 0, counts[np.maximum(places, 0)])
        found[name] = np.diff([0, *upto.tolist(), int(counts[-1])]).tolist()
    return found


def policies() -> list[dict[str, Any]]:
    """The registered policies, and which of their settings can be slid."""
    found = []
    for name in POLICIES:
        cls = POLICIES[name]
        defaults = {
            key: parameter.default for key, parameter in inspect.signature(cls).parameters.items()
        }
        sliders = [slider | {"value": defaults[slider["name"]]} for slider in SLIDERS.get(name, [])]
        found.append(
            {
                "name": name,
                "title": TITLES.get(name, name),
                "sliders": sliders,
                "confidence": "confidence" in defaults,
                "prevalence": "prevalence" in defaults,
            }
        )
    return found


def facts_of(verifier: Verifier) -> dict[str, Any]:
    """The threshold that a verifier applies, as :func:`point_facts`."""
    point = verifier.operating_point
    where = chosen_on(point.split, verifier.bundle.provenance)
    return point_facts(point, verifier.calibration, words_of(verifier)["one"], where)


def point_facts(
    point: OperatingPoint,
    calibration: Calibration | None,
    one: str = "identity",
    where: str | None = None,
) -> dict[str, Any]:
    """A threshold, how it was chosen, what it does on the calibration pairs, what it promises.

    Args:
        point: the threshold.
        calibration: of it.
        one: what a pair shows, for the words.
        where: the images that it was chosen on, in words; by default the name of their split.
    """
    counts = point.confusion
    share = point.target_prevalence
    return {
        "threshold": point.threshold,
        "policy": point.policy,
        "title": TITLES.get(point.policy, point.policy),
        "settings": point.settings_in_words.lstrip(", "),
        "chosen": point.choice_in_words(one),
        "band": list(calibration.band) if calibration and calibration.band else None,
        "promise": point.promise_in_words and for_visitor(point.promise_in_words),
        "counts": counts and {name: getattr(counts, name) for name in ("tp", "fp", "fn", "tn")},
        "figures": {name: _finite(value) for name, value in point.figures.items()},
        "ci95": {name: [_finite(end) for end in ends] for name, ends in point.ci95.items()},
        "prevalence": share,
        "stated_prevalence": point.stated_prevalence,
        "one_verdict": share and _one_verdict(share),
        "split": point.split if where is None else where,
        "genuine": point.genuine,
        "impostor": point.impostor,
        "identities": point.identities,
    }


def _one_verdict(share: float) -> dict[str, float]:
    """What accepting every pair gives; accuracy: the better of accepting and refusing all.

    Args:
        share: of genuine pairs, 0..1.
    """
    f1, accuracy = 2 * share / (1 + share), max(share, 1 - share)
    return {"recall": 1.0, "fmr": 1.0, "precision": share, "f1": f1, "accuracy": accuracy}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _name_of(source: str | None) -> str:
    """The last part of where a bundle lies: no page must know the folders of this machine."""
    parts = [part for part in (source or "").replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts[-2:]) or "bundle"
