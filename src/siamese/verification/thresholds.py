"""Choose a threshold: on embeddings of any network, on measured pairs, on plain distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamese.datasets.other_data import OTHER
from siamese.distances.base import Distance, as_distance
from siamese.distances.inputs import rows_and_labels
from siamese.errors import ConfigError
from siamese.notices import warn_once
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.verification.assurance import Assured, choose_assured
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.calibration import Calibration, make_calibration
from siamese.verification.confusion import Confusion, check_pairs
from siamese.verification.curves import ThresholdCurve
from siamese.verification.measure import measure_pairs
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy, as_policy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.probability import check_kind, fit_probability

DOMINANT_SHARE = 0.5  # of the genuine pairs: a warning if one identity has more


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
    device: str | torch.device | None = None,
) -> Calibration:
    """Choose the threshold for embeddings of any network, over all pairs, exactly.

    Memory does not grow with the number of pairs: N x D numbers of 8 bytes are taken, and a copy of
    the embeddings, unless they are a tensor on the CPU or a memory map (``np.load(file,
    mmap_mode="r")``). Inside :func:`siamese.across_processes` the pairs are divided over the
    processes. Calibrate on identities that the network was not
    trained on.

    Args:
        embeddings: (N, D) floating point: numpy array, tensor (also on a GPU), or nested sequences.
        identities: (N,) the identity of each image: numbers, strings, or anything that can be
            compared and sorted.
        policy: ``"max_f1"``, ``"max_accuracy"``, ``"eer"``, ``"fmr"``, ``"recall"``,
            ``"precision"``, ``"cost"``; or with settings: ``siamese.Fmr(1e-4)``,
            ``siamese.MaxF1(prevalence="balanced")``,
            ``{"name": "fmr", "rate": 1e-4}``. With a confidence, ``siamese.Fmr(1e-3,
            confidence=0.95)``, the rate is promised for other identities.
        distance: ``"euclidean"``, ``"cosine"``, or a :class:`siamese.Distance`.
        pairs: ``"all_pairs"``, ``"balanced_pairs"``, or another :class:`siamese.PairRule`.
        probability: how P(same | distance) is fitted, ``"isotonic"`` or ``"platt"``; None leaves it
            out.
        intervals: whether to draw identities again for 95 % intervals.
        seed: of these draws.
        device: where all pairs are counted, by default where the embeddings are; see
            :func:`siamese.measure_pairs`. For several devices, one process for each:
            :func:`siamese.across_processes`.

    Returns:
        the threshold with its origin, curve, probability and intervals. There is a warning where
        the policy refuses every genuine pair or accepts every pair, and where one identity has more
        than half of the genuine pairs, which makes intervals too narrow.

    Raises:
        CalibrationError: NaN or infinite embeddings, shapes that do not fit, no genuine or no
            impostor pair, or a promise that so many pairs or identities cannot support.
        ConfigError: an unknown policy, distance or setting.

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> draw = np.random.default_rng(0)
        >>> people = np.repeat(np.arange(30), 6)  # made up: 30 people, six pictures each
        >>> rows = draw.normal(size=(30, 10))[people] + 0.5 * draw.normal(size=(180, 10))
        >>> found = siamese.calibrate(rows, people)
        >>> found.band[0] < found.threshold < found.band[1]
        True
        >>> strict = found.with_policy(siamese.Fmr(0.01))  # the same pairs
        >>> strict.point.figures["fmr"] <= 0.01
        True
    """
    chosen = as_policy(policy)
    check_kind(probability)
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be a whole number from 0 on, not {seed!r}")
    measured, rule = as_distance(distance), as_pair_rule(pairs)
    if device is None and isinstance(embeddings, Tensor):
        device = embeddings.device
    rows, labels = rows_and_labels(embeddings, identities)
    distances = measure_pairs(rows, labels, rule, measured, device=device)
    return calibrate_pairs(
        distances, chosen, probability=probability, intervals=intervals, seed=seed
    )


def calibrate_pairs(
    distances: PairDistances,
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
    """Choose a threshold on measured pairs, by default the F1-optimal one.

    Args:
        distances: of the pairs.
        policy: how to choose.
        split: what to call the images.
        epoch, step: of the training run.
        probability, intervals, seed: as for :func:`calibrate`.
        beside: other thresholds whose exact counts will be asked for, by
            :meth:`Calibration.with_policy`.

    Raises:
        CalibrationError: no genuine or no impostor pair, or pairs that cannot support the policy.
    """
    policy = policy or MaxF1()
    policy.check(distances.genuine, distances.impostor, every_pair=distances.every_pair)
    # The pass that counts the pairs must know what for.
    if intervals:
        distances.expect_draws()
    plain = distances.choose(policy) if policy.assured_at is None else None
    draws = bootstrap_identities(distances, seed, policy.weights) if intervals else None
    if plain is None:
        found = choose_assured(policy, distances.curve(policy.weights), draws)
    else:
        found = Assured(plain, math.nan)
    threshold, counts, gap = found.choice
    curve = distances.curve(policy.weights).with_counts_at((*(gap or ()), threshold), counts)
    for other in beside:
        curve = curve.with_counts_at([other], distances.count_verdicts(other))
    _warn(distances, policy, counts, split, narrow=draws is not None)
    prevalence = float(policy.prevalence_of(distances.genuine, distances.impostor))
    origin = OperatingPoint(
        threshold,
        policy="",
        distance=distances.distance,
        split=split,
        pair_rule=distances.pair_rule,
        genuine=distances.genuine,
        impostor=distances.impostor,
        prevalence=distances.prevalence,
        identities=distances.identities,
        images=distances.images,
        epoch=epoch,
        step=step,
    )
    fitted = fit_probability(curve, prevalence, probability) if probability else None
    return make_calibration(origin, found, policy, curve, draws, fitted)


def max_f1(distances: np.ndarray, same: np.ndarray) -> BestThreshold:
    """The threshold with the highest F1 among all real numbers, exactly; of several the smallest.

    Between two neighbouring distances nothing changes, so only distances that occur are tried.
    Moving the threshold down from an impostor pair's distance to the next genuine one's lowers FP
    and leaves TP, so the optimum lies at a genuine pair's distance. F1 = 2 TP / (TP + FP + P) with
    P genuine pairs; candidates whose rounded F1 is near the best are compared as fractions of
    integers. Pairs at equal distances are accepted or refused together.

    Args:
        distances: (n,) floating point, finite.
        same: (n,) bool, True for the same identity.

    Returns:
        threshold (the middle between the best distance and the next one) and counts.

    Raises:
        CalibrationError: no genuine or no impostor pair, NaN or infinite distances, lengths that
            differ.

    Examples:
        >>> import siamese
        >>> best = siamese.max_f1([0.25, 0.5, 1.0, 1.5], [True, True, False, False])
        >>> best.threshold, best.f1
        (0.75, 1.0)
    """
    found = ThresholdCurve.of(*check_pairs(distances, same)).choose(MaxF1())
    return BestThreshold(found.threshold, found.counts)


@dataclass(frozen=True)
class BestThreshold:
    """The result of :func:`max_f1`: a threshold and the counts there."""

    threshold: float
    confusion: Confusion

    @property
    def f1(self) -> float:
        return self.confusion.f1


def _warn(
    distances: PairDistances, policy: Policy, counts: Confusion, split: str, narrow: bool
) -> None:
    """Warn where a threshold is of little use, or its intervals are too narrow."""
    name = policy.describe()["name"]
    where = "these data" if split == OTHER else f"split {split!r}"
    if not counts.tp:
        prevalence = float(policy.prevalence_of(distances.genuine, distances.impostor))
        warn_once(
            f"policy {name} refuses every genuine pair (all {distances.genuine:,}): at a "
            f"prevalence of {prevalence:.2g} no threshold is better with these embeddings; state "
            f"another prevalence or another policy, or look at the embeddings",
            stacklevel=4,
        )
    elif not counts.tn:
        warn_once(
            f"policy {name} accepts every pair of {where} ({distances.genuine:,} genuine, "
            f"{distances.impostor:,} impostor): no threshold is better with "
            f"these embeddings (are they all alike?); look at the embeddings, or state another "
            f"policy",
            stacklevel=4,
        )
    if policy.weights is None and (largest := distances.largest_share()) > DOMINANT_SHARE:
        intervals = ", and the intervals are too narrow" if narrow else ""
        warn_once(
            f"one identity has {largest:.0%} of the genuine pairs of {where}: threshold "
            f"and figures tell mostly about that identity{intervals}; let every identity count "
            f"alike (a policy's weights='people'), or leave out some of its images",
            stacklevel=4,
        )
