"""PLDA as a distance: how much more likely two embeddings are of one identity than of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamese.bounds import check_real, check_whole
from siamese.distances.base import DISTANCES, Distance, widen
from siamese.distances.cosine import directions
from siamese.distances.inputs import rows_and_labels
from siamese.distances.products import exact_product, to_grid
from siamese.distances.shrinkage import fit_by_leaving_out
from siamese.distances.two_covariances import TwoCovariances
from siamese.errors import CalibrationError, ConfigError
from siamese.notices import warn_once

# Both matrices are kept in a bundle, and made of eigenvectors.
LONGEST = 4096
# A fit to fewer identities with two images or more is warned of.
FEW = 20


@DISTANCES.register("plda")
class PldaDistance(Distance):
    """Length-normalised PLDA: ``offset`` less the log-likelihood ratio, in [0, inf).

    What matters first: :meth:`fit` it to embeddings of known identities, call it, or its
    :meth:`Distance.matrix`, on others, and turn distances into :meth:`ratios`. It is saved and
    loaded as PyTorch's modules are; a bundle or a checkpoint that it belongs to holds it.

    >>> import io, numpy as np, torch, siamese
    >>> rng = np.random.default_rng(0)
    >>> identities = np.repeat(np.arange(30), 4)
    >>> embeddings = rng.normal(size=(30, 8))[identities] + 0.3 * rng.normal(size=(120, 8))
    >>> plda = siamese.PldaDistance.fit(embeddings, identities)
    >>> a, b = embeddings[:4], embeddings[4:8]  # of images 0 to 3, and 4 to 7
    >>> plda(a, b).shape, plda.matrix(a, b).shape  # row by row; every row with every row
    (torch.Size([4]), torch.Size([4, 4]))
    >>> bool(plda.ratios(plda(a[:1], a[1:2])) > 0 > plda.ratios(plda(a[:1], b[:1])))
    True
    >>> file = io.BytesIO()  # or a path
    >>> torch.save(plda.state_dict(), file)
    >>> start = file.seek(0)  # with a path there is no need
    >>> again = siamese.PldaDistance()
    >>> again.load_state_dict(torch.load(file, weights_only=True))
    <All keys matched successfully>
    >>> torch.equal(again.matrix(a, b), plda.matrix(a, b))
    True

    The ratio compares "both show one identity" with "they show two", under
    :class:`siamese.distances.two_covariances.TwoCovariances`: embeddings are whitened by how images
    of one identity differ, and brought to unit length; what differs between identities then counts
    the more, the less it differs within them. ``offset`` is a bound that no ratio exceeds.
    :meth:`ratios` gives the ratios back. Unlike other distances it is not 0 for equal embeddings: a
    common face is worse evidence than a rare one.

    It is fitted in closed form to embeddings of known identities, by :meth:`fit` or, in a training
    run (``distance=plda``), after training, to the training images. Until then it measures as
    :class:`siamese.EuclideanDistance`, so that a loss can use it and a run can be watched.

    It can gain on embeddings that were not trained to tell identities apart. A network that knows
    its few training identities by heart says too little of how images of strangers differ: fitted
    to these, it can do worse than the distance that the network was trained with, and is better
    fitted to others (``siamese.recalibrate(bundle, data, distance="plda")``). A fit to fewer than
    20 identities with two images or more is warned of, once in a process.

    It computes in float64, which the GPU of an Apple computer (``mps``) does not have.

    Args:
        shrinkage: 0 < shrinkage <= 1, how far the covariances are moved towards round ones; at 1 it
            orders pairs nearly as cosine after whitening does. By default what tells identities
            apart best that are left out of the fit
            (:func:`siamese.distances.shrinkage.fit_by_leaving_out`).
        embedding_size: D, length of the embeddings that it was fitted to; set by fitting, and by
            loading a fitted one's state where it is left out.

    Attributes:
        is_fitted: () bool buffer.
        used_shrinkage: () float64 buffer.
        offset: () float64 buffer, natural logarithm; comparable with that of another fit, as
            ratios are.

    Raises:
        ConfigError: a setting out of range; on a call, embeddings of another length; on a move to
            ``mps``.
        RuntimeError: on loading, a state of another length.
    """

    squared = True

    is_fitted: Tensor
    used_shrinkage: Tensor
    offset: Tensor
    mean: Tensor
    whitening: Tensor
    latent: Tensor
    latent_scale: Tensor
    centre: Tensor
    weights: Tensor
    ceiling: Tensor

    def __init__(self, shrinkage: float | None = None, embedding_size: int | None = None) -> None:
        super().__init__()
        if shrinkage is not None and not 0 < shrinkage <= 1:
            raise ConfigError(
                f"shrinkage must be above 0 and at most 1, not {shrinkage}; leave it out to have "
                f"it chosen"
            )
        if embedding_size is not None and not 1 <= embedding_size <= LONGEST:
            raise ConfigError(
                f"embedding_size must be 1 to {LONGEST:,}, not {embedding_size}; leave it out, "
                f"fitting sets it"
            )
        if shrinkage is not None:
            check_real("shrinkage", shrinkage, 0, 1)
        if embedding_size is not None:
            check_whole("embedding_size", embedding_size, 1, LONGEST)
        self.shrinkage, self.embedding_size = shrinkage, embedding_size
        self.register_buffer("is_fitted", torch.tensor(False))
        for name in ("used_shrinkage", "offset", "latent_scale", "ceiling"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self._make_room(embedding_size or 0)

    @classmethod
    def fit(
        cls,
        embeddings: Tensor | np.ndarray | Sequence[Any],
        identities: Sequence[Any] | np.ndarray | Tensor,
        *,
        shrinkage: float | None = None,
    ) -> PldaDistance:
        """Fit to embeddings of known identities, of any network.

        Calibrate on others: of these it knows more than it will of strangers.

        Args:
            embeddings: (N, D) floating point, D up to 4,096.
            identities: (N,) the identity of each image: numbers, strings, or anything that can be
                compared and sorted. Of an identity with one image only its place is learned.
            shrinkage: see :class:`PldaDistance`.

        Raises:
            CalibrationError: NaN or infinite embeddings, shapes that do not fit, fewer than two
                identities with two images, or images of one identity that are all the same.
            ConfigError: a shrinkage out of range, or embeddings that are too long.
        """
        return cls(shrinkage).fitted_to(*rows_and_labels(embeddings, identities))

    @property
    def closed_form(self) -> bool:
        return True

    @property
    def needs_fit(self) -> bool:
        return not self.is_fitted

    @property
    def fit_offset(self) -> float:
        return float(self.offset)

    def check_size(self, size: int) -> None:
        if size > LONGEST:
            raise ConfigError(
                f"PLDA is fitted to embeddings of up to {LONGEST:,} numbers, these have "
                f"{size:,}: take their principal components first, or distance=cosine"
            )

    def fitted_to(self, embeddings: Tensor, labels: np.ndarray) -> PldaDistance:
        """See :meth:`Distance.fitted_to`; errors as for :meth:`fit`."""
        rows, who = rows_and_labels(embeddings, labels)
        self.check_size(rows.shape[1])
        several = int((np.bincount(who) > 1).sum())
        if several < 2:
            raise CalibrationError(
                f"PLDA learns how images of one identity differ, but only {several} of "
                f"{len(np.unique(who))} identities has two images or more: give at least two such "
                f"identities, better 100, or use distance=cosine"
            )
        if several < FEW:
            warn_once(
                f"PLDA was fitted to {several} identities with two images or more: so few tell "
                f"little of how images of others differ; give more, better 100, or compare it with "
                f"distance=cosine on identities that it was not fitted to",
                stacklevel=3,
                about="a few identities that PLDA was fitted to",
            )
        wide = rows.double().numpy()
        # Only directions matter; so no square over- or underflows.
        largest = np.abs(wide).max()
        model, used = fit_by_leaving_out(wide / (largest or 1), who, self.shrinkage)
        found = type(self)(self.shrinkage, rows.shape[1])
        found._take(model, float(largest or 1), used)
        return found

    def _make_room(self, size: int) -> None:
        """Buffers for embeddings of so many numbers, where the others are."""
        place = self.is_fitted.device
        for name in ("mean", "centre", "weights"):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64, device=place))
        # Multiples of 2^-24, which float32 holds, of columns of length 1 at most.
        for name in ("whitening", "latent"):
            self.register_buffer(name, torch.zeros(size, size, device=place))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        """What ``load_state_dict`` calls, also of a module that this is a part of."""
        mean = state_dict.get(f"{prefix}mean")
        size = len(mean) if isinstance(mean, Tensor) and mean.ndim == 1 else 0
        if size and self.embedding_size is None:
            self.embedding_size = size
            self._make_room(size)
        if mean is None or size == (self.embedding_size or 0):
            super()._load_from_state_dict(state_dict, prefix, *rest, **named)
            return
        errors: list[str] = rest[-1]
        where = f" {prefix.rstrip('.')}" if prefix else ""
        kept = f"for embeddings of {size} numbers" if size else "that is not fitted"
        made = f"embedding_size={size}" if size else ""
        errors.append(
            f"the PLDA distance{where} is one for embeddings of {self.embedding_size} numbers, its "
            f"state that of one {kept}: load it into siamese.PldaDistance({made})"
        )

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> PldaDistance:
        """What ``to``, ``cuda`` and the like call, also on a module that this is a part of."""
        try:
            moved: PldaDistance = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        except TypeError as error:
            if "float64" not in str(error):
                raise
            raise ConfigError(
                "the PLDA distance computes in float64, which this device does not have (mps): "
                "use device=cpu, or another distance"
            ) from error
        return moved

    def rows(self, embeddings: Tensor) -> Tensor:
        x = super().rows(embeddings)
        if not self.is_fitted:
            return x
        self._check(x)
        x = directions((x - self.mean.to(x)).contiguous())
        x = directions(exact_product(x, self.whitening))
        x = exact_product(x, self.latent) * self.latent_scale.to(x)
        return x - self.centre.to(x)

    def row_terms(self, rows: Tensor) -> Tensor | None:
        if not self.is_fitted:
            return None
        return self._terms(rows.contiguous())

    def of_squares(self, squares: Tensor) -> Tensor:
        return squares if self.is_fitted else squares.sqrt_()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            a, b = widen(a), widen(b)
            if not self.is_fitted:
                length: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
                return length
            a, b = self._points(a), self._points(b)
            return (a - b).square().sum(dim=-1) + self._terms(a) + self._terms(b)

    def ratios(self, distances: Any) -> Any:
        """Log-likelihood ratios of distances, natural logarithm: above 0 for "one identity".

        Args:
            distances: a number, an array or a tensor of any shape, as it measures them.

        Returns:
            the same in that shape.

        Raises:
            ConfigError: it is not fitted.
        """
        if not self.is_fitted:
            raise ConfigError(NOT_FITTED)
        return float(self.offset) - distances

    def extra_repr(self) -> str:
        if not self.is_fitted:
            return f"shrinkage={self.shrinkage}, not fitted"
        return f"shrinkage={float(self.used_shrinkage)}, embedding_size={self.embedding_size}"

    def _points(self, x: Tensor) -> Tensor:
        """(n, D) rows with gradient, by plain products."""
        self._check(x)
        x = directions(directions(x - self.mean.to(x)) @ self.whitening.to(x))
        x = (x @ self.latent.to(x)) * self.latent_scale.to(x)
        return x - self.centre.to(x)

    def _terms(self, rows: Tensor) -> Tensor:
        """(n,) what a row's own squares leave of the ceiling, >= 0."""
        given = (rows.square() * self.weights.to(rows)).sum(dim=-1)
        return (self.ceiling.to(rows) - given).clamp(min=0)

    def _check(self, x: Tensor) -> None:
        if x.shape[-1] != self.embedding_size:
            raise ConfigError(
                f"the PLDA distance was fitted to embeddings of {self.embedding_size} numbers, "
                f"these have {x.shape[-1]}; fit it to such ones"
            )

    def _take(self, model: TwoCovariances, unit: float, used: float) -> None:
        """Set the buffers to a model of embeddings that were divided by ``unit``."""
        latent = torch.from_numpy(model.latent * model.stretch)
        whitening, _ = _at_most_one(torch.from_numpy(model.whitening))
        latent, scale = _at_most_one(latent)
        centre = (torch.from_numpy(model.centre) @ latent.double()) * scale
        weights = torch.from_numpy(model.weights)
        # Of rows x latent - centre with |x| <= 1, the largest sum of squares times weights; a bound
        # of it, and a little more for rounding.
        bent = latent.double() * scale * weights.sqrt()
        longest = torch.linalg.matrix_norm(bent, 2) + (centre * weights.sqrt()).norm()
        ceiling = longest.square() * (1 + 1e-9)
        values = {
            "is_fitted": torch.tensor(True),
            "used_shrinkage": used,
            "offset": model.constant + 2 * float(ceiling),
            "mean": torch.from_numpy(model.mean) * unit,
            "whitening": whitening,
            "latent": latent,
            "latent_scale": scale,
            "centre": centre,
            "weights": weights,
            "ceiling": ceiling,
        }
        for name, value in values.items():
            buffer = getattr(self, name)
            buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))


NOT_FITTED = (
    "the PLDA distance is not fitted: fit it to embeddings of known identities, "
    "siamese.PldaDistance.fit(embeddings, identities), and give the result"
)


def _at_most_one(matrix: Tensor) -> tuple[Tensor, float]:
    """(D, K) float32 columns of length 1 at most, and the power of two that they must be times."""
    _, exponent = np.frexp(float(torch.linalg.vector_norm(matrix, dim=0).max()))
    scale = 2.0 ** int(exponent)
    return to_grid(matrix / scale).float(), scale
