"""SearchThreshold: up to which distance a search says that somebody is enrolled."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from siamese.distances.arrays import given_threshold
from siamese.errors import CalibrationError, ConfigError
from siamese.verification.calibration import Calibration
from siamese.verification.policies.base import is_number
from siamese.verification.policies.fmr import Fmr

if TYPE_CHECKING:
    from siamese.inference.engine import Verifiable

RATE = 0.01
# How a threshold is known, the best first.
PROMISED, OBSERVED, FEW, NONE, OWN, GIVEN = "promised", "observed", "few", "none", "own", "given"


@dataclass(frozen=True)
class SearchThreshold:
    """A threshold for whole searches, and what is known of it.

    A search compares a face with every enrolled photograph, and each comparison may match falsely.
    With n of them, a share ``rate`` of the searches for people who are not enrolled ends with a
    name where of the comparisons 1 - (1 - rate)^(1 / n) match (ISO/IEC 19795-1: FPIR of n
    comparisons, taken as independent). They are not: false matches come together, so that fewer
    searches go wrong than that (``docs/search.md`` has figures).

    Attributes:
        threshold: distance up to which a person is named.
        rate: false positive identification rate that was asked for, 0..1: the share of searches for
            people who are not enrolled that name somebody. None where a threshold was given.
        comparisons: photographs that a search compares with.
        pair_rate: false match rate of a comparison that follows, 0..1; None as ``rate``.
        basis: how it is known. ``"promised"``: kept on other people with ``confidence``.
            ``"observed"``: kept on the calibration people, with 30 expected false matches or more.
            ``"few"``: the same with fewer: the true rate may be several times as high. ``"none"``:
            the calibration has too few pairs for it; the threshold lies below the closest of them,
            and the rate is not known. ``"own"``: the bundle keeps no calibration, so its own
            threshold for pairs is taken. ``"given"``: by the user.
        impostors: impostor pairs that it was chosen on; None where there were none.
        confidence: of a promise; None for none.
    """

    threshold: float
    rate: float | None
    comparisons: int
    pair_rate: float | None
    basis: str
    impostors: int | None = None
    confidence: float | None = None

    @classmethod
    def choose(
        cls,
        bundle: Verifiable,
        comparisons: int,
        rate: float = RATE,
        threshold: float | None = None,
        confidence: float | None = None,
    ) -> SearchThreshold:
        """The threshold for searches among so many photographs.

        Args:
            bundle: whose calibration pairs it is chosen on.
            comparisons: photographs, >= 0.
            rate: false positive identification rate, 0 < rate < 1.
            threshold: a distance instead.
            confidence: with which the rate is to be kept on other people, 0.5 to 0.99; None for the
                calibration people alone.

        Raises:
            ConfigError: a rate, a threshold or a confidence that is none.
            CalibrationError: no calibration, or pairs that cannot support that confidence.
        """
        if threshold is not None:
            return cls(given_threshold(threshold), None, comparisons, None, GIVEN)
        if not is_number(rate) or not 0 < rate < 1:
            raise ConfigError(
                f"the rate of searches with a false alarm must be a number between 0 and 1, such "
                f"as 0.01, not {rate!r:.80}"
            )
        pair_rate = -math.expm1(math.log1p(-rate) / max(comparisons, 1))
        facts = rate, comparisons, pair_rate
        kept = bundle.calibration
        if kept is None:
            if confidence is not None:
                raise CalibrationError(
                    "nothing can be promised: the bundle keeps no calibration; calibrate it "
                    "(siamese calibrate), or leave the confidence out"
                )
            return cls(bundle.operating_point.threshold, *facts, OWN)
        if confidence is not None:
            policy = Fmr(rate, gallery=max(comparisons, 1), confidence=confidence)
            promised = kept.with_policy(policy).threshold
            return cls(promised, *facts, PROMISED, kept.curve.impostor, confidence)
        chosen, basis = _observed(kept, rate, max(comparisons, 1), pair_rate)
        return cls(chosen, *facts, basis, kept.curve.impostor)

    @property
    def in_words(self) -> str:
        """The arithmetic, and what it stands on, in sentences."""
        if self.rate is None or self.pair_rate is None:
            return f"accepted up to a distance of {self.threshold:.4f}, which was given"
        sum_ = (
            f"{_percent(self.rate)} of searches among {self.comparisons:,} photographs may name "
            f"somebody who is not enrolled: {_percent(self.pair_rate)} of comparisons, 1 - (1 - "
            f"{self.rate:g})^(1/{max(self.comparisons, 1):,})"
        )
        pairs = f"{self.impostors or 0:,} impostor pairs of the calibration"
        expected = (self.impostors or 0) * self.pair_rate
        ends = {
            PROMISED: f"kept on other people with {_percent(self.confidence or 0)} confidence, by "
            f"the {pairs}",
            OBSERVED: f"kept on the {pairs}; on other people it may be somewhat higher",
            FEW: f"kept on the {pairs}, of which only {expected:.3g} may match: it may be several "
            f"times as high on other people",
            NONE: f"not known: the {pairs} are too few for it, and all are refused; calibrate on "
            f"more people (siamese calibrate), or ask for a higher rate",
            OWN: "not known: the bundle keeps no calibration, so its threshold for pairs is taken; "
            "calibrate it (siamese calibrate), or give a threshold",
        }
        return f"{sum_}; {ends[self.basis]}"


def _observed(
    kept: Calibration, rate: float, comparisons: int, pair_rate: float
) -> tuple[float, str]:
    """The largest threshold that keeps the rate on the calibration pairs, and how it is known."""
    with contextlib.suppress(CalibrationError):  # the rule of 30
        return kept.with_policy(Fmr(rate, gallery=comparisons)).threshold, OBSERVED
    curve = kept.curve
    allowed = pair_rate * curve.impostor
    place = int(curve.fp.searchsorted(allowed, side="right")) - 1
    if place < 0:
        return curve.refuse_all().threshold, NONE
    threshold = curve.choice_at(float(curve.thresholds[place])).threshold
    return threshold, FEW if allowed >= 1 else NONE


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
