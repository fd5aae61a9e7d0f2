"""How much to shrink PLDA's covariances, and how far its ratios go: found by leaving people out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from siamese.distances.two_covariances import MOST_IMAGES, Fitting, TwoCovariances

# From what 5,000 people in 500 numbers bear to what six people need.
AMOUNTS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
# Where there are too few people to leave any out.
UNCHOSEN = 0.9
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
    all others, and measure all pairs of its images; the shrinkage with the largest area under the
    ROC curve of all folds is taken, of equals the larger one. Where there are many identities one
    fold is enough.

    In many dimensions the ratios claim too much of people whom the model was not fitted to. So
    they are multiplied and moved by what logistic regression finds on the same pairs, genuine and
    impostor ones of equal weight (Brummer and du Preez, *Application-independent evaluation of
    speaker detection*, Computer Speech and Language 20, 2006). That changes no order. Fewer than
    four identities with several images bear neither.

    Args:
        embeddings, labels: as for :class:`siamese.distances.two_covariances.Fitting`.
        shrinkage: 0 < shrinkage <= 1; None chooses it.

    Returns:
        the model, fitted to everyone, and its shrinkage.

    Raises:
        CalibrationError: embeddings of one identity are all the same.
    """
    amounts = AMOUNTS if shrinkage is None else (shrinkage,)
    ratios, same, identities = _left_out(embeddings, labels, amounts)
    best = amounts[0] if shrinkage is not None else UNCHOSEN
    scale, shift = 1.0, 0.0
    if identities:
        place = int(np.argmax([_area(r, same) for r in reversed(ratios)]))
        best = amounts[len(amounts) - 1 - place]
        scale, shift = _line(ratios[len(amounts) - 1 - place], same, identities)
    model = Fitting(embeddings, labels).model(best)
    return replace(model, scale=scale, shift=shift), best


def _left_out(
    embeddings: np.ndarray, labels: np.ndarray, amounts: tuple[float, ...]
) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Ratios of pairs of identities that were left out, for each shrinkage.

    Returns:
        for each shrinkage (n,) float32 ratios; (n,) bool, True for genuine pairs; the number of
        identities that were left out.
    """
    rows_of = _by_identity(labels)
    several = [rows for rows in rows_of if len(rows) > 1]
    singles = [rows for rows in rows_of if len(rows) == 1]
    folds = min(FOLDS, len(several) // 2)
    found: list[list[np.ndarray]] = [[] for _ in amounts]
    kinds: list[np.ndarray] = []
    identities = 0
    for fold in range(folds) if folds > 1 else ():
        if identities >= IDENTITIES:
            break
        others = [rows for k in range(folds) if k != fold for rows in several[k::folds]]
        fitting = Fitting(*_joined(embeddings, others + singles))
        left_out = _up_to(IMAGES, [rows[:MOST_IMAGES] for rows in several[fold::folds]])
        held, who = _joined(embeddings, left_out)
        i, j = np.triu_indices(len(held), 1)
        kinds.append(who[i] == who[j])
        identities += len(left_out)
        for amount, lists in zip(amounts, found, strict=True):
            lists.append(fitting.model(amount).ratios(held)[i, j].astype(np.float32))
    if not identities:
        return [], np.zeros(0, dtype=bool), 0
    return [np.concatenate(lists) for lists in found], np.concatenate(kinds), identities


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
