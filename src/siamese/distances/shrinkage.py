"""How much to shrink PLDA's covariances, and how far its ratios go: found by leaving people out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from siamese.distances.two_covariances import MOST_IMAGES, Fitting, TwoCovariances

# From what 5,000 people in 500 numbers bear to what six people need.
AMOUNTS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
# Where there are too few people to leave any out; and of all amounts the one at which it is found
# out whether embeddings are better centred.
UNCHOSEN, MIDDLE = 0.9, 0.5
FOLDS = 5
# Folds are tried until so many identities were left out, and of each so many images at most.
IDENTITIES = 200
IMAGES = 1500
# Of so many rows the choice is made, in whole identities; the model is fitted to all.
ROWS = 20_000
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
    is enough. First it is found out whether embeddings are better centred before they are brought
    to unit length: those of descriptors are; those of a network that was trained by angles have
    unit length of their own, and it is worth keeping.

    In many dimensions the ratios claim too much of people whom the model was not fitted to. So
    they are multiplied and moved by what logistic regression finds on the same pairs, genuine and
    impostor ones of equal weight (Brummer and du Preez, *Application-independent evaluation of
    speaker detection*, Computer Speech and Language 20, 2006). That changes no order. Fewer than
    four identities with several images bear none of this: they are centred.

    Args:
        embeddings, labels: as for :class:`siamese.distances.two_covariances.Fitting`.
        shrinkage: 0 < shrinkage <= 1; None chooses it.

    Returns:
        the model, fitted to everyone, and its shrinkage.

    Raises:
        CalibrationError: embeddings of one identity are all the same.
    """
    folds = _folds(embeddings, labels)
    best = UNCHOSEN if shrinkage is None else shrinkage
    if not folds:
        return Fitting(embeddings, labels, True).model(best), best
    same = np.concatenate([fold.same for fold in folds])
    middle = MIDDLE if shrinkage is None else shrinkage
    areas = [_area(_ratios(folds, [middle], centred)[0], same) for centred in (True, False)]
    centred = areas[0] >= areas[1]
    amounts = AMOUNTS[::-1] if shrinkage is None else (shrinkage,)
    ratios = _ratios(folds, amounts, centred)
    place = int(np.argmax([_area(r, same) for r in ratios]))
    scale, shift = _line(ratios[place], same, sum(fold.identities for fold in folds))
    model = Fitting(embeddings, labels, centred).model(amounts[place])
    return replace(model, scale=scale, shift=shift), amounts[place]


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
    """As many folds as it takes to leave out enough identities; none where there are too few."""
    rows_of = _by_identity(labels)
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


def _ratios(folds: list[_Fold], amounts: Sequence[float], centred: bool) -> list[np.ndarray]:
    """(n,) float32 ratios of all pairs of identities that are left out, for each shrinkage."""
    found: list[list[np.ndarray]] = [[] for _ in amounts]
    for fold in folds:
        fitting, upper = Fitting(*fold.others, centred), np.triu_indices(len(fold.left_out), 1)
        for amount, parts in zip(amounts, found, strict=True):
            parts.append(fitting.model(amount).ratios(fold.left_out)[upper].astype(np.float32))
    return [np.concatenate(parts) for parts in found]


def _by_identity(labels: np.ndarray) -> list[np.ndarray]:
    """The rows of each identity, identities in random order; as many as ``ROWS`` lets in."""
    order = np.argsort(labels, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(labels))[:-1])
    return _up_to(ROWS, [rows_of[k] for k in np.random.default_rng(0).permutation(len(rows_of))])


def _up_to(most: int, rows_of: list[np.ndarray]) -> list[np.ndarray]:
    """The first identities with so many rows together, two identities at least."""
    fits = int(np.searchsorted(np.cumsum([len(rows) for rows in rows_of]), most, side="right"))
    return rows_of[: max(2, fits)]


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
