"""A threshold chosen by a policy, exactly, with all that is needed to say how sure it is and to choose another one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from torch import Tensor

from siamese.distances import DISTANCES, Distance
from siamese.errors import CalibrationError
from siamese.pairs import PROTOCOLS, PairProtocol
from siamese.verification.compared import AnyCompared, compare
from siamese.verification.confusion import Confusion, checked
from siamese.verification.curves import ThresholdCurve
from siamese.verification.inputs import rows_and_labels
from siamese.verification.point import Interval, OperatingPoint, figures
from siamese.verification.policies import OBSERVED, MaxF1, Policy, as_policy, is_number
from siamese.verification.probability import ProbabilityMap, check_kind, fit_probability
from siamese.verification.resampling import Resampled, largest_share, resample

MOSTLY = 0.5  # of the genuine pairs: more of one person's are worth a warning


@dataclass(frozen=True, eq=False)
class Calibration:
    """A threshold, and all that is needed to choose another one on the same pairs.

    Attributes:
        point: the threshold and where it came from.
        curve: counts of the calibration pairs at their distances.
        probability: from a distance to P(same person) at the policy's prevalence; None where it was not fitted.
        band: 95 % interval of the threshold over identities: between its ends, other people would have led to the other verdict. None
            where fewer than 5 people were there to tell.
        resampled: counts in each draw of people; None likewise.
    """

    point: OperatingPoint
    curve: ThresholdCurve
    probability: ProbabilityMap | None = None
    band: Interval | None = None
    resampled: Resampled | None = field(default=None, repr=False)

    @property
    def threshold(self) -> float:
        """Accept as the same person where distance <= threshold."""
        return self.point.threshold

    @property
    def confusion(self) -> Confusion:
        """Counts of the calibration pairs at the threshold."""
        return self.point.confusion

    @property
    def f1(self) -> float:
        """On the calibration pairs as they are."""
        return self.point.f1

    def is_uncertain(self, distance: Any) -> Any:
        """Whether the verdict on a distance, or on each of an array, hangs on who was there to calibrate with.

        Raises:
            CalibrationError: fewer than 5 people: nothing is known.
        """
        if self.band is None:
            raise CalibrationError("the calibration has no interval: it needs at least 5 people; calibrate on more")
        d = np.asarray(distance)
        inside = (d >= self.band[0]) & (d <= self.band[1])
        return bool(inside) if inside.ndim == 0 else inside

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: all but the point and the arrays."""
        return {
            "resolution": self.curve.thinned(self.threshold).resolution,
            "band": list(self.band) if self.band else None,
            "probability": self.probability.to_dict() if self.probability else None,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The counts by name, as :meth:`restored` takes them; those of the draws as float32."""
        curve = self.curve.thinned(self.threshold)
        arrays = {"thresholds": curve.thresholds, "tp": curve.tp, "fp": curve.fp}
        if self.resampled is not None:
            drawn = {f.name: getattr(self.resampled, f.name) for f in fields(Resampled)}
            arrays |= {f"draws.{k}": v if k == "thresholds" else v.astype(np.float32) for k, v in drawn.items()}
        return arrays

    @classmethod
    def restored(cls, point: OperatingPoint, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Calibration:
        """From a point, :meth:`to_dict` and :meth:`arrays`, as they were stored.

        Raises:
            CalibrationError: parts that do not fit each other.
        """
        try:
            counts = tuple(np.asarray(arrays[k]) for k in ("thresholds", "tp", "fp"))
            drawn = {k.removeprefix("draws."): np.asarray(v) for k, v in arrays.items() if k.startswith("draws.")}
            curve = ThresholdCurve(counts[0], counts[1], counts[2], float(values["resolution"]))
            if not curve.is_whole:
                raise ValueError("its counts do not rise with the threshold")
            if (curve.genuine, curve.impostor) != (point.genuine, point.impostor):
                raise ValueError("its curve counts other pairs than its point")
            if point.policy != "given" and curve.at(point.threshold) != point.confusion:
                raise ValueError("its curve has other counts at the threshold than its point")
            probability = values["probability"] and ProbabilityMap.from_dict(values["probability"])
            resampled = Resampled(**drawn) if drawn else None
            if resampled is not None and not resampled.is_whole:
                raise ValueError("its draws do not fit each other")
            band = tuple(map(float, values["band"])) if values["band"] else None
            if band is not None and not (len(band) == 2 and -math.inf < band[0] <= point.threshold <= band[1] < math.inf):
                raise ValueError("its band is no interval around the threshold")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(f"not a calibration ({error}); calibrate again") from error
        return cls(point, curve, probability, band, resampled)

    def shift_from(self, earlier: Calibration) -> Interval | None:
        """How far the threshold moved from where the same policy puts it on other people: 95 % interval, over both sets of people.

        Where 0 lies outside, the two sets of people differ in more than who happened to be there: in their pictures, or in how often a
        pair is genuine, if the policy takes the prevalence as observed.

        Args:
            earlier: of other people's embeddings by the same network.

        Returns:
            (low, high) in the unit of the distance, this threshold minus the earlier; None where nothing can be said: fewer than 5
            people on either side, earlier pairs that cannot support the policy, or a threshold that no policy chose.
        """
        if self.resampled is None or earlier.resampled is None or self.point.policy == "given":
            return None
        policy = as_policy({"name": self.point.policy} | dict(self.point.settings))
        try:
            policy.check(earlier.point.genuine, earlier.point.impostor)
        except CalibrationError:
            return None
        return self.resampled.shift(earlier.resampled, policy)

    def with_policy(self, policy: str | dict[str, Any] | Policy | float) -> Calibration:
        """Another threshold on the same calibration pairs: by a policy, or a plain number, which keeps the prevalence.

        From a curve with a ``resolution`` above 0 the best of its thresholds is taken; the counts at it are exact all the same. The counts at
        a number between two thresholds of such a curve are those at the smaller one.

        Raises:
            ConfigError: an unknown policy or setting.
            CalibrationError: the pairs cannot support the policy, or a number that is not finite.
        """
        if is_number(policy):
            number = float(policy)  # type: ignore[arg-type]
            if not math.isfinite(number):
                raise CalibrationError(f"a threshold must be a finite number, not {number}")
            chosen, found = None, (number, self.curve.at(number))
        else:
            chosen = as_policy(policy)  # type: ignore[arg-type]
            found = self.curve.choose(chosen)
        return _calibration(self.point, found, chosen, self.curve, self.resampled, self.probability)


def calibrate(
    embeddings: Tensor | np.ndarray | Sequence[Any],
    identities: Sequence[Any] | np.ndarray | Tensor,
    policy: str | dict[str, Any] | Policy = "max_f1",
    *,
    distance: str | Distance = "euclidean",
    pairs: str | PairProtocol = "all_pairs",
    probability: str | None = "isotonic",
    intervals: bool = True,
    seed: int = 0,
) -> Calibration:
    """Choose the threshold for embeddings of any network, over all pairs, exactly.

    Memory does not grow with the number of pairs. Calibrate on people whom the network was not trained on.

    Args:
        embeddings: (N, D) floating point: numpy array, tensor (also on a GPU), or nested sequences.
        identities: (N,) who is on each picture: numbers, strings, or anything that can be compared and sorted.
        policy: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"far"``, ``"recall"``, ``"cost"``; or with settings:
            ``siamese.Far(1e-4)``, ``siamese.MaxF1(prevalence="balanced")``, ``{"name": "far", "rate": 1e-4}``.
        distance: ``"euclidean"``, ``"cosine"``, or a :class:`siamese.Distance`.
        pairs: ``"all_pairs"``, ``"balanced_pairs"``, or a pair protocol.
        probability: how P(same | distance) is fitted, ``"isotonic"`` or ``"platt"``; None leaves it out.
        intervals: whether to resample people for 95 % intervals.
        seed: of the resampling.

    Returns:
        the threshold with its origin, curve, probability and intervals. A warning says so where the policy refuses every genuine pair, and
        where one person has more than half of the genuine pairs, which makes intervals too narrow.

    Raises:
        CalibrationError: NaN or infinite embeddings, shapes that do not fit, no genuine or no impostor pair, or a false match rate that
            so many pairs cannot support.
        ConfigError: an unknown policy, distance or setting.
    """
    chosen = as_policy(policy)
    check_kind(probability)
    measured = distance if isinstance(distance, Distance) else DISTANCES.build(distance)
    protocol = pairs if isinstance(pairs, PairProtocol) else PROTOCOLS.build(pairs)
    compared = compare(*rows_and_labels(embeddings, identities), protocol, measured)
    return calibrated(compared, chosen, probability=probability, intervals=intervals, seed=seed)


def calibrated(
    compared: AnyCompared,
    policy: Policy | None = None,
    split: str = "calibration",
    *,
    epoch: int | None = None,
    step: int | None = None,
    probability: str | None = "isotonic",
    intervals: bool = True,
    seed: int = 0,
    beside: tuple[float, ...] = (),
) -> Calibration:
    """Choose a threshold on compared pairs, by default the F1-optimal one; other arguments as :func:`calibrate` has them.

    Args:
        beside: other thresholds whose exact counts will be asked for, by :meth:`Calibration.with_policy`.

    Raises:
        CalibrationError: no genuine or no impostor pair, or pairs that cannot support the policy.
    """
    policy = policy or MaxF1()
    policy.check(compared.genuine, compared.impostor)
    threshold, counts = compared.choose(policy)
    if not counts.tp:
        share = float(policy.share(compared.genuine, compared.impostor))
        warnings.warn(
            f"policy {policy.describe()['name']} refuses every genuine pair: at a prevalence of {share:.2g} nothing better is to be had "
            f"with these embeddings; state another prevalence or another policy, or look at the embeddings",
            stacklevel=3,
        )
    curve = compared.curve()
    resampled = resample(compared, curve, seed=seed) if intervals else None
    if resampled is not None and (share := largest_share(compared)) > MOSTLY:
        warnings.warn(
            f"one person has {share:.0%} of the genuine pairs of split {split!r}: threshold and figures tell mostly about that person, and "
            f"the intervals are too narrow; leave out some of that person's pictures",
            stacklevel=3,
        )
    curve = curve.knowing(threshold, counts)
    for other in beside:
        curve = curve.knowing(other, compared.confusion(other))
    origin = OperatingPoint(
        threshold=threshold,
        policy="",
        distance=compared.distance,
        split=split,
        protocol=compared.protocol,
        genuine=compared.genuine,
        impostor=compared.impostor,
        prevalence=compared.genuine / (compared.genuine + compared.impostor),
        f1=counts.f1,
        tp=0,
        fp=0,
        fn=0,
        tn=0,
        people=len(np.unique(compared.labels)),
        images=len(compared.labels),
        epoch=epoch,
        step=step,
    )
    share = float(policy.share(compared.genuine, compared.impostor))
    chances = fit_probability(curve, share, probability) if probability else None
    return _calibration(origin, (threshold, counts), policy, curve, resampled, chances)


def max_f1(distances: np.ndarray, same: np.ndarray) -> Found:
    """The threshold with the highest F1 among all real numbers, exactly; of several the smallest.

    Between two neighbouring distances nothing changes, so only distances that occur need be tried. Moving the threshold down
    from an impostor pair's distance to the next genuine one's lowers FP and leaves TP, so the optimum lies at a genuine
    pair's distance. F1 = 2 TP / (TP + FP + P) with P genuine pairs; candidates whose rounded F1 is near the best are compared
    as fractions of integers. Pairs at equal distances are accepted or refused together.

    Args:
        distances: (n,) floating point, finite.
        same: (n,) bool, True for the same person.

    Returns:
        threshold (equal to one of the distances) and counts.

    Raises:
        CalibrationError: no genuine or no impostor pair, NaN or infinite distances, lengths that differ.
    """
    return Found(*ThresholdCurve.of(*checked(distances, same)).choose(MaxF1()))


@dataclass(frozen=True)
class Found:
    """What :func:`max_f1` found: a threshold and the counts there."""

    threshold: float
    confusion: Confusion

    @property
    def f1(self) -> float:
        return self.confusion.f1


def _calibration(
    origin: OperatingPoint,
    found: tuple[float, Confusion],
    policy: Policy | None,
    curve: ThresholdCurve,
    resampled: Resampled | None,
    probability: ProbabilityMap | None,
) -> Calibration:
    """Everything that follows from a threshold; ``policy`` is None for one that the user gave."""
    threshold, c = found
    described = policy.describe() if policy else {"name": "given", "prevalence": origin.settings.get("prevalence", OBSERVED)}
    observed = described["prevalence"] == OBSERVED
    share = float(policy.share(origin.genuine, origin.impostor)) if policy else origin.assumed or origin.prevalence
    band, ci95 = None, {}
    if resampled is not None:
        band = resampled.threshold(policy) if policy else resampled.like(threshold, curve)
        band = (min(band[0], threshold), max(band[1], threshold))  # the draws are looked at in steps
        ci95 = {"threshold": band} | resampled.figures(threshold, None if observed else share, curve)
    point = replace(
        origin,
        threshold=threshold,
        policy=described["name"],
        f1=c.f1,
        tp=c.tp,
        fp=c.fp,
        fn=c.fn,
        tn=c.tn,
        settings={k: v for k, v in described.items() if k != "name"},
        assumed=share,
        figures=figures(c, share),
        ci95=ci95,
    )
    return Calibration(point, curve, probability and probability.at(share), band, resampled)
