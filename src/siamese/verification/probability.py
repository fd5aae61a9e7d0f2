"""ProbabilityMap: from a distance to the probability that two images show the same identity.

It holds for a stated prevalence; :func:`reliability` tests it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from siamese.distances.arrays import as_array, as_float64, in_words
from siamese.errors import CalibrationError, ConfigError, did_you_mean
from siamese.registry import as_plain
from siamese.verification.curves import ThresholdCurve
from siamese.verification.falling_odds import fit_falling_odds
from siamese.verification.policies.base import check_prevalence
from siamese.verification.stored_point import Real, Share

KINDS = ("isotonic", "platt")
_BINS = 15  # of a reliability diagram
_WEIGHT = 10_000.0  # total weight of the pairs in Platt's fit, which is regularised slightly


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """A map's attributes in a file."""

    kind: str
    prevalence: Share
    distances: tuple[Real, ...]
    log_odds: tuple[Real, ...]


@dataclass(frozen=True)
class ProbabilityMap:
    """P(same identity | distance), which never rises with the distance.

    Attributes:
        kind: ``"isotonic"``, a smooth falling function
            (:func:`siamese.verification.falling_odds.fit_falling_odds`; older bundles have the
            steps of an isotonic regression), or ``"platt"`` (Platt, *Probabilistic outputs for
            support vector machines*, 1999).
        prevalence: share of genuine pairs that it is for.
        distances: (m,) ascending knots; none for Platt.
        log_odds: (m,) at the knots, falling, with straight lines between them; for Platt the one
            line's ``(slope, intercept)``.
    """

    kind: str
    prevalence: float
    distances: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __call__(self, distance: Any) -> Any:
        """Probability for a number or an array of distances, 0..1, float64.

        Raises:
            CalibrationError: distances that are no numbers.
        """
        d = as_distances(distance)
        if self.kind == "platt":
            slope, intercept = self.log_odds
            with np.errstate(over="ignore"):
                # A flat line is flat at infinity, too.
                odds = slope * d + intercept if slope else np.full_like(d, intercept)
        else:
            odds = np.interp(d, self.distances, self.log_odds)
        p = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
        return float(p) if p.ndim == 0 else p

    def at(self, prevalence: float) -> ProbabilityMap:
        """The map at another prevalence (Bayes: the odds change by one factor).

        A fit to pairs of that prevalence is the same: both kinds of pairs have equal weights in
        the fit, at any prevalence.

        Raises:
            ConfigError: a prevalence that is not between 0 and 1.
        """
        prevalence = check_prevalence(prevalence, ConfigError)
        shift = _log_odds(prevalence) - _log_odds(self.prevalence)
        if self.kind == "platt":
            slope, intercept = self.log_odds
            moved: tuple[float, ...] = (slope, intercept + shift)
        else:
            moved = tuple(odds + shift for odds in self.log_odds)
        return ProbabilityMap(self.kind, prevalence, self.distances, moved)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind,
            "prevalence": self.prevalence,
            "distances": list(self.distances),
            "log_odds": list(self.log_odds),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProbabilityMap:
        """The reverse of :meth:`to_dict`.

        Raises:
            CalibrationError: values that are no probability map.
        """
        try:
            made = cls(**msgspec.structs.asdict(msgspec.convert(as_plain(values), _Stored)))
            numbers = np.array([made.prevalence, *made.distances, *made.log_odds])
            if made.kind == "platt":
                fits = len(made.log_odds) == 2 and not made.distances and made.log_odds[0] <= 0
            else:
                rising, falling = np.diff(made.distances), np.diff(made.log_odds)
                whole = len(rising) == len(falling) and bool(made.distances)
                fits = whole and bool((rising > 0).all() and (falling <= 0).all())
            if (
                made.kind not in KINDS
                or not fits
                or not np.isfinite(numbers).all()
                or not 0 < made.prevalence < 1
            ):
                raise ValueError("its parts do not fit")
        except (TypeError, ValueError) as error:
            raise CalibrationError(f"not a probability map ({error}); calibrate again") from error
        return made

    def __repr__(self) -> str:
        return f"ProbabilityMap({self.kind}, prevalence {self.prevalence:.4g})"


def fit_probability(
    curve: ThresholdCurve, prevalence: float, kind: str = "isotonic"
) -> ProbabilityMap:
    """Fit P(same | distance) to counted pairs.

    The isotonic fit (:func:`siamese.verification.falling_odds.fit_falling_odds`) is smooth, since
    its probabilities are to be read one by one: the steps of an unsmoothed isotonic regression are
    drawn by single pairs where there are few. It is kept away from 0 and 1: n genuine pairs cannot
    show that a distance is rarer among them than one in n + 2, and so for impostor pairs.

    Args:
        curve: of the calibration pairs.
        prevalence: 0..1, both excluded.
        kind: ``"isotonic"``: a smooth falling function, the straighter in log odds the fewer pairs
            there are; ``"platt"``: a logistic one.

    Raises:
        ConfigError: another kind.
    """
    check_kind(kind)
    if kind == "platt":
        return _fit_platt(curve, prevalence)
    knots, odds = fit_falling_odds(*_counts(curve))
    odds = np.clip(odds, -math.log(curve.genuine + 2), math.log(curve.impostor + 2))
    odds += _log_odds(prevalence)
    return ProbabilityMap(kind, prevalence, tuple(map(float, knots)), tuple(map(float, odds)))


def _fit_platt(curve: ThresholdCurve, prevalence: float) -> ProbabilityMap:
    from sklearn.linear_model import LogisticRegression

    x, genuine, impostor = _weights(curve, prevalence)
    total = genuine + impostor
    centre = float(np.average(x, weights=total))
    spread = float(np.sqrt(np.average((x - centre) ** 2, weights=total))) or 1.0
    scaled = np.tile(((x - centre) / spread)[:, None], (2, 1))
    labels = np.repeat([1, 0], len(x))
    model = LogisticRegression(C=1.0, max_iter=1000).fit(
        scaled, labels, _WEIGHT * np.concatenate([genuine, impostor])
    )
    slope = min(0.0, float(model.coef_[0, 0])) / spread
    return ProbabilityMap(
        "platt", prevalence, (), (slope, float(model.intercept_[0]) - slope * centre)
    )


def as_distances(distance: Any) -> np.ndarray:
    """A number, array or tensor of any shape as float64 distances.

    Raises:
        CalibrationError: something that is no number, or NaN.
    """
    try:
        array = as_array(distance, "the distances")
        if array.dtype == bool:
            raise CalibrationError("truth values")
        d = as_float64(array, "the distances")
    except CalibrationError as error:
        raise CalibrationError(
            f"{in_words(distance)} is no distance ({error}); give a number, or an array of numbers"
        ) from error
    if np.isnan(d).any():
        raise CalibrationError(
            "a distance is not a number (NaN); look for diverged training or bad input"
        )
    return d


def check_kind(kind: str | None) -> None:
    """Raise :class:`ConfigError` for an unknown way of fitting; None means no fit."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"probability {kind!r} is not known{did_you_mean(str(kind), KINDS)}")


def _log_odds(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def wilson(hits: np.ndarray | float, trials: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of shares, lower and upper ends, 0..1.

    Source: Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22,
    1927.

    Args:
        hits: (b,) counts, or one, >= 0.
        trials: of which they are, > 0.
    """
    trials, z = np.asarray(trials, dtype=np.float64), 1.959964
    share, scale = np.asarray(hits, dtype=np.float64) / trials, 1 + z * z / trials
    centre = share + z * z / (2 * trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return ((centre - half) / scale).clip(0, 1), ((centre + half) / scale).clip(0, 1)


@dataclass(frozen=True)
class Reliability:
    """Stated probabilities against observed shares of genuine pairs.

    Attributes:
        prevalence: share of genuine pairs to which the pairs were weighted, that of the map.
        stated, observed: (b,) means of each bin, 0..1.
        weight: (b,) share of the pairs in each bin; sums to 1.
        calibration_error: expected calibration error, the weighted mean of |stated - observed|
            (Naeini et al., *Obtaining well calibrated probabilities using Bayesian binning*, AAAI
            2015).
        brier: mean squared difference between probability and truth.
        genuine, impostor: (b,) pairs in each bin, as they are, without weights.
    """

    prevalence: float
    stated: tuple[float, ...]
    observed: tuple[float, ...]
    weight: tuple[float, ...]
    calibration_error: float
    brier: float
    genuine: tuple[int, ...] = ()
    impostor: tuple[int, ...] = ()

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """95 % intervals of ``observed``: (b,) lower ends and (b,) upper ones, 0..1.

        Of the share of genuine pairs in a bin (:func:`wilson`), then weighted to the prevalence.
        Pairs that share identities are not independent: with few identities the true ones are
        wider.
        """
        hits = np.asarray(self.genuine, dtype=np.float64)
        others = np.asarray(self.impostor, dtype=np.float64)
        ends = wilson(hits, hits + others)
        # By how much the odds in all bins differ from those of the pairs as they are.
        weight = self.prevalence / hits.sum() / ((1 - self.prevalence) / others.sum())
        low, high = (weight * end / (weight * end + 1 - end) for end in ends)
        return low, high

    def __repr__(self) -> str:
        return (
            f"Reliability(calibration error {self.calibration_error:.4f} at prevalence "
            f"{self.prevalence:.4g})"
        )


def reliability(probability: ProbabilityMap, curve: ThresholdCurve) -> Reliability:
    """Evaluate a probability map on pairs of other identities, weighted to its prevalence.

    Args:
        probability: from :func:`fit_probability`.
        curve: of pairs of identities that it was not fitted to; 15 bins of equal width.
    """
    x, genuine, impostor = _weights(curve, probability.prevalence)
    p, total = probability(x), genuine + impostor
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    sums = np.stack([np.bincount(bins, v, minlength=_BINS) for v in (total, p * total, genuine)])
    filled = sums[0] > 0
    weight, stated, observed = sums[:, filled]
    counts = [np.bincount(bins, v, minlength=_BINS)[filled] for v in _counts(curve)[1:]]
    stated, observed = stated / weight, observed / weight
    error = float((weight * np.abs(stated - observed)).sum())
    brier = float((genuine * (1 - p) ** 2 + impostor * p**2).sum())
    return Reliability(
        probability.prevalence,
        tuple(stated.tolist()),
        tuple(observed.tolist()),
        tuple(weight.tolist()),
        error,
        brier,
        *(tuple(count.astype(int).tolist()) for count in counts),
    )


def _weights(curve: ThresholdCurve, prevalence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances with the weights of genuine and impostor pairs there, together 1."""
    x, genuine, impostor = _counts(curve)
    return (
        x,
        prevalence * genuine / curve.genuine,
        (1 - prevalence) * impostor / curve.impostor,
    )


def _counts(curve: ThresholdCurve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances with the numbers of genuine and impostor pairs there, float64; not both 0."""
    genuine, impostor = (np.diff(v, prepend=0).astype(np.float64) for v in (curve.tp, curve.fp))
    some = genuine + impostor > 0
    return curve.thresholds.astype(np.float64)[some], genuine[some], impostor[some]
