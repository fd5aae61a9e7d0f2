"""Log odds that fall smoothly with the distance, fitted to counted pairs: no steps, no zigzag."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

_MANY = 3000  # pairs of either kind from which knots are twice as dense
_BENDING = 0.3  # weight of the bending with one pair; it falls with their number
_SLOPE = 1e-4  # weight of the mean slope, which would be infinite where the kinds do not overlap
_GROUPS = 2048  # distances that are looked at one by one
_ROUNDS = 100


def fit_falling_odds(
    distances: np.ndarray, genuine: np.ndarray, impostor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The log odds of a genuine pair at each distance, both kinds of pairs being as frequent.

    They are straight lines between a few knots: the quantiles of the genuine and of the impostor
    distances at whole normal scores, from 3,000 pairs of either kind on at half ones, too. Of all
    such functions that never rise, the fit has the least sum of

    * the mean log loss, half of the weight on either kind;
    * 0.3 / n times half of the squared bending (changes of slope), with n pairs of the rarer kind.
      So few pairs give nearly one straight line, which is Platt's fit, and many any falling curve
      (Ramsay, *Monotone regression splines in action*, Statistical Science 1988; Eilers and Marx,
      *Flexible smoothing with B-splines and penalties*, Statistical Science 1996);
    * a trace of the squared mean slope, as in Platt's fit here.

    Slopes are not those against the distance but against the sum of the two normal scores, of the
    distance among the genuine and among the impostor ones. Against it the log odds are straight
    where both kinds are normally distributed with one variance, whatever growing function of the
    distance was measured (Hanley, *The robustness of the "binormal" assumptions used in fitting ROC
    curves*, Medical Decision Making 1988); against a learned distance, which crowds at 0 and at 1,
    they are far from it.

    Args:
        distances: (m,) float64, strictly ascending, m >= 1.
        genuine, impostor: (m,) float64 numbers of pairs there, each with a sum of at least 1.

    Returns:
        (k,) knots, ascending, and (k,) log odds, never rising; 1 <= k <= 44. Not bounded: where
        the kinds do not overlap they go far from 0.
    """
    knots, scores = _knots(distances, genuine, impostor)
    if len(knots) == 1:
        return knots, np.zeros(1)
    x, g, i = _grouped(distances, genuine / genuine.sum(), impostor / impostor.sum())
    widths = np.diff(scores)
    # Unknowns: the log odds at the first knot, then how steeply they fall from knot to knot.
    design = np.ones((len(x), len(knots)))
    design[:, 1:] = -widths * np.clip((x[:, None] - knots[:-1]) / np.diff(knots), 0, 1)
    bends = np.diff(np.eye(len(widths)), axis=0)
    bends /= np.sqrt((widths[1:] + widths[:-1]) / 2)[:, None]
    penalty = np.zeros((len(knots), len(knots)))
    penalty[1:, 1:] = _SLOPE * np.outer(widths, widths) / widths.sum() ** 2
    penalty[1:, 1:] += _BENDING / min(genuine.sum(), impostor.sum()) * bends.T @ bends
    found = _minimum(design, g / 2, i / 2, penalty)
    return knots, found[0] - np.append(0, np.cumsum(widths * found[1:]))


def _knots(
    distances: np.ndarray, genuine: np.ndarray, impostor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(k,) distances, and (k,) sums of their normal scores among either kind, both rising."""
    if len(distances) == 1:
        return distances, np.zeros(1)
    normal = NormalDist()
    apart = 0.5 if min(genuine.sum(), impostor.sum()) >= _MANY else 1.0
    levels = np.array([normal.cdf(z) for z in np.arange(-5, 5 + apart, apart)])
    places, ranks = [distances[[0, -1]]], []
    for counts in (genuine, impostor):
        own, n = counts > 0, counts.sum()
        # In the middle of tied pairs; half a pair more at both ends, as no rank may be 0 or 1.
        rank = (np.cumsum(counts) - counts / 2 + 0.5)[own] / (n + 1)
        ranks.append((distances[own], rank, 0.5 / (n + 1), (n + 0.5) / (n + 1)))
        places.append(
            np.interp(levels[np.minimum(levels, 1 - levels) * n >= 1], rank, ranks[-1][0])
        )
    x = np.unique(np.concatenate(places))
    scores = np.zeros(len(x))
    for own_x, rank, below, above in ranks:
        scores += [normal.inv_cdf(r) for r in np.interp(x, own_x, rank, left=below, right=above)]
    kept = [0]
    for k in range(1, len(x) - 1):
        if min(scores[k] - scores[kept[-1]], scores[-1] - scores[k]) >= apart / 2:
            kept.append(k)
    kept.append(len(x) - 1)
    return x[kept], scores[kept]


def _grouped(x: np.ndarray, *weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Neighbouring distances of a long curve taken together, at their mean: (m,) numbers each."""
    if len(x) <= _GROUPS:
        return (x, *weights)
    total = np.add.reduce(weights)
    # As many groups over the range as over the pairs: neither a tail nor a crowd is one group.
    place = (x - x[0]) / (x[-1] - x[0]) + np.cumsum(total) / total.sum()
    group = (place * (_GROUPS / 2)).astype(int)
    sums = [np.bincount(group, v) for v in (total, total * x, *weights)]
    mass, moment, *others = (v[sums[0] > 0] for v in sums)
    return (moment / mass, *others)


def _minimum(
    design: np.ndarray, genuine: np.ndarray, impostor: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    """The unknowns with the least penalised log loss, all but the first at least 0.

    Bertsekas, *Projected Newton methods for optimization problems with simple constraints*, SIAM
    Journal on Control and Optimization 1982. The sum is convex, so there is one minimum.
    """

    def loss(unknowns: np.ndarray) -> float:
        odds = design @ unknowns
        each = genuine * np.logaddexp(0, -odds) + impostor * np.logaddexp(0, odds)
        return float(each.sum() + unknowns @ penalty @ unknowns / 2)

    unknowns = np.append(0.0, np.ones(design.shape[1] - 1))
    least = loss(unknowns)
    for _ in range(_ROUNDS):
        chance = np.exp(-np.logaddexp(0, -(design @ unknowns)))
        weight = genuine + impostor
        gradient = design.T @ (weight * chance - genuine) + penalty @ unknowns
        curvature = (design.T * (weight * chance * (1 - chance))) @ design + penalty
        held = (unknowns < 1e-9) & (gradient > 0)
        held[0] = False
        free = np.flatnonzero(~held)
        step = np.where(held, -unknowns, 0.0)
        # The small diagonal is for odds so far from even that no pair bends the loss.
        hessian = curvature[np.ix_(free, free)] + 1e-12 * np.eye(len(free))
        step[free] = -np.linalg.solve(hessian, gradient[free])
        size = 1.0
        while size > 1e-8:
            moved = unknowns + size * step
            moved[1:] = np.maximum(moved[1:], 0)
            reached = loss(moved)
            if reached <= least + 1e-4 * gradient @ (moved - unknowns):
                break
            size /= 2
        else:
            break
        gained, unknowns, least = least - reached, moved, reached
        if gained < 1e-13:
            break
    return unknowns
