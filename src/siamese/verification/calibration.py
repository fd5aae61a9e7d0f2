"""Calibration: a threshold with its interval and its counts, so that another can be chosen.

It can be saved in a file.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from siamese.distances.arrays import as_threshold
from siamese.errors import CalibrationError, first_line
from siamese.reading import parse_json, read_bytes
from siamese.registry import as_plain
from siamese.storage import write_whole
from siamese.verification.assurance import Assured, choose_assured
from siamese.verification.bootstrap import IdentityBootstrap
from siamese.verification.confusion import Confusion
from siamese.verification.curves import Choice, ThresholdCurve
from siamese.verification.point import GIVEN, Interval, OperatingPoint, rates_at
from siamese.verification.policies.base import OBSERVED, Policy, as_policy, is_number
from siamese.verification.probability import ProbabilityMap, as_distances
from siamese.verification.stored_arrays import LARGEST, arrays_of, check_numbers
from siamese.verification.stored_point import Real, Share

# In a file, of the point and of what stands beside it.
_MOST_VALUES = 1_000_000


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON in a calibration's file."""

    point: dict[str, Any]
    rest: dict[str, Any]


class _Rest(msgspec.Struct, forbid_unknown_fields=True):
    """What :meth:`Calibration.to_dict` gives."""

    resolution: Share
    band: tuple[Real, Real] | None
    probability: dict[str, Any] | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """A threshold, and all that is needed to choose another one on the same pairs.

    Attributes:
        point: the threshold and where it came from.
        curve: counts of the calibration pairs at their distances.
        probability: from a distance to P(same identity) at the policy's prevalence; None where it
            was not fitted.
        band: 95 % interval of the threshold over identities: between its ends, other identities
            might have led to the other verdict. For a threshold that was given as a number: of the
            thresholds that have its false match rate on other identities. None with fewer than 5
            identities, or where intervals were left out.
        draws: counts in each draw of identities; None where ``band`` is.
    """

    point: OperatingPoint
    curve: ThresholdCurve
    probability: ProbabilityMap | None = None
    band: Interval | None = None
    draws: IdentityBootstrap | None = field(default=None, repr=False)

    @property
    def threshold(self) -> float:
        """Accept as the same identity where distance <= threshold."""
        return self.point.threshold

    @property
    def weights(self) -> str | None:
        """How genuine pairs are weighted, as a policy has it; None where each counts alike."""
        return self.point.settings.get("weights")

    @property
    def confusion(self) -> Confusion:
        """Counts of the calibration pairs at the threshold."""
        counts = self.point.confusion
        assert counts is not None  # a calibration has pairs
        return counts

    @property
    def f1(self) -> float:
        """F1 on the calibration pairs as they are.

        At the policy's prevalence it is ``point.figures["f1"]``.
        """
        return self.confusion.f1

    def is_uncertain(self, distance: Any) -> Any:
        """Whether other calibration identities might have led to another verdict.

        Args:
            distance: a number, or an array of any shape.

        Returns:
            bool, or booleans in the shape of ``distance``.

        Raises:
            CalibrationError: fewer than 5 identities, or intervals left out: nothing is known; or a
                distance that is not a number.
        """
        if self.band is None:
            raise CalibrationError(
                "the calibration has no interval: it was made without (intervals=False), or on "
                "fewer than 5 identities; calibrate with intervals, on more identities"
            )
        d = as_distances(distance)
        inside = (d >= self.band[0]) & (d <= self.band[1])
        return bool(inside) if inside.ndim == 0 else inside

    def to_dict(self, whole: bool = False) -> dict[str, Any]:
        """Plain JSON values: all but the point and the arrays; ``whole`` as for :meth:`arrays`."""
        return {
            "resolution": (self.curve if whole else self.curve.thin(self.threshold)).resolution,
            "band": list(self.band) if self.band else None,
            "probability": self.probability.to_dict() if self.probability else None,
        }

    def arrays(self, whole: bool = False) -> dict[str, np.ndarray]:
        """The counts by name, as :meth:`restore` takes them.

        Args:
            whole: every threshold of the curve, and the draws in float64; otherwise, for bundles, a
                curve of more than 50,000 thresholds is thinned to thresholds 0.1 % apart at exact
                counts, and the draws are rounded to float32.
        """
        curve = self.curve if whole else self.curve.thin(self.threshold)
        arrays = {"thresholds": curve.thresholds, "tp": curve.tp, "fp": curve.fp}
        if curve.weighted is not None:
            arrays["weighted"] = curve.weighted
        if self.draws is not None:
            drawn = {
                f.name: part
                for f in fields(IdentityBootstrap)
                if (part := getattr(self.draws, f.name)) is not None
            }
            arrays |= {
                f"draws.{k}": v
                if whole or k in ("thresholds", "independent")
                else v.astype(np.float32)
                for k, v in drawn.items()
            }
        return arrays

    def save(self, path: str | Path) -> Path:
        """Keep everything in one file, a numpy archive (.npz) of numbers and JSON.

        Loading it executes nothing.

        Args:
            path: of the file; an existing one is replaced.

        Raises:
            CalibrationError: the file cannot be written.
        """
        path = Path(path).expanduser()
        try:
            write_whole(path, self.encode())
        except OSError as error:
            raise CalibrationError(
                f"{path}: cannot be written ({error.strerror or error}); choose another place"
            ) from error
        return path

    def encode(self) -> bytes:
        """What :meth:`save` writes."""
        text = json.dumps(
            {"point": self.point.to_dict(), "rest": self.to_dict(whole=True)}, allow_nan=False
        )
        parts: dict[str, Any] = {
            "json": np.frombuffer(text.encode(), dtype=np.uint8)
        } | self.arrays(whole=True)
        archive = io.BytesIO()
        np.savez_compressed(archive, **parts)
        return archive.getvalue()

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """The calibration that :meth:`save` wrote, identical to the last bit.

        Raises:
            CalibrationError: no such file, or not one that :meth:`save` wrote.
        """
        try:
            content = read_bytes(Path(path).expanduser(), LARGEST)
        except FileNotFoundError as error:
            raise CalibrationError(
                f"{path}: no such file; give one that Calibration.save wrote"
            ) from error
        except (OSError, ValueError) as error:
            raise _no_calibration(path, error) from error
        return cls.decode(content, str(path))

    @classmethod
    def decode(cls, content: bytes, name: str = "<bytes>") -> Calibration:
        """The calibration that :meth:`encode` gave, identical to the last bit.

        Args:
            content: of the file.
            name: what errors call it.

        Raises:
            CalibrationError: something else.
        """
        try:
            arrays = arrays_of(content)
            written = parse_json(arrays.pop("json").tobytes(), _MOST_VALUES)
            values = msgspec.convert(written, _File)
            return cls.restore(OperatingPoint.from_dict(values.point), values.rest, arrays)
        except CalibrationError as error:
            raise CalibrationError(f"{name}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise _no_calibration(name, error) from error

    @classmethod
    def restore(
        cls, point: OperatingPoint, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Calibration:
        """From a point, :meth:`to_dict` and :meth:`arrays`, as they were stored.

        Raises:
            CalibrationError: parts that do not fit each other.
        """
        try:
            stored = msgspec.convert(as_plain(dict(values)), _Rest)
            check_numbers(arrays)
            counts = tuple(np.asarray(arrays[k]) for k in ("thresholds", "tp", "fp"))
            drawn = {
                k.removeprefix("draws."): np.asarray(v)
                for k, v in arrays.items()
                if k.startswith("draws.")
            }
            if "independent" in drawn:  # stored as float32
                drawn["independent"] = drawn["independent"].astype(np.int64)
            weighted = np.asarray(arrays["weighted"]) if "weighted" in arrays else None
            curve = ThresholdCurve(counts[0], counts[1], counts[2], stored.resolution, weighted)
            if not curve.is_valid:
                raise ValueError("its counts do not rise with the threshold")
            if (curve.genuine, curve.impostor) != (point.genuine, point.impostor):
                raise ValueError("its curve counts other pairs than its point")
            exact = point.policy != GIVEN or not curve.resolution
            if exact and curve.at(point.threshold) != point.confusion:
                raise ValueError("its curve has other counts at the threshold than its point")
            kept = stored.probability
            probability = None if kept is None else ProbabilityMap.from_dict(kept)
            draws = IdentityBootstrap(**drawn) if drawn else None
            if draws is not None and not draws.is_valid:
                raise ValueError("its draws do not fit each other")
            band = stored.band
            if band is not None and not band[0] <= point.threshold <= band[1]:
                raise ValueError("its band is no interval around the threshold")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
            raise CalibrationError(f"not a calibration ({reason}); calibrate again") from error
        return cls(point, curve, probability, band, draws)

    def shift_from(self, earlier: Calibration) -> Interval | None:
        """How far the policy's threshold lies from where it is on other identities.

        It is a 95 % interval over both sets of identities. Where it excludes 0, the two sets differ
        in more than the random choice of identities. A policy that takes the prevalence as observed
        is applied to both at that of the earlier pairs: the number of identities, or the pair rule,
        is no drift.

        Args:
            earlier: of other identities' embeddings by the same network, with the same distance.

        Returns:
            (low, high) in the unit of the distance, this threshold minus the earlier; None where
            nothing is known: fewer than 5 identities on either side, intervals left out, earlier
            pairs that cannot support the policy, other weights, or a threshold that no policy
            chose.

        Raises:
            CalibrationError: ``earlier`` is no calibration, or one of another distance.
        """
        if not isinstance(earlier, Calibration):
            raise CalibrationError(
                f"a threshold is compared with that of another calibration, not with {earlier!r}; "
                f"give what calibrate returned, or Bundle.load(...).calibration"
            )
        if self.point.distance != earlier.point.distance:
            raise CalibrationError(
                f"thresholds of {self.point.distance} and of {earlier.point.distance} distance "
                f"cannot be compared; calibrate both with the same distance"
            )
        if self.draws is None or earlier.draws is None or self.point.policy == GIVEN:
            return None
        if self.weights != earlier.weights:
            return None
        # How sure a promise is depends on how many identities there are, and is no drift.
        policy = as_policy(self.point.policy_settings).plain.at(earlier.curve.prevalence)
        try:
            policy.check(earlier.curve.genuine, earlier.curve.impostor)
        except CalibrationError:
            return None
        curves = (self.curve, earlier.curve)
        return self.draws.shift_interval(earlier.draws, policy, curves)

    def with_policy(self, policy: str | dict[str, Any] | Policy | float) -> Calibration:
        """Another threshold on the same calibration pairs, by a policy or a plain number.

        A plain number keeps the prevalence, and so does a policy whose threshold does not depend on
        it (``fmr``, ``recall``, ``eer``), unless it states another. From a curve with a
        ``resolution`` above 0 (of more than 500,000 pairs, or 50,000 from a bundle) the best of its
        thresholds is taken; the counts at it are exact. The counts at a number between two
        thresholds of such a curve are those at the smaller one.

        Raises:
            ConfigError: an unknown policy or setting.
            CalibrationError: the pairs cannot support the policy, or a number that is not finite; a
                policy with a confidence where there are no intervals.
        """
        if is_number(policy):
            number = as_threshold(policy, finite=True)
            given = Assured(Choice(number, self.curve.at(number), None), math.nan)
            return make_calibration(
                self.point, given, None, self.curve, self.draws, self.probability
            )
        chosen = as_policy(policy)  # type: ignore[arg-type]
        stated = self.point.settings.get("prevalence", OBSERVED)
        if not chosen.weighs_kinds and chosen.prevalence == OBSERVED:
            chosen = replace(chosen, prevalence=stated)  # type: ignore[type-var]
        if chosen.weights != self.weights:
            raise CalibrationError(
                f"the calibration has weights={self.weights!r}, the policy {chosen.weights!r}: "
                f"figures and intervals belong to one of them; give the policy the same weights "
                f"(a setting of it, such as max_f1,weights=people), or calibrate again (siamese "
                f"calibrate BUNDLE --data IDENTITIES --policy ...)"
            )
        if chosen.assured_at is None:
            found = Assured(self.curve.choose(chosen), math.nan)
        else:
            found = choose_assured(chosen, self.curve, self.draws)
        return make_calibration(self.point, found, chosen, self.curve, self.draws, self.probability)

    def __repr__(self) -> str:
        band = f", 95 %: {self.band[0]:.4f}-{self.band[1]:.4f}" if self.band else ""
        return f"Calibration({self.point!r}{band})"


def _no_calibration(name: object, error: Exception) -> CalibrationError:
    return CalibrationError(
        f"{name}: not a calibration ({first_line(error)}); give a file that Calibration.save wrote"
    )


def make_calibration(
    origin: OperatingPoint,
    chosen: Assured,
    policy: Policy | None,
    curve: ThresholdCurve,
    draws: IdentityBootstrap | None,
    probability: ProbabilityMap | None,
) -> Calibration:
    """Everything that follows from a threshold.

    Args:
        origin: the operating point that describes the pairs.
        chosen: the threshold and the counts there; its bound is read where the policy has a
            confidence.
        policy: that chose it; None for a number that the user gave.
        curve: of the pairs, with exact counts at the threshold.
        draws: of identities; None for no intervals.
        probability: a map that was fitted on the pairs, or None.
    """
    threshold, counts, gap = chosen.choice
    if policy is None:
        settings = {"prevalence": origin.settings.get("prevalence", OBSERVED)}
        if weights := origin.settings.get("weights"):
            settings["weights"] = weights
        name, prevalence = GIVEN, origin.target_prevalence or curve.prevalence
    else:
        settings = policy.describe()
        name = settings.pop("name")
        prevalence = float(policy.prevalence_of(curve.genuine, curve.impostor))
    band, ci95 = None, {}
    if draws is not None:
        # A threshold with a confidence is one of many policies' that no draw can repeat.
        band = (
            draws.interval_like(threshold, curve)
            if policy is None or policy.assured_at is not None
            else draws.threshold_interval(policy, curve)
        )
        band = (min(band[0], threshold), max(band[1], threshold))  # draws have coarse thresholds
        stated = None if settings["prevalence"] == OBSERVED else prevalence
        ci95 = {"threshold": band} | draws.figures(threshold, stated, curve)
    recall, fmr = (np.float64(rate) for rate in curve.rates(threshold))
    figures = rates_at(recall, fmr, prevalence)
    point = replace(
        origin,
        threshold=threshold,
        policy=name,
        f1=counts.f1,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        settings=settings,
        target_prevalence=prevalence,
        figures={name: float(value) for name, value in figures.items()},
        ci95=ci95,
        gap=gap,
        promise={} if policy is None else _promise(policy, chosen.bound, recall, fmr, prevalence),
    )
    return Calibration(point, curve, probability and probability.at(prevalence), band, draws)


def _promise(
    policy: Policy, reached: float, recall: Any, fmr: Any, prevalence: float
) -> dict[str, Any]:
    """What the policy promises at a threshold with these rates; see :class:`OperatingPoint`.

    ``reached`` is the bound of the figure, where the policy has a confidence.
    """
    if policy.promises is None:
        return {}
    figure, direction = policy.promises
    bound = None if policy.assured_at is None else reached
    limit = policy.limit
    if limit is None:  # the best possible: what is reached, or its bound
        limit = float(policy.promised(recall, fmr, prevalence)) if bound is None else bound
    return {
        "figure": figure,
        "direction": direction,
        "limit": limit,
        "confidence": policy.assured_at,
        "bound": bound,
    }
