"""Distance: the base of all distances between embeddings; smaller is always more alike."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from siamese.distances.arrays import as_row_numbers
from siamese.distances.inputs import as_tensor
from siamese.errors import CalibrationError, ConfigError
from siamese.registry import Registry

# Numbers of a pair-form block: bounds the memory of `Distance.between` at about BLOCK x 8 x 3
# bytes.
BLOCK = 1 << 20
# Components that are added at once: beyond 32,768 numbers torch divides one sum among threads.
COLUMNS = 1 << 14


class Distance(nn.Module):
    """A distance between embeddings: ``forward`` is differentiable, ``measure`` is for verdicts.

    ``forward`` runs in float32 or wider, also under autocast: squares of float16 overflow beyond
    256. ``measure``, and what calls it, runs in float64 and in evaluation mode, and rounds to
    float32 at the end, so that the result of one pair depends on its two embeddings alone, bit for
    bit, not on how many pairs are computed together or on how. Thresholds are compared with what
    ``measure`` gives.

    A call, ``measure``, ``matrix`` and ``between`` also take embeddings as numpy arrays, of which
    they make tensors.

    Attributes:
        squared: whether the distance is a rising function, :meth:`of_squares`, of the squared
            euclidean distance between :meth:`rows` plus :meth:`row_terms`. Then all pairs can be
            counted by matrix products.
    """

    squared = False

    def largest(self, unit_length: bool) -> float:
        """What no distance exceeds: a threshold beyond it would accept every pair.

        Args:
            unit_length: whether embeddings have length 1, or less where they are averaged.
        """
        return math.inf

    @property
    def learned(self) -> bool:
        """Whether it has weights.

        They are trained with the backbone's, and nothing can be measured without them.
        """
        return next(self.parameters(), None) is not None

    @property
    def closed_form(self) -> bool:
        """Whether :meth:`fitted_to` works it out from embeddings, be it fitted already or not."""
        return False

    @property
    def needs_fit(self) -> bool:
        """Whether it is itself only after :meth:`fitted_to`, which has not been called."""
        return False

    def check_size(self, size: int) -> None:
        """Refuse embeddings of a length that it cannot measure, before anything is trained.

        Args:
            size: numbers of an embedding.

        Raises:
            ConfigError: it cannot.
        """

    @property
    def fit_offset(self) -> float:
        """What must be subtracted from its distances to compare them with those of another fit."""
        return 0.0

    def __call__(self, a: Tensor | np.ndarray, b: Tensor | np.ndarray) -> Tensor:
        """See :meth:`forward`."""
        a, b = as_tensor(a), as_tensor(b)
        if not a.ndim or not b.ndim:
            raise CalibrationError("one number is no embedding; give (n, D) of them")
        found: Tensor = super().__call__(a, b)
        return found

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances of matching rows.

        Args:
            a, b: (n, D) floating point.

        Returns:
            (n,) float32 (float64 for float64 input), >= 0.
        """
        raise NotImplementedError

    def rows(self, embeddings: Tensor) -> Tensor:
        """(N, D) embeddings as (N, D) float64 points (float32 where the device has no float64)."""
        return embeddings.to(torch.float32 if embeddings.device.type == "mps" else torch.float64)

    def row_terms(self, rows: Tensor) -> Tensor | None:
        """What each row adds to the squares of its distances; by default nothing.

        Args:
            rows: (N, D) from :meth:`rows`.

        Returns:
            (N,) in the rows' dtype, >= 0, each of its row alone, bit for bit; None for nothing.
        """
        return None

    def of_squares(self, squares: Tensor) -> Tensor:
        """Squares of pairs of rows, any shape, to distances of that shape.

        A pair's square is that of the euclidean distance plus both :meth:`row_terms`. It works in
        place where it can.
        """
        raise NotImplementedError

    @torch.no_grad()
    def measure(self, a: Tensor | np.ndarray, b: Tensor | np.ndarray) -> Tensor:
        """Distances of matching rows as verdicts compare them.

        Args:
            a, b: (n, D) floating point.

        Returns:
            (n,) float32, >= 0, without gradient; infinite or 0 where float32 does not hold it.

        Raises:
            CalibrationError: nothing that can be read as real numbers, or other shapes.
        """
        a, b = _two(a, b)
        if a.shape != b.shape:
            raise CalibrationError(
                f"embeddings {tuple(a.shape)} and {tuple(b.shape)} do not match row by row; give "
                f"as many of both, or compare every row with every row by matrix"
            )
        with _evaluating(self), torch.autocast(a.device.type, enabled=False):
            measured: Tensor = (
                self.of_rows(self.rows(a), self.rows(b)) if self.squared else self(a, b).float()
            )
            return measured

    def of_rows(self, a: Tensor, b: Tensor) -> Tensor:
        """(n,) float32 distances of matching :meth:`rows` (n, D)."""
        # The order in which torch adds depends on the layout, and in long rows on the number of
        # rows and of threads.
        parts = torch.split((a - b).square_().contiguous(), COLUMNS, dim=-1)
        squares = sum((p.sum(dim=-1) for p in parts[1:]), start=parts[0].sum(dim=-1))
        own, other = self.row_terms(a), self.row_terms(b)
        if own is not None and other is not None:
            squares += own + other
        return self.of_squares(squares).float()

    def fitted_to(self, embeddings: Tensor, labels: np.ndarray) -> Distance:
        """What follows from the training embeddings in closed form.

        Called after training where :attr:`needs_fit`. It changes nothing here: the network may be
        trained further.

        Args:
            embeddings: (N, D) floating point, of the training images.
            labels: (N,) int64, one number per identity.

        Returns:
            a distance that is fitted; by default this one.
        """
        return self

    @torch.no_grad()
    def matrix(self, a: Tensor | np.ndarray, b: Tensor | np.ndarray) -> Tensor:
        """Distances of every row of ``a`` (n, D) to every row of ``b`` (m, D), as (n, m) float32.

        Computed in the pair form: the last bits of a matrix product depend on the tile. Errors as
        for :meth:`measure`.
        """
        a, b = _two(a, b)
        n, m = len(a), len(b)
        left = torch.arange(n, device=a.device).repeat_interleave(m)
        right = torch.arange(m, device=a.device).repeat(n)
        step = max(1, BLOCK // max(1, a.shape[1]))
        form = self.of_rows if self.squared else self.measure
        if self.squared:
            a, b = self.rows(a), self.rows(b)
        out = [
            form(a[i], b[j])
            for i, j in zip(torch.split(left, step), torch.split(right, step), strict=True)
        ]
        return torch.cat(out).view(n, m) if len(left) else a.new_zeros(n, m, dtype=torch.float32)

    @torch.no_grad()
    def between(
        self, embeddings: Tensor | np.ndarray, left: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        """Distances of many pairs of rows of one embedding matrix, in bounded memory.

        Args:
            embeddings: (N, D) floating point.
            left, right: (n,) int64 row numbers.

        Returns:
            (n,) float32 numpy array; infinite or 0 where float32 does not hold the distance.

        Raises:
            CalibrationError: nothing that can be read as real numbers, or rows that there are not.
        """
        embeddings = _two(embeddings, embeddings)[0]
        rows_a, rows_b = (
            torch.from_numpy(as_row_numbers(side, len(embeddings), name))
            for side, name in ((left, "left"), (right, "right"))
        )
        if len(rows_a) != len(rows_b):
            raise CalibrationError(
                f"left names {len(rows_a)} rows and right {len(rows_b)}; give one of each per pair"
            )
        step = max(1, BLOCK // max(1, embeddings.shape[1]))
        points = self.rows(embeddings) if self.squared else embeddings
        form = self.of_rows if self.squared else self.measure
        parts = [
            form(points[i.to(points.device)], points[j.to(points.device)]).cpu()
            for i, j in zip(torch.split(rows_a, step), torch.split(rows_b, step), strict=True)
        ]
        return torch.cat(parts).numpy() if len(rows_a) else np.zeros(0, dtype=np.float32)


def _two(a: Tensor | np.ndarray, b: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    """Two embedding matrices of rows of one length."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise CalibrationError(
            f"embeddings {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; give (n, D) and "
            f"(m, D), of one network"
        )
    return a, b


DISTANCES: Registry[Distance] = Registry("distance", "DISTANCES", "siamese.distances")


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the ``with`` block; then every part gets its earlier mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def as_distance(distance: str | Distance, *, to_be_fitted: bool = False) -> Distance:
    """A distance, given as one or by its name.

    Args:
        distance: an object or a registered name.
        to_be_fitted: whether one is welcome that must be fitted first.

    Raises:
        ConfigError: an unknown name, one that is not fitted, or the name of a distance which cannot
            be used without its weights.
    """
    given = isinstance(distance, Distance)
    built = distance if isinstance(distance, Distance) else DISTANCES.build(distance)
    if built.needs_fit and not to_be_fitted:
        raise ConfigError(not_fitted(built))
    if built.learned and not given:
        raise ConfigError(
            f"distance {distance!r} has weights that must be trained with the network: give a "
            f"bundle that was trained with it (siamese train ... distance={DISTANCES.name(built)}) "
            f"and leave out the distance (--distance); in Python you can also give the trained "
            f"object instead of the name"
        )
    return built


def not_fitted(distance: Distance) -> str:
    """What to say of a distance that is asked to measure before it was fitted."""
    name = DISTANCES.name(distance)
    how = f"siamese.{type(distance).__name__}.fit(embeddings, identities)"
    if DISTANCES.origin(distance):
        how = f"what {type(distance).__name__}.fitted_to(embeddings, labels) returns"
    return (
        f"distance {name!r} is not fitted: it must be fitted to embeddings of known identities; "
        f"give the fitted one: {how}"
    )


def widen(x: Tensor) -> Tensor:
    """``x`` in float32; unchanged where it is float64."""
    return x if x.dtype == torch.float64 else x.float()
