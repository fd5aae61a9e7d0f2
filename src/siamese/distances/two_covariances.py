"""Length-normalised PLDA fitted in closed form: one covariance within identities, one between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from siamese.errors import CalibrationError

# So many images of an identity count, so that the most photographed do not decide everything.
MOST_IMAGES = 10
# Share of the shrinkage that the first whitening gets: what it leaves, the second estimate sees.
FIRST = 1 / 3
# Least mean variance between identities, as a share of that within: distances never all vanish.
LEAST = 1e-3
# Variance within identities that comes of rounding alone: as a share of that between, or of the
# squared length.
NOTHING = 1e-20


@dataclass(frozen=True)
class TwoCovariances:
    """Which identity, plus what varies within it: ``x = centre + y + e``, Gaussian.

    In x, an embedding that is whitened and brought to unit length, y is the identity's own
    place and e what differs from image to image. ``latent`` diagonalises both: there e has variance
    1 in every direction and y ``spread``. So the log-likelihood ratio of two embeddings, "one
    identity" against "two", is a sum over directions (Prince and Elder, *Probabilistic linear
    discriminant analysis for inferences about identity*, ICCV 2007; Ioffe, ECCV 2006; unit length:
    Garcia-Romero and Espy-Wilson, Interspeech 2011).

    Attributes:
        mean: (D,) of the embeddings, every identity counted once; 0 where they are not centred.
        whitening: (D, D); embeddings, less the mean, are multiplied by it from the right.
        centre: (D,) mean of what comes out, at unit length.
        latent: (D, D); these, less the centre, are multiplied by it from the right.
        spread: (D,) variance between identities, within them it is 1; >= 0.
        scale, shift: the ratio is multiplied by and raised by these; see
            :mod:`siamese.distances.shrinkage`.
    """

    mean: np.ndarray
    whitening: np.ndarray
    centre: np.ndarray
    latent: np.ndarray
    spread: np.ndarray
    scale: float = 1.0
    shift: float = 0.0

    # With t = spread + 1, the ratio of one direction's coordinates a and b is
    #   log t - log(1 + 2 spread) / 2 - pull (a - b)^2 / 2 + pull / t (a^2 + b^2) / 2
    # where pull = spread / (1 + 2 spread). Rows are coordinates times sqrt(scale pull / 2), so that
    # scale and both halves are in them: ratio = constant - |a - b|^2 + |a|^2 / t + |b|^2 / t.

    @cached_property
    def stretch(self) -> np.ndarray:
        """(D,) from coordinates to rows."""
        stretch: np.ndarray = np.sqrt(self.scale * self.spread / (1 + 2 * self.spread) / 2)
        return stretch

    @property
    def weights(self) -> np.ndarray:
        """(D,) ``1 / t``: how much of a row's squares the ratio gives back."""
        weights: np.ndarray = 1 / (self.spread + 1)
        return weights

    @property
    def constant(self) -> float:
        """What is the same for every pair."""
        each = np.log1p(self.spread) - np.log1p(2 * self.spread) / 2
        return self.shift + self.scale * float(each.sum())

    def rows(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, D) embeddings as (N, D) rows."""
        x = to_unit_length((embeddings - self.mean) @ self.whitening)
        rows: np.ndarray = (x - self.centre) @ self.latent * self.stretch
        return rows

    def ratios(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, N) log-likelihood ratios of all pairs of (N, D) embeddings, natural logarithm."""
        rows = self.rows(embeddings)
        squares = (rows**2 * (1 - self.weights)).sum(axis=1)
        ratios: np.ndarray = 2 * rows @ rows.T - squares[:, None] - squares[None, :] + self.constant
        return ratios


class Groups:
    """Which rows show one identity.

    Args:
        labels: (N,) int64, 0..identities - 1, each of which occurs.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.labels, self.sizes = labels, np.bincount(labels)
        self._order = np.argsort(labels, kind="stable")
        self._starts = np.append(0, np.cumsum(self.sizes)[:-1])

    def moments(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, covariance within identities, covariance between them; the latter unbiased.

        Identities with one image tell about the mean and about what lies between.

        Args:
            rows: (N, D) float64.
        """
        sizes = self.sizes
        means = np.add.reduceat(rows[self._order], self._starts, axis=0) / sizes[:, None]
        several = sizes[self.labels] > 1
        weights = np.minimum(sizes, MOST_IMAGES) / sizes
        whose = self.labels[several]
        off = (rows[several] - means[whose]) * np.sqrt(weights[whose])[:, None]
        within = off.T @ off / (weights * (sizes - 1)).sum()
        mean = means.mean(axis=0)
        apart = means - mean
        # The mean of n images is off its identity's place by a variance of within / n.
        between = apart.T @ apart / (len(sizes) - 1) - within * (1 / sizes).mean()
        return mean, within, between


class Fitting:
    """What is the same for every shrinkage: the first moments, and rows along their axes.

    Args:
        embeddings: (N, D) float64, finite.
        labels: (N,) int64, 0..identities - 1, each of which occurs; two of them twice.

    Raises:
        CalibrationError: embeddings of one identity are all the same.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray) -> None:
        self._groups = Groups(labels)
        self._mean, within, between = self._groups.moments(embeddings)
        if not np.trace(within) > NOTHING * abs(np.trace(between)):
            raise CalibrationError(
                "all images of an identity have the same embedding, so how much they vary is not "
                "known; give different images of each identity"
            )
        self._variances, self._axes = np.linalg.eigh(within)
        self._rotated = (embeddings - self._mean) @ self._axes

    def model(self, shrinkage: float, centred: bool) -> TwoCovariances:
        """The model at a shrinkage, 0 < shrinkage <= 1.

        Both covariances are mixed with round ones of the same mean variance: with little shrinkage
        every direction counts as the images say; at 1 all count alike, and what is left is cosine
        after whitening.

        Args:
            centred: whether the mean is taken off before rows are brought to unit length.

        Raises:
            CalibrationError: at unit length, embeddings of one identity are all the same.
        """
        widths = np.sqrt(_shrunk(self._variances, shrinkage * FIRST))
        rows = self._rotated if centred else self._rotated + self._mean @ self._axes
        centre, within, between = self._groups.moments(to_unit_length(rows / widths))
        if not np.trace(within) > NOTHING:
            raise CalibrationError(
                "all images of an identity have embeddings of one direction, and PLDA compares "
                "directions: give embeddings of more numbers, or use distance=euclidean"
            )
        variances, axes = np.linalg.eigh(within)
        whitening = axes / np.sqrt(_shrunk(variances, shrinkage))
        spread, turn = np.linalg.eigh(whitening.T @ between @ whitening)
        spread = np.maximum(spread, 0)
        spread = (1 - shrinkage) * spread + shrinkage * max(spread.mean(), LEAST)
        mean = self._mean if centred else np.zeros_like(self._mean)
        return TwoCovariances(mean, self._axes / widths, centre, whitening @ turn, spread)


def to_unit_length(rows: np.ndarray) -> np.ndarray:
    """(N, D) rows of length 1; zero where a row is zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return unit


def _shrunk(variances: np.ndarray, amount: float) -> np.ndarray:
    """(D,) variances, moved towards their mean."""
    variances = np.maximum(variances, 0)
    shrunk: np.ndarray = (1 - amount) * variances + amount * variances.mean()
    return shrunk
