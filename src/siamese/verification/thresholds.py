"""Choosing a threshold: on embeddings of any network, on compared pairs, or on plain distances."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from siamese.distances.base import Distance
from siamese.distances.base import as_distance
from siamese.errors import ConfigError
from siamese.pairs.base import PairRule
from siamese.pairs.base import as_pair_rule
from siamese.verification.calibration import Calibration
from siamese.verification.calibration import make_calibration
from siamese.verification.pair_distances import PairDistances
from siamese.verification.pair_distances import compare
from siamese.verification.confusion import Confusion
from siamese.verification.confusion import checked
from siamese.verification.curves import ThresholdCurve
from siamese.verification.inputs import rows_and_labels
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.base import Policy
from siamese.verification.policies.base import as_policy
from siamese.verification.probability import check_kind
from siamese.verification.probability import fit_probability
from siamese.verification.bootstrap import largest_share
from siamese.verification.bootstrap import bootstrap_identities

DOMINANT_SHARE = 0.5  # of the genuine pairs: more of one person's are worth a warning


def calibrate(
    embeddings: Tensor | np.ndarray | Sequence[Any],
    identities: Sequence[Any] | np.ndarray | Tensor,
    policy: str | dict[str, Any] | Policy = "max_f1",
    *,
    distance: str | Distance = "euclidean",
    pairs: str | PairRule = "all_pairs",
    probability: str | None = "isotonic",
    intervals: bool = True,
    seed: int = 0,
) -> Calibration:
    """Choose the threshold for embeddings of any network, over all pairs, exactly.

    Memory does not grow with the number of pairs. Calibrate on people whom the network was not trained on.

    Args:
        embeddings: (N, D) floating point: numpy array, tensor (also on a GPU), or nested sequences.
        identities: (N,) who is on each picture: numbers, strings, or anything that can be compared and sorted.
        policy: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"fmr"``, ``"recall"``, ``"cost"``; or with settings:
            ``siamese.Fmr(1e-4)``, ``siamese.MaxF1(prevalence="balanced")``, ``{"name": "fmr", "rate": 1e-4}``.
        distance: ``"euclidean"``, ``"cosine"``, or a :class:`siamese.Distance`.
        pairs: ``"all_pairs"``, ``"balanced_pairs"``, or a pair protocol.
        probability: how P(same | distance) is fitted, ``"isotonic"`` or ``"platt"``; None leaves it out.
        intervals: whether to resample people for 95 % intervals.
        seed: of the resampling.

    Returns:
        the threshold with its origin, curve, probability and intervals. A warning says so where the policy refuses every genuine pair or
        accepts every pair, and where one person has more than half of the genuine pairs, which makes intervals too narrow.

    Raises:
        CalibrationError: NaN or infinite embeddings, shapes that do not fit, no genuine or no impostor pair, or a false match rate that
            so many pairs cannot support.
        ConfigError: an unknown policy, distance or setting.
    """
    chosen = as_policy(policy)
    check_kind(probability)
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be a whole number from 0 on, not {seed!r}")
    measured = as_distance(distance)
    protocol = as_pair_rule(pairs)
    compared = compare(*rows_and_labels(embeddings, identities), protocol, measured)
    return calibrate_pairs(compared, chosen, probability=probability, intervals=intervals, seed=seed)


def calibrate_pairs(
    compared: PairDistances,
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
    name = policy.describe()["name"]
    if not counts.tp:
        prevalence = float(policy.prevalence_of(compared.genuine, compared.impostor))
        warnings.warn(
            f"policy {name} refuses every genuine pair: at a prevalence of {prevalence:.2g} nothing better is to be had "
            f"with these embeddings; state another prevalence or another policy, or look at the embeddings",
            stacklevel=3,
        )
    elif not counts.tn:
        warnings.warn(
            f"policy {name} accepts every pair of split {split!r}: with these embeddings nothing better is to be had (are they all alike?); "
            f"look at the embeddings, or state another policy",
            stacklevel=3,
        )
    curve = compared.curve()
    resampled = bootstrap_identities(compared, curve, seed=seed) if intervals else None
    if (largest := largest_share(compared)) > DOMINANT_SHARE:
        narrow = ", and the intervals are too narrow" if resampled is not None else ""
        warnings.warn(
            f"one person has {largest:.0%} of the genuine pairs of split {split!r}: threshold and figures tell mostly about that person"
            f"{narrow}; leave out some of that person's pictures",
            stacklevel=3,
        )
    curve = curve.with_counts_at(threshold, counts)
    for other in beside:
        curve = curve.with_counts_at(other, compared.confusion(other))
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
    prevalence = float(policy.prevalence_of(compared.genuine, compared.impostor))
    chances = fit_probability(curve, prevalence, probability) if probability else None
    return make_calibration(origin, (threshold, counts), policy, curve, resampled, chances)


def max_f1(distances: np.ndarray, same: np.ndarray) -> BestThreshold:
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
    return BestThreshold(*ThresholdCurve.of(*checked(distances, same)).choose(MaxF1()))


@dataclass(frozen=True)
class BestThreshold:
    """What :func:`max_f1` found: a threshold and the counts there."""

    threshold: float
    confusion: Confusion

    @property
    def f1(self) -> float:
        return self.confusion.f1
