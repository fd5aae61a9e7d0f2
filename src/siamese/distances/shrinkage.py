"""How much to shrink PLDA's covariances, and how far its ratios go: found by leaving people out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from siamese.distances.two_covariances import MOST_IMAGES, Fitting, TwoCovariances
from siamese.errors import CalibrationError

# From what 5,000 people in 500 numbers bear to what six people need.
AMOUNTS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
# Where there are too few people to leave any out; and of all amounts the one at which the search
# begins, and it is found out whether embeddings are better centred.
UNCHOSEN, MIDDLE = 0.9, 0.5
FOLDS = 5
# Folds are tried until so many identities were left out, and of each so many images at most.
IDENTITIES = 200
IMAGES = 1500
# Of so many rows the choice is made, and of the larger half of their principal components, where
# there are more than so many; the model is fitted to all. The time grows with the square of the
# components, and more. Of 1,024 grey pixels of LFW's faces half gave the shrinkage that all give,
# a quarter gave less, and an area under the curve smaller by 0.012 to 0.015 among strangers; of
# 4,096 an eighth gave less than half did, and an area smaller by 0.023.
ROWS = 20_000
COMPONENTS = 512
# Instead of an area, which is 0 to 1.
NONE = -1.0
# So many impostor pairs say well enough how far the ratios go.
PAIRS = 100_000
# Least factor, of ratios in units of their spread: an order that the pairs deny is kept.
LEAST_SCALE = 1e-3


def fit_by_leaving_out(
    embeddings: np.ndarray, labels: np.ndarray, shrinkage: float | None = None
) -> tuple[TwoCovariances, float]:
    """The model, with the shrinkage that tells identities apart best whom it was not fitted to.

    The identities with several images are divided into five folds. For each, models are fitted to
    all others, and measure all pairs of its images; what has the largest area under the ROC curve
    of all folds is taken, of equal amounts the larger one. Where there are many identities one fold
    is enough. Amounts are tried from a middle one on: upwards until the area shrinks, or else
    downwards while it grows. Long embeddings are represented by their principal components; the
    model that is returned is fitted to them whole.

    First it is found out whether embeddings are better centred before they are brought to unit
    length: those of descriptors are; those of a network that was trained by angles have unit length
    of their own, and it is worth keeping.

    In many dimensions the ratios claim too much of people whom the model was not fitted to. So
    they are multiplied and moved by what logistic regression finds on the same pairs, genuine and
    impostor ones of equal weight (Brummer and du Preez, *Application-independent evaluation of
    speaker detection*, Computer Speech and Language 20, 2006). That changes no order. Fewer than
    four identities with several images bear none of this, nor do images of which only one
    identity's differ: they are centred.

    Args:
        embeddings, labels: as for :class:`siamese.distances.two_covariances.Fitting`.
        shrinkage: 0 < shrinkage <= 1; None chooses it.

    Returns:
        the model, fitted to everyone, and its shrinkage.

    Raises:
        CalibrationError: embeddings of one identity are all the same, or have one direction.
    """
    chosen = _choose(embeddings, labels, shrinkage)
    model = Fitting(embeddings, labels).model(chosen.shrinkage, chosen.centred)
    return replace(model, scale=chosen.scale, shift=chosen.shift), chosen.shrinkage


@dataclass(frozen=True)
class _Choice:
    """What is found out by leaving people out."""

    shrinkage: float
    centred: bool = True
    scale: float = 1.0
    shift: float = 0.0


def _choose(embeddings: np.ndarray, labels: np.ndarray, shrinkage: float | None) -> _Choice:
    without = _Choice(UNCHOSEN if shrinkage is None else shrinkage)
    kept, who = _joined(embeddings, _by_identity(labels))
    folds = _folds(_leading(kept), who)
    if not folds:
        return without
    amounts = AMOUNTS if shrinkage is None else (shrinkage,)
    start = amounts.index(MIDDLE) if shrinkage is None else 0
    try:
        trials = _Trials(folds)
    except CalibrationError:  # without a fold nobody's images differ
        return without
    best = amounts[start]
    centred = trials.area(best, True) >= trials.area(best, False)
    if trials.area(best, centred) == NONE:
        return without
    for amount in amounts[start + 1 :]:
        if trials.area(amount, centred) < trials.area(best, centred):
            break
        best = amount
    for amount in amounts[:start][::-1] if best == amounts[start] else ():
        if trials.area(amount, centred) <= trials.area(best, centred):
            break
        best = amount
    ratios = trials.ratios(best, centred)
    line = _line(ratios, trials.same, sum(fold.identities for fold in folds))
    return _Choice(best, centred, *line)


@dataclass(frozen=True)
class _Fold:
    """Embeddings and labels to fit to, and embeddings of identities that are left out.

    Attributes:
        same: of all their pairs i < j, True for genuine ones.
        identities: how many are left out.
    """

    others: tuple[np.ndarray, np.ndarray]
    left_out: np.ndarray
    same: np.ndarray
    identities: int


def _folds(embeddings: np.ndarray, labels: np.ndarray) -> list[_Fold]:
    """As many folds as it takes to leave out enough identities; none where there are too few.

    Args:
        embeddings, labels: those of an identity follow one another.
    """
    rows_of = np.split(np.arange(len(labels)), np.cumsum(np.bincount(labels))[:-1])
    several = [rows for rows in rows_of if len(rows) > 1]
    singles = [rows for rows in rows_of if len(rows) == 1]
    count, folds = min(FOLDS, len(several) // 2), list[_Fold]()
    for k in range(count) if count > 1 else ():
        if sum(fold.identities for fold in folds) >= IDENTITIES:
            break
        others = [rows for j in range(count) if j != k for rows in several[j::count]]
        left_out = _up_to(IMAGES, [rows[:MOST_IMAGES] for rows in several[k::count]])
        held, who = _joined(embeddings, left_out)
        i, j = np.triu_indices(len(held), 1)
        folds.append(
            _Fold(_joined(embeddings, others + singles), held, who[i] == who[j], len(left_out))
        )
    return folds


class _Trials:
    """Models of different settings, tried on the identities that folds leave out.

    Raises:
        CalibrationError: in what a fold leaves, images of one identity are all the same.
    """

    def __init__(self, folds: list[_Fold]) -> None:
        self._folds = [(Fitting(*fold.others), fold.left_out) for fold in folds]
        self.same = np.concatenate([fold.same for fold in folds])
        self._ratios: dict[tuple[float, bool], np.ndarray] = {}
        self._areas: dict[tuple[float, bool], float] = {}

    def ratios(self, shrinkage: float, centred: bool) -> np.ndarray:
        """(n,) float32 ratios of all pairs of identities that are left out."""
        asked = shrinkage, centred
        if asked not in self._ratios:
            parts = []
            for fitting, left_out in self._folds:
                found = fitting.model(shrinkage, centred).ratios(left_out)
                parts.append(found[np.triu_indices(len(left_out), 1)].astype(np.float32))
            self._ratios[asked] = np.concatenate(parts)
        return self._ratios[asked]

    def area(self, shrinkage: float, centred: bool) -> float:
        """The area under the ROC curve of these; ``NONE`` where no such model can be made."""
        asked = shrinkage, centred
        if asked not in self._areas:
            try:
                self._areas[asked] = _area(self.ratios(shrinkage, centred), self.same)
            except CalibrationError:
                self._areas[asked] = NONE
        return self._areas[asked]


def _by_identity(labels: np.ndarray) -> list[np.ndarray]:
    """The rows of each identity, identities in random order; no more than ``ROWS`` lets in.

    Where these are too many, images of the most photographed are left out first.
    """
    order, sizes = np.argsort(labels, kind="stable"), np.bincount(labels)
    most = int(sizes.max())
    if len(labels) > ROWS:
        totals = np.cumsum(np.bincount(sizes)[::-1])[::-1]  # how many identities have n or more
        most = max(MOST_IMAGES, int(np.searchsorted(np.cumsum(totals[1:]), ROWS, side="right")))
    rows_of = [
        rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]
        for rows in np.split(order, np.cumsum(sizes)[:-1])
    ]
    return _up_to(ROWS, [rows_of[k] for k in np.random.default_rng(0).permutation(len(rows_of))])


def _up_to(most: int, rows_of: list[np.ndarray]) -> list[np.ndarray]:
    """The first identities with so many rows together, two identities at least."""
    fits = int(np.searchsorted(np.cumsum([len(rows) for rows in rows_of]), most, side="right"))
    return rows_of[: max(2, fits)]


def _leading(embeddings: np.ndarray) -> np.ndarray:
    """(N, D) embeddings by their principal components around 0; unchanged where these are few.

    Around 0 and not their mean, so that it remains to be found out whether to centre.
    """
    size = embeddings.shape[1]
    if size <= COMPONENTS:
        return embeddings
    axes = np.linalg.eigh(embeddings.T @ embeddings)[1]
    components: np.ndarray = embeddings @ axes[:, -max(COMPONENTS, size // 2) :]
    return components


def _joined(embeddings: np.ndarray, rows_of: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of identities, and their labels, 0, 1, ... in that order."""
    sizes = [len(rows) for rows in rows_of]
    return embeddings[np.concatenate(rows_of)], np.repeat(np.arange(len(sizes)), sizes)


def _area(ratios: np.ndarray, same: np.ndarray) -> float:
    """The area under the ROC curve; of equal ratios either comes first."""
    ordered = same[np.argsort(ratios, kind="stable")]
    genuine, impostor = int(ordered.sum()), int((~ordered).sum())
    return float(np.cumsum(~ordered)[ordered].sum() / (genuine * impostor))


def _line(ratios: np.ndarray, same: np.ndarray, identities: int) -> tuple[float, float]:
    """Factor, > 0, and shift that make ratios those of the pairs; few identities show little."""
    from sklearn.linear_model import LogisticRegression

    others = np.flatnonzero(~same)
    kept = np.append(np.flatnonzero(same), others[:: 1 + len(others) // PAIRS])
    x, y = ratios[kept].astype(np.float64), same[kept]
    weights = np.where(y, 1 / y.sum(), 1 / (~y).sum()) / 2
    centre = float(weights @ x)
    spread = float(np.sqrt(weights @ (x - centre) ** 2)) or 1.0
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(
        ((x - centre) / spread)[:, None], y, weights * identities
    )
    scale = max(float(fitted.coef_[0, 0]), LEAST_SCALE) / spread
    return scale, float(fitted.intercept_[0]) - scale * centre
