"""Figures of pairs, and the same figures in each draw of identities: where intervals come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from siamese.distances.arrays import as_threshold
from siamese.errors import CalibrationError
from siamese.verification.bootstrap import (
    IdentityBootstrap,
    bootstrap_identities,
    interval_around,
    unseen_error_rates,
)
from siamese.verification.confusion import Confusion
from siamese.verification.curves import auc, crossing
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import Interval, figures_at, rates_at
from siamese.verification.policies.base import RULE_OF, check_prevalence
from siamese.verification.policies.fmr import Fmr

# False match rates at which the recall is stated, where the pairs support it.
RATES = (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
WEIGHED = ("precision", "f1", "accuracy")  # the figures that depend on the prevalence
_AT_RATE, _STATED = "recall@fmr=", "@prevalence"


@dataclass(frozen=True, eq=False)
class DrawnFigures:
    """Figures of pairs.

    Attributes:
        observed: figure -> its value.
        drawn: figure -> (r,) its value in each draw of identities; empty where identities are too
            few to be drawn.
        independent: (2,) int64, see :class:`siamese.IdentityBootstrap`; None where nothing is
            drawn.
        counts: at the threshold; None for figures that need none.
    """

    observed: Mapping[str, float]
    drawn: Mapping[str, np.ndarray]
    independent: np.ndarray | None
    counts: Confusion | None = None

    def intervals(self) -> dict[str, Interval]:
        """Figure -> its 95 % interval; empty where nothing is drawn."""
        return {n: interval_around(self.observed[n], values) for n, values in self.drawn.items()}

    def less(
        self, other: DrawnFigures, name: str, alike: bool = False
    ) -> tuple[float, Interval | None]:
        """How much larger a figure is here than of other distances of the same pairs.

        The draws of both are of the same identities, so what varies in both alike cancels out.
        Where the figure is the same in every draw, although the distances are not, no disagreement
        was observed, and that of others has the limits of what was not observed, on either side.

        Args:
            other: with draws of the same identities.
            name: of the figure.
            alike: whether the figure comes from the very same distances.

        Returns:
            the difference, and its 95 % interval; None where nothing is drawn.
        """
        observed = self.observed[name] - other.observed[name]
        if self.independent is None or other.independent is None:
            return observed, None
        values = self.drawn[name] - other.drawn[name]
        if not alike and not values.any():
            trials = int(self.independent[int(name == "fmr")])
            unseen = unseen_error_rates(trials, len(values))
            values = unseen - unseen[::-1]  # as if drawn for each; in reverse, so that it mirrors
        return observed, interval_around(observed, values)

    def __repr__(self) -> str:
        return f"DrawnFigures({', '.join(self.observed)})"


def draw_figures(
    distances: PairDistances,
    threshold: float,
    prevalence: float | None = None,
    seed: int = 0,
    keys: np.ndarray | None = None,
) -> DrawnFigures:
    """All figures at a threshold, and those that need none.

    They are recall, fmr, precision, f1, accuracy and error, auc and eer, ``recall@fmr=0.01`` for
    each rate that the pairs support, and, where a prevalence is stated, ``f1@prevalence`` and the
    others that depend on it.

    Args:
        distances: of the pairs.
        threshold: accept where distance <= threshold.
        prevalence: share of genuine pairs where the threshold will be used, 0..1.
        seed: of the draws.
        keys: in the order of which identities are drawn; by default those of the distances.

    Raises:
        CalibrationError: no genuine or no impostor pair, or a distance, a threshold or a prevalence
            that is out of range.
    """
    threshold = as_threshold(threshold, finite=True)
    if prevalence is not None:
        prevalence = check_prevalence(prevalence, CalibrationError)
    distances.expect_draws()
    curve, counts = distances.curve(), distances.count_verdicts(threshold)
    area = auc(curve)  # raises where one kind of pairs is missing
    observed = figures_at(counts, curve.prevalence) | {"error": counts.error, "auc": area}
    observed["eer"] = distances.eer()
    for rate in supported_rates(distances.impostor):
        observed[f"{_AT_RATE}{rate:g}"] = distances.choose(Fmr(rate)).counts.recall
    if prevalence is not None:
        observed |= _weighed(figures_at(counts, prevalence))
    draws = bootstrap_identities(distances, seed, keys=keys)
    if draws is None:
        return DrawnFigures(observed, {}, None, counts)
    exact = curve.with_counts_at([threshold], counts)
    rates = draws.rates_at(threshold, exact, counts)
    drawn = rates_at(*rates, draws.genuine / (draws.genuine + draws.impostor))
    drawn |= {"error": 1 - drawn["accuracy"]} | whole_curve(draws, area, observed)
    if prevalence is not None:
        drawn |= _weighed(rates_at(*rates, prevalence))
    return DrawnFigures(observed, drawn, draws.independent, counts)


def draw_area(
    distances: PairDistances, seed: int = 0, keys: np.ndarray | None = None
) -> DrawnFigures:
    """The area under the ROC curve alone; arguments and errors as for :func:`draw_figures`."""
    distances.expect_draws()
    area = auc(distances.curve())
    draws = bootstrap_identities(distances, seed, keys=keys)
    if draws is None:
        return DrawnFigures({"auc": area}, {}, None)
    return DrawnFigures({"auc": area}, whole_curve(draws, area), draws.independent)


def supported_rates(impostor: int) -> tuple[float, ...]:
    """Those of RATES that are supported by so many impostor pairs (rule of 30)."""
    return tuple(rate for rate in RATES if rate * impostor >= RULE_OF * (1 - 1e-9))


def recalls_at_rates(figures: Mapping[str, float]) -> dict[str, float]:
    """Of figures by name: false match rate, in words -> recall."""
    return {
        name.removeprefix(_AT_RATE): value
        for name, value in figures.items()
        if name.startswith(_AT_RATE)
    }


def whole_curve(
    draws: IdentityBootstrap, area: float, names: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """The values of each draw, (r,) each, that need no threshold: auc, eer, recall at rates.

    Args:
        draws: of identities.
        area: that was observed.
        names: of figures; of those that are recalls at a false match rate the values are given.
    """
    recalls = [name for name in names if name.startswith(_AT_RATE)]
    if area == 1:  # all identities are told apart: at some threshold no error was seen
        trials = [int(n) for n in draws.independent]
        missed, false = (unseen_error_rates(n, len(draws.genuine), k) for k, n in enumerate(trials))
        values = {"auc": (1 - missed) * (1 - false), "eer": np.maximum(missed, false)}
        return values | dict.fromkeys(recalls, 1 - missed)
    genuine, impostor = draws.genuine, draws.impostor
    zero = np.zeros((len(genuine), 1))
    tp, fp = np.concatenate([zero, draws.tp], axis=1), np.concatenate([zero, draws.fp], axis=1)
    closer = np.diff(tp, axis=1) * (impostor[:, None] - (fp[:, 1:] + fp[:, :-1]) / 2)
    values = {
        "auc": closer.sum(axis=1) / (genuine * impostor),
        "eer": crossing(fp / impostor[:, None], 1 - tp / genuine[:, None]),
    }
    row = np.arange(len(tp))
    for name in recalls:
        rate = float(name.removeprefix(_AT_RATE))
        last = np.count_nonzero(fp <= rate * impostor[:, None] + 1e-9, axis=1) - 1
        values[name] = tp[row, last] / genuine
    return values


def _weighed(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures that depend on the prevalence, under names that say so."""
    return {f"{name}{_STATED}": figures[name] for name in WEIGHED}
