"""Verdicts for the page: of two photographs, and at another threshold."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from siamese.app.facts import facts_of, words_of
from siamese.app.sight import Sight, seen
from siamese.inference.verdict import Verification
from siamese.inference.verifier import Verifier
from siamese.verification.point import GIVEN

Setting = str | float | int | None


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Which threshold is wanted; neither policy nor threshold: that of the bundle.

    Attributes:
        policy: name and settings.
        threshold: a distance.
        distance: of two photographs that were compared, to be judged again.
        faces: how many were found on each.
    """

    policy: dict[str, Setting] | None = None
    threshold: float | None = None
    distance: float | None = None
    faces: tuple[int | None, int | None] = (None, None)


def verifier_at(verifier: Verifier, wanted: Wanted) -> Verifier:
    """The same verifier at another threshold; it shares the network with it.

    Raises:
        ConfigError: an unknown policy or setting, or a value out of range.
        CalibrationError: what cannot be promised, or no calibration.
    """
    choice = wanted.policy if wanted.policy is not None else wanted.threshold
    if choice is None:
        return verifier
    made = copy.copy(verifier)
    if wanted.policy is None and verifier.calibration is None:
        point = verifier.operating_point
        made.operating_point, made.calibration = point.with_threshold(float(choice)), None  # type: ignore[arg-type]
        return made
    chosen = verifier.bundle.with_policy(choice)
    made.operating_point, made.calibration = chosen.point, chosen
    return made


def compared(verifier: Verifier, one: bytes, other: bytes) -> dict[str, Any]:
    """All that the page shows of two photographs.

    Raises:
        Refused: no images, or such as the verifier refuses; it says which.
        CalibrationError: the distance is no number.
    """
    sights: list[Sight] = [seen(verifier, content, n) for n, content in enumerate((one, other))]
    rows = verifier.embed_faces([sight.look.face for sight in sights])
    verdict = verifier.judge(rows[0], rows[1], (sights[0].look, sights[1].look))
    return {
        "photographs": [sight.facts for sight in sights],
        **_shown(verifier, verdict),
    }


def judged(verifier: Verifier, wanted: Wanted) -> dict[str, Any]:
    """A threshold, and what it says of a distance that was measured before, if one is given.

    Raises:
        ConfigError, CalibrationError: see :func:`verifier_at`; a distance that is no number.
    """
    at = verifier_at(verifier, wanted)
    if wanted.distance is None:
        return {"verdict": None, "at": facts_of(at)}
    return _shown(at, at.verdict(wanted.distance, wanted.faces))


def _shown(verifier: Verifier, verdict: Verification) -> dict[str, Any]:
    return {
        "verdict": verdict.to_dict(),
        "contradiction": _contradiction(verifier, verdict),
        "at": facts_of(verifier),
    }


def _contradiction(verifier: Verifier, verdict: Verification) -> str | None:
    """Why the verdict is one thing and the probability says another; None where they agree."""
    if verdict.probability is None or verdict.same == (verdict.probability >= 0.5):
        return None
    point = verifier.operating_point
    chosen = "this threshold"
    if point.policy != GIVEN:
        chosen = f"the threshold, {point.choice_in_words(words_of(verifier)['one'])},"
    does, most = ("accepts", "are of different") if verdict.same else ("refuses", "are of the same")
    return (
        f"The two differ: {chosen} {does} pairs at this distance, while most pairs at it {most} "
        f"ones. The verdict follows the threshold, the probability only the distance."
    )
